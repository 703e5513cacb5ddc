"""A run from a skim gives what the run from the full ntuples gives, or does not run."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis import SAMPLE, histograms, results, stages
from analysis.cli import main
from analysis.common.errors import (
    CatalogueError,
    ConfigError,
    ExecutionError,
    IncompleteError,
    OutputError,
)
from analysis.config import AnalysisConfig
from analysis.datasets import ntuples
from analysis.datasets.catalogue import Catalogue, Checksum
from analysis.datasets.coverage import CATALOGUE, require_preselected
from analysis.dimuon.processor import DimuonAnalysis
from analysis.execution import loop
from analysis.execution.runner import run
from analysis.execution.settings import Execution, Limits
from analysis.postprocess.normalisation import Normalised
from analysis.processor import TtbarAnalysis
from analysis.selection.regions import Region
from analysis.selection.variations import Shift, Weight
from analysis.skim import Skimmed, make_skim, restore_cutflow
from tests.conftest import PROJECT
from tests.servers import http_server

pytestmark = pytest.mark.filterwarnings("ignore:the filter_branch kwarg:DeprecationWarning")
"""coffea reads an RNTuple so."""


@pytest.fixture(scope="module")
def catalogue(catalogue: Catalogue) -> Catalogue:
    """A dataset of each kind; one sum of weights is not known."""
    names = ["data__SingleMuon", "ttbar__nominal", "ttbar__scaleup", "wjets__nominal"]
    datasets = catalogue.select(names).datasets
    unknown = datasets["wjets__nominal"].model_copy(update={"sum_of_weights": None})
    return catalogue.model_copy(update={"datasets": datasets | {"wjets__nominal": unknown}})


def skim_of(catalogue: Catalogue, folder: Path, rntuple: bool = False) -> Skimmed:
    """In chunks of another size than the runs of the tests."""
    chunks = Execution(chunk_size=999)
    made = make_skim(catalogue, folder, execution=chunks, source="full.json", rntuple=rntuple)
    return made._replace(catalogue=Catalogue.load(made.path))


@pytest.fixture(scope="module")
def skimmed(catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Skimmed:
    return skim_of(catalogue, tmp_path_factory.mktemp("skim") / "made")


@pytest.fixture(scope="module")
def skimmed_to_rntuples(catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Skimmed:
    return skim_of(catalogue, tmp_path_factory.mktemp("skim") / "made", rntuple=True)


def normalised(
    folder: Path, catalogue: Catalogue, config: AnalysisConfig | None = None
) -> tuple[Any, Normalised]:
    result = run(TtbarAnalysis(config), catalogue)
    restore_cutflow(result.output, catalogue)
    results.save_run(folder, result.output, result.ledger)
    return result.output, stages.normalise(folder)


def assert_same(one: histograms.Histograms, two: histograms.Histograms) -> None:
    assert one.keys() == two.keys()
    for name, histogram in one.items():
        for a, b in (
            (histogram.values(flow=True), two[name].values(flow=True)),
            (histogram.variances(flow=True), two[name].variances(flow=True)),
        ):
            np.testing.assert_allclose(a, b, rtol=1e-12, err_msg=name)


@pytest.mark.parametrize(
    "sections",
    [
        {},
        pytest.param(
            {
                "jet": {"min_pt": 36, "max_abs_eta": 2.0, "btag_threshold": 0.9},
                "regions": {"min_jets": 5},
            },
            marks=pytest.mark.full,
        ),
        pytest.param(
            {"variations": {"jet_energy": False, "btag_slope": 0.1}, "control": {"enabled": False}},
            marks=pytest.mark.full,
        ),
    ],
)  # fmt: skip
def test_yields_and_cutflow_are_those_of_the_full_ntuples(
    catalogue: Catalogue,
    skimmed: Skimmed,
    skimmed_to_rntuples: Skimmed,
    tmp_path: Path,
    sections: dict[str, Any],
) -> None:
    config = AnalysisConfig.model_validate(sections)
    want_output, want = normalised(tmp_path / "full", catalogue, config)
    for kind, skim in (("trees", skimmed), ("rntuples", skimmed_to_rntuples)):
        output, got = normalised(tmp_path / kind, skim.catalogue, config)
        assert_same(got.histograms, want.histograms)
        assert got.normalisation.luminosity == want.normalisation.luminosity
        for name, out in want_output.items():
            assert output[name]["cutflow"] == out["cutflow"]
            assert output[name]["counts"] == out["counts"]


def test_it_is_smaller_and_keeps_its_ledger(catalogue: Catalogue, skimmed: Skimmed) -> None:
    assert 1000 < skimmed.catalogue.events < catalogue.events
    assert (skimmed.path.parent / "run.json").exists()
    assert skimmed.ledger.events_processed == catalogue.events
    assert {path.name for path in skimmed.path.parent.iterdir()} == {
        *catalogue.datasets, "run.json", CATALOGUE
    }  # fmt: skip


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"jet": {"min_pt": 25}}, r"jet.min_pt = 30.0 and may lack events for 25.0.*full.json"),
        ({"electron": {"min_pt": 35}}, r"electron.min_pt = 30.0 .* 35.0"),
        ({"regions": {"min_jets": 3}, "variations": {"btag_jets": 3}}, r"regions.min_jets = 4"),
        ({"jet": {"min_lepton_delta_r": 0.4}}, r"jet.min_lepton_delta_r"),
        ({"variations": {"btag_scale_factors": True}}, r"variations.btag_scale_factors"),
    ],
)
def test_a_selection_that_the_skim_may_lack_events_for_is_refused(
    skimmed: Skimmed, sections: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(TtbarAnalysis(AnalysisConfig.model_validate(sections)), skimmed.catalogue)


def test_a_weight_of_a_column_that_the_skim_lacks_is_refused(skimmed: Skimmed) -> None:
    """Before an event is read; one of columns that are there is taken."""

    def weighted(column: str) -> TtbarAnalysis:
        weight = Weight("w", up=lambda s: 1 + 0.1 * s.column(column), uses={column})
        return TtbarAnalysis().adding(weights=[weight])

    weighted("PV.npvs").require_events(skimmed.catalogue)
    with pytest.raises(ConfigError, match=r"the skim of \w+ is without btag.Weight: make one with"):
        run(weighted("btag.Weight"), skimmed.catalogue)


LIMITS = {
    ("electron", "min_pt"): (26, 25.9),
    ("muon", "min_pt"): (26, 25.9),
    ("electron", "max_abs_eta"): (2.1, 2.11),
    ("muon", "max_abs_eta"): (2.1, 2.11),
    ("jet", "min_pt"): (28, 27.9),
    ("jet", "max_abs_eta"): (2.4, 2.41),
    ("jet", "btag_threshold"): (0.8, 0.79),
    ("regions", "min_jets"): (4, 3),
}


@pytest.mark.parametrize("place", LIMITS, ids=".".join)
def test_a_cut_that_the_sample_was_preselected_tighter_by_is_refused(
    place: tuple[str, str],
) -> None:
    """Before an event is read; at the limit itself it is not. Of the real data the leptons' are known."""
    limit, loose = LIMITS[place]
    section, name = place
    fewer = {"variations": {"btag_jets": 3}}
    config = AnalysisConfig.model_validate(fewer | {section: {name: loose}})
    message = rf"lack events for {section}.{name} = {loose} \(pre-selected at {limit}\): tighten"
    with pytest.raises(ConfigError, match=message):
        run(TtbarAnalysis(config), Catalogue.load(SAMPLE))
    real = Catalogue.load(PROJECT / "ntuples.json").preselection
    assert real.get(f"{section}.{name}") == (limit if section in ("electron", "muon") else None)
    at_limit = AnalysisConfig.model_validate(fewer | {section: {name: limit}})
    require_preselected(Catalogue.load(SAMPLE).preselection, at_limit)


def test_all_cuts_that_are_too_loose_are_told_at_once() -> None:
    config = AnalysisConfig.model_validate({"jet": {"min_pt": 25}, "muon": {"min_pt": 20}})
    with pytest.raises(ConfigError, match=r"muon.min_pt = 20 \(.*at 26\), jet.min_pt = 25 \("):
        require_preselected(Catalogue.load(SAMPLE).preselection, config)


def test_a_skim_of_another_version_is_refused_in_words(skimmed: Skimmed) -> None:
    made = skimmed.catalogue.skim
    assert made is not None
    other = made.model_copy(update={"config": {"jet": {"min_ptt": 30.0}}})
    with pytest.raises(ConfigError, match=r"of another version \(jet.min_ptt: unknown key"):
        run(TtbarAnalysis(), skimmed.catalogue.model_copy(update={"skim": other}))


def test_other_code_than_the_skim_s_is_told(
    skimmed: Skimmed, caplog: pytest.LogCaptureFixture
) -> None:
    """A region that was added since would lack events under the jet shifts."""
    made = skimmed.catalogue.skim
    assert made is not None
    assert {"analysis.selection.regions", "analysis.selection.objects"} <= made.code.keys()
    assert not any(name.startswith("analysis.execution") for name in made.code)
    limits = Limits(max_events=1)
    run(TtbarAnalysis(), skimmed.catalogue, limits=limits)
    assert "may lack events" not in caplog.text
    other = made.model_copy(update={"code": made.code | {"analysis.selection.regions": "0"}})
    run(TtbarAnalysis(), skimmed.catalogue.model_copy(update={"skim": other}), limits=limits)
    assert (
        "the skim was made by other code (analysis.selection.regions): it may lack events"
        in caplog.text
    )


def test_a_skim_does_not_replace_the_ledger_of_results(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    """The histograms would be scaled by what was read for the skim."""
    few = catalogue.select(["ttbar__nominal"])
    normalised(tmp_path, few)
    before = contents(tmp_path)
    with pytest.raises(OutputError, match="has the results of a run: name another folder"):
        make_skim(few, tmp_path)
    assert contents(tmp_path) == before


def test_a_skim_has_the_preselection_of_its_ntuples(catalogue: Catalogue, tmp_path: Path) -> None:
    one = catalogue.select(["ttbar__scaleup"])
    limited = one.model_copy(update={"preselection": {"muon.min_pt": 26.0}})
    made = make_skim(limited, tmp_path / "made").catalogue
    assert made.preselection == {"muon.min_pt": 26.0}
    loose = AnalysisConfig.model_validate({"muon": {"min_pt": 20}})
    with pytest.raises(ConfigError, match=r"muon.min_pt = 20 \(pre-selected at 26\)"):
        make_skim(limited, tmp_path, TtbarAnalysis(loose))


def test_another_analysis_is_refused(skimmed: Skimmed) -> None:
    with pytest.raises(ConfigError, match="a skim for the ttbar analysis"):
        run(DimuonAnalysis(), skimmed.catalogue)


def test_regions_channels_and_shifts_beyond_a_skim_are_refused(skimmed: Skimmed) -> None:
    """By what they select, whatever they are called for figures; fewer are no harm."""
    lesson = TtbarAnalysis()
    first, *others = lesson.regions

    def taken(*regions: Region) -> None:
        TtbarAnalysis(regions=regions).require_events(skimmed.catalogue)

    taken(first)
    taken(dataclasses.replace(first, label="other words"), *others)
    with pytest.raises(ConfigError, match="with another region '4j1b' and may lack its events"):
        taken(dataclasses.replace(first, where=lambda s: s.n_jets >= 2), *others)
    with pytest.raises(ConfigError, match="without region 'mine'"):
        taken(dataclasses.replace(first, name="mine"))
    more = lesson.adding(shifts=[Shift("mine", up=lambda jets: 1.1 * jets.pt)])
    with pytest.raises(ConfigError, match="without shift 'mine'"):
        more.require_events(skimmed.catalogue)


def test_checksums_of_the_files_before_are_not_kept(catalogue: Catalogue, tmp_path: Path) -> None:
    one = catalogue.select(["ttbar__nominal"])
    dataset = one.datasets["ttbar__nominal"]
    sums = {name: Checksum(size=1, adler32="00000001") for name in dataset.files}
    known = {"ttbar__nominal": dataset.model_copy(update={"checksums": sums})}
    made = make_skim(one.model_copy(update={"datasets": known}), tmp_path).catalogue
    assert made.datasets["ttbar__nominal"].checksums == {}


def test_a_dataset_without_events_and_weights_is_refused_at_once(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    files = {"files": {"none.root": 0}, "sum_of_weights": None}
    empty = catalogue.datasets["wjets__nominal"].model_copy(update=files)
    datasets = catalogue.datasets | {"wjets__nominal": empty}
    with pytest.raises(CatalogueError, match="wjets__nominal has no events"):
        make_skim(catalogue.model_copy(update={"datasets": datasets}), tmp_path / "skim")
    assert not (tmp_path / "skim").exists()


def test_a_skim_of_a_skim_is_refused(skimmed: Skimmed, tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r"a skim already, made of full.json"):
        make_skim(skimmed.catalogue, tmp_path)


def test_an_incomplete_skim_has_no_catalogue(catalogue: Catalogue, tmp_path: Path) -> None:
    one = catalogue.select(["ttbar__nominal"])
    make_skim(one, tmp_path)
    assert (tmp_path / CATALOGUE).exists()
    files = {**one.datasets["ttbar__nominal"].files, "missing.root": 10}
    dataset = one.datasets["ttbar__nominal"].model_copy(update={"files": files})
    broken = one.model_copy(update={"datasets": {"ttbar__nominal": dataset}})
    with pytest.raises(IncompleteError, match=r"missing\.root: no such file"):
        make_skim(broken, tmp_path)
    assert not (tmp_path / CATALOGUE).exists()
    assert not (tmp_path / ".parts").exists()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_of_a_server_with_a_password(
    catalogue: Catalogue, skimmed: Skimmed, tmp_path: Path
) -> None:
    pytest.importorskip("aiohttp", reason="the extra 'http' is not installed")
    one = catalogue.select(["ttbar__nominal"])
    with http_server(Path(one.base)) as address:
        served = one.model_copy(update={"base": address.replace("://", "://ana:s3cret@")})
        made = make_skim(served, tmp_path).catalogue
    assert made.events == skimmed.catalogue.select(["ttbar__nominal"]).events
    assert not [p for p in tmp_path.rglob("*.json") if "s3cret" in p.read_text(encoding="utf-8")]


@pytest.mark.full
@pytest.mark.parametrize("lost", [1, 3])
def test_parts_that_did_not_come_are_missed(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """Where a worker sees another folder, or what it wrote is not seen here."""
    real = ntuples.write
    written = []

    def write(path: Path, *arguments: Any, **options: Any) -> None:
        written.append(path)
        if ".parts" not in path.parts or len(written) > lost:
            real(path, *arguments, **options)

    monkeypatch.setattr(ntuples, "write", write)
    few = catalogue.select(["ttbar__nominal"])
    with pytest.raises(OutputError, match=r"ttbar__nominal: \d+ of \d+ selected events are in"):
        make_skim(few, tmp_path, execution=Execution(chunk_size=2000))
    assert not (tmp_path / CATALOGUE).exists()


def test_nothing_is_deleted_that_no_skim_made(catalogue: Catalogue, tmp_path: Path) -> None:
    few = catalogue.select(["ttbar__nominal"])
    folder = tmp_path / "input"
    (folder / "ttbar__nominal").mkdir(parents=True)
    for file in few.files:
        shutil.copy(file.url, folder / "ttbar__nominal")
    few.model_copy(update={"base": str(folder)}).write(tmp_path / "mine.json")
    before = {path: path.read_bytes() for path in folder.rglob("*.root")}
    assert before
    with pytest.raises(OutputError, match="no finished skim made"):
        make_skim(few, folder)
    few.write(folder / CATALOGUE)
    with pytest.raises(OutputError, match="catalogue of other ntuples"):
        make_skim(few, folder)
    assert {path: path.read_bytes() for path in folder.rglob("*.root")} == before
    made = make_skim(few, tmp_path / "skim").path.read_bytes()
    assert make_skim(few, tmp_path / "skim").path.read_bytes() == made


@pytest.mark.full
@pytest.mark.parametrize("rntuple", [False, True])
def test_a_dataset_without_selected_events(
    catalogue: Catalogue, tmp_path: Path, rntuple: bool
) -> None:
    config = AnalysisConfig.model_validate({"regions": {"min_jets": 25}})
    made = make_skim(
        catalogue.select(["ttbar__nominal"]), tmp_path, TtbarAnalysis(config), rntuple=rntuple
    )
    assert made.catalogue.events == 0
    result = run(TtbarAnalysis(config), Catalogue.load(made.path))
    assert result.ledger.complete
    assert result.output["ttbar__nominal"]["observable"].sum(flow=True).value == 0


@pytest.mark.full
def test_commands(catalogue_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A part of a skim cannot have the cutflow of all the ntuples: it says so."""
    common = ["--datasets", "ttbar__nominal", "--quiet", "--output"]
    skim = str(tmp_path / "skim")
    assert main(["skim", "--catalogue", str(catalogue_file), *common, skim]) == 0
    again = ["process", "--catalogue", f"{skim}/{CATALOGUE}", *common, str(tmp_path / "out")]
    assert main(again) == 0
    assert "cutflow" not in capsys.readouterr().err
    assert main([*again, "--max-events", "10"]) == 0
    assert "the cutflow count events of the skim only" in capsys.readouterr().err
    result = run(TtbarAnalysis(), Catalogue.load(f"{skim}/{CATALOGUE}"), limits=Limits(1, 10))
    assert result.ledger.events_processed == 10


def test_a_refused_run_leaves_the_earlier_results_as_they_were(
    skimmed: Skimmed,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What they are of may not be had again."""

    def connected(settings: Any, *_: Any) -> Any:
        raise ExecutionError(settings.address)

    monkeypatch.setattr(loop, "connected", connected)
    skim, out = skimmed.path.parent, tmp_path / "out"
    common = ["--catalogue", str(skimmed.path), "--datasets", "ttbar__scaleup", "--quiet"]
    again = ["process", *common, "--output", str(out)]
    assert main(again) == 0
    (tmp_path / "loose.toml").write_text("[jet]\nmin_pt = 25")
    full = str(tmp_path / "full.json")
    shutil.copytree(skim, tmp_path / "input")
    apart = {"skim": None, "base": str(tmp_path / "input")}
    skimmed.catalogue.model_copy(update=apart).write(Path(full))
    earlier = contents(out) | contents(skim)
    scheduler = ["--scheduler", "tcp://127.0.0.1:9"]
    for command, message in (
        ([*again, "--config", str(tmp_path / "loose.toml")], "may lack events for 25.0"),
        ([*again, "--config", str(tmp_path / "none.toml")], "No such file"),
        ([*again, *scheduler], "tcp://127.0.0.1:9"),
        (["skim", *common, "--output", str(skim)], "a skim already"),
        (["skim", "--catalogue", full, *scheduler, "--output", str(skim)], "tcp://127.0.0.1:9"),
    ):
        assert main(command) == 2
        assert message in capsys.readouterr().err
        assert contents(out) | contents(skim) == earlier


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
