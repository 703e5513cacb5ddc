"""What the documentation names is there; `sphinx-build -W` in `.ci/run` says the rest."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import hist
import pytest
import uproot

from analysis import __version__, results, stages
from analysis.cli import main
from analysis.config import AnalysisConfig
from analysis.datasets.catalogue import Catalogue
from analysis.datasets.inventory import build
from analysis.execution.runner import run
from analysis.histograms import flatten
from analysis.inference import tables as fit_tables
from analysis.inference.config import InferenceConfig
from analysis.inference.limit import read_signal
from analysis.postprocess.normalisation import apply, normalisation, summed
from analysis.postprocess.yields import region_yield
from analysis.processor import TtbarAnalysis
from analysis.results import load_normalised
from tests.conftest import PROJECT
from tests.inference.models import shapes, workspace
from tests.ntuples import write_random

DOCS = PROJECT / "docs"
PAGES = sorted(DOCS.glob("*.md"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_links_and_names_of_a_page(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (DOCS / target).exists(), target
    for name in re.findall(r"`((?:analysis|tests|schemas|benchmarks)/[\w/]+(?:\.py|/))`", text):
        assert (PROJECT / name).exists(), name


def test_the_version_is_one() -> None:
    assert f"version: {__version__}\n" in (PROJECT / "CITATION.cff").read_text(encoding="utf-8")


def marked(mark: str, page: str = "extending") -> str:
    """The block after a comment in a page, that for other analyses if no other is named."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    found = re.search(rf"<!-- {mark} -->\n```\w+\n(.*?)```", text, flags=re.DOTALL)
    assert found is not None, mark
    return found[1]


@pytest.mark.full
@pytest.mark.parametrize(
    ("row", "changes"),
    [
        ("default", {}),
        ("trigger of the channel", {"trigger": {"simulation": "channel"}}),
        ("jets cleaned, ΔR 0.4", {"jet": {"min_lepton_delta_r": 0.4}}),
    ],
)
def test_what_trigger_and_cleaning_change_is_as_the_physics_page_says(
    row: str, changes: dict[str, Any]
) -> None:
    names = ["ttbar__nominal", "wjets__nominal__pthat40to80", "wjets__nominal__pthat80"]
    sample = Catalogue.load(PROJECT / "analysis" / "sample" / "ntuples.json")
    fixed = {"control": {"enabled": False}, "variations": {"jet_energy": False}}
    config = AnalysisConfig.model_validate(fixed | changes)
    processed = run(TtbarAnalysis(config), sample.select([*names, "single_top_tW__nominal"]))
    unscaled = flatten(processed.output)
    scaled = apply(unscaled, normalisation(processed.ledger, unscaled))
    observable = summed(scaled["observable"])
    found = [
        region_yield(observable[{"region": region}], process)[0]
        for process in ("ttbar", "wjets", "single_top_tW")
        for region in ("4j1b", "4j2b")
    ]
    line = re.search(rf"\| {row} \|(.*)\|", (DOCS / "physics.md").read_text(encoding="utf-8"))
    assert line is not None
    assert [float(cell) for cell in line[1].split("|")] == pytest.approx(found, abs=0.6)


def analysis_of(block: str) -> TtbarAnalysis:
    code: dict[str, Any] = {}
    exec(marked(block), code)  # noqa: S102 - our own page
    found: TtbarAnalysis = code["analysis"]
    return found


def test_variations_of_ones_own_are_filled(catalogue: Catalogue) -> None:
    output = run(analysis_of("variations"), catalogue.select(["ttbar__nominal"])).output
    observable = summed(output["ttbar__nominal"]["observable"])
    nominal = observable[{"region": "4j2b", "process": "ttbar", "variation": "nominal"}].values()
    for name in ("uncorrected_up", "muon_scale_up", "muon_scale_down", "pile_up_up"):
        where = {"region": "4j2b", "process": "ttbar", "variation": name}
        varied = observable[where].values()
        assert varied.sum() > 0
        if "muon" not in name:
            assert (varied != nominal).any(), name
        elif name.endswith("up"):
            assert varied.sum() >= nominal.sum()
        else:
            assert varied.sum() <= nominal.sum()


def test_regions_of_ones_own_are_filled(catalogue: Catalogue) -> None:
    result = run(analysis_of("regions"), catalogue.select(["ttbar__nominal"]))
    output = result.output["ttbar__nominal"]
    plus = output["cutflow"]["muon"]["4j2b_plus"]["events"]
    assert 0 < plus < output["cutflow"]["muon"]["4j2b"]["events"]
    assert output["cutflow"]["muon"]["3j1b"]["events"] > 0
    masses = output["observables"]["2b_mlb"]
    assert masses.axes["observable"].extent == 32
    assert masses[{"variation": "nominal"}].sum(flow=True).value > 0


def test_the_correction_of_the_page_is_that_of_the_example() -> None:
    told = tomllib.loads(marked("correction"))["corrections"]["muon_id_iso"]
    example = tomllib.loads((DOCS / "examples" / "corrections.toml").read_text(encoding="utf-8"))
    assert told == {**example["corrections"]["muon_id_iso"], "processes": ["ttbar"]}


def test_the_model_of_the_page_is_valid() -> None:
    model = InferenceConfig.model_validate(tomllib.loads(marked("model")))
    assert set(model.variations) - set(InferenceConfig().variations) == {"no jet corrections"}


@pytest.mark.full
def test_renamed_ntuples_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every branch that a run says it reads, under another name."""
    original = tmp_path / "poet" / "ttbar__nominal" / "a.root"
    write_random(original, 400, seed=5)

    def yields(folder: Path) -> float:
        catalogue, output = str(folder / "c.json"), folder / "results"
        build = ["catalogue", "build", str(folder), "--output", catalogue, "--quiet"]
        assert main([*build, "--cross-section", "ttbar=800", "--luminosity", "1 /fb"]) == 0
        command = ["process", "--catalogue", catalogue, "--output", str(output), "--quiet"]
        assert main(command) == 0
        return float(load_normalised(output).histograms["observable"].sum(flow=True).value)

    expected = yields(tmp_path / "poet")
    columns = load_normalised(tmp_path / "poet" / "results").ledger.columns_read
    names = {f"My_{i}": branch for i, branch in enumerate(columns)}
    with uproot.open(original) as file, uproot.recreate(tmp_path / "mine.root") as mine:
        events = file["events"].arrays(columns)
        mine.mktree("Events", {name: events[branch] for name, branch in names.items()})
    code: dict[str, object] = {}
    exec(marked("rename"), code)  # noqa: S102
    code["NAMES"] = names
    target = tmp_path / "renamed" / "ttbar__nominal" / "a.root"
    target.parent.mkdir(parents=True)
    code["rename"](tmp_path / "mine.root", target)  # type: ignore[operator]
    assert yields(tmp_path / "renamed") == expected > 0

    exec(marked("schema"), code)  # noqa: S102
    schema: Any = code["MySchema"]
    schema.NAMES = names
    mine = tmp_path / "as_is" / "ttbar__nominal" / "a.root"
    mine.parent.mkdir(parents=True)
    with uproot.open(tmp_path / "mine.root") as file, uproot.recreate(mine) as copy:
        events = file["Events"].arrays(list(names))
        copy.mktree("events", {name: events[name] for name in names})
    written = tmp_path / "as_is" / "c.json"
    build(tmp_path / "as_is", written, {}).write(written)
    found = run(TtbarAnalysis(), Catalogue.load(written), schema=schema)
    monkeypatch.setattr(TtbarAnalysis, "schema", schema, raising=False)
    assert run(TtbarAnalysis(), Catalogue.load(written)).output == found.output
    monkeypatch.undo()
    assert found.ledger.complete
    assert set(found.ledger.columns_read) == set(names)
    poet = Catalogue.load(tmp_path / "poet" / "c.json")
    same = run(TtbarAnalysis(), poet).output["ttbar__nominal"]
    assert found.output["ttbar__nominal"]["cutflow"] == same["cutflow"]
    assert found.output["ttbar__nominal"]["observable"] == same["observable"]


@pytest.mark.full
def test_a_channel_of_ones_own_is_filled(catalogue: Catalogue, tmp_path: Path) -> None:
    chosen = catalogue.select(["ttbar__nominal", "data__SingleMuon", "data__SingleElectron"])
    result = run(analysis_of("channels"), chosen)
    flow = result.output["ttbar__nominal"]["cutflow"]
    assert flow["emu"]["one lepton"]["events"] > flow["emu"]["jets"]["events"] > 0
    where = {"region": "4j1b", "process": "ttbar", "variation": "nominal"}
    filled = result.output["ttbar__nominal"]["observable"][where]
    assert list(filled.axes["channel"]) == ["electron", "muon", "emu"]
    assert filled[{"channel": "emu"}].sum(flow=True).value > 0
    results.begin_run(tmp_path)
    results.save_run(tmp_path, result.output, result.ledger)
    normalised = stages.normalise(tmp_path)
    assert normalised.normalisation.luminosity["muon"] > 0
    assert normalised.normalisation.luminosity["emu"] == normalised.normalisation.luminosity["muon"]
    assert normalised.histograms["observable"][{"channel": "emu"}].sum(flow=True).value > 0


@pytest.mark.full
def test_templates_of_ones_own_are_fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(marked("templates"), {})  # noqa: S102
    Path("mine.toml").write_text(marked("templates model"), encoding="utf-8")
    command = ["fit", "mine.root", "--model", "mine.toml", "--no-ranking", "--output", "out"]
    assert main([*command, "--quiet"]) == 0
    fitted = fit_tables.load(Path("out")).fit
    # 4400 events where 4000 were predicted.
    assert fitted.value == pytest.approx(1.1, abs=2 * fitted.error)
    assert 0.01 < fitted.error < 0.2
    assert fitted["Jet energy scale"].pull is not None
    text = Path("out", "measurement.md").read_text(encoding="utf-8")
    assert "ME variation: no histogram 'ME_var', the model has no such parameter" in text


def test_the_workspace_is_read_by_pyhf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "workspace.json").write_text(json.dumps(shapes()), encoding="utf-8")
    code: dict[str, object] = {}
    exec(marked("workspace").replace("print(", "found = ("), code)  # noqa: S102
    channels, parameters = code["found"]  # type: ignore[misc]
    assert channels == ["A", "B"]
    assert "ttbar_norm" in parameters


@pytest.mark.full
def test_the_python_of_the_page_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    names: dict[str, object] = {}
    exec(marked("python"), names)  # noqa: S102
    assert names["scaled"].regions["4j2b"].sum(flow=True).value > 0  # type: ignore[attr-defined]


@pytest.mark.full
def test_a_signal_of_ones_own_has_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(marked("signal", "measurement"), {})  # noqa: S102
    normal = {"name": "rate", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}}
    samples = [{"name": "ttbar", "data": [50.0] * 11, "modifiers": [normal]}]
    spec = workspace({"4j2b": samples}, {"4j2b": [50.0] * 11})
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "workspace.json").write_text(json.dumps(spec))
    binning = InferenceConfig().binning
    signal = read_signal(Path("signal.root"), spec, binning)["4j2b"]
    assert signal.values.sum() == pytest.approx(1500, rel=0.01)
    # Without a fit beside the workspace nobody knows the edges of the model's bins.
    values = hist.Hist.new.Reg(binning.bins, binning.low, binning.high).Weight()
    values.view().value, values.view().variance = signal
    with uproot.recreate("signal.root") as file:
        file["4j2b"] = values
    _, _, *arguments = shlex.split(marked("limit", "measurement"))
    assert main(arguments) == 0
    assert "observed limit, 95% CL" in capsys.readouterr().out
    assert json.loads(Path("results/limit.json").read_text())["events"]["4j2b"] == pytest.approx(
        signal.values.sum() * 10 * 50 / 15_000
    )
