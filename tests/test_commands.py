"""Every command of the README and the docs to its end, on the bundled sample as it is."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from hist import Hist

from analysis.cli import main
from analysis.datasets.nanoaod import CROSS_SECTIONS, SERVERS
from analysis.execution.ledger import Ledger
from analysis.inference import tables
from analysis.results import load_normalised
from tests.conftest import PROJECT
from tests.dimuon.test_processor import write_tree
from tests.ntuples import as_nanoaod, make_events, write_nanoaod, write_random
from tests.test_docs import marked
from tests.test_readme import arguments_of, blocks, commands_in
from tests.test_readme import marked as readme_block

SAMPLE = PROJECT / "analysis" / "sample"
TRUTH_PB = 889.98
"""Cross section of tt̄ in the pseudo-data of the bundled sample."""

COMMANDS = {
    "main": [""],
    "stages": [
        "process", "normalise results --luminosity '50 /pb' --cross-section ttbar=832",
        "plot results", "toppeak results", "abcd results", "fit results", "report results",
        "show results",
    ],
    "limit": [
        (
            "limit results --signal signal.root --sum-of-weights 15000"
            " --cross-section '10 pb' --luminosity '50 /pb'"
        ),
    ],
    "analysis": ["--analysis my_analysis.py --output results_own", "analyses lesson"],
    "cut": ["--config my.toml --output results_my_cuts"],
    "own": [
        (
            "catalogue build my_ntuples --output mine.json --cross-section 'zjets=6025 pb'"
            " --luminosity '2.3 /fb'"
        ),
        "--catalogue mine.json --output results_mine",
    ],
    "resumed": [
        "process --executor futures --workers 2 --chunk-size 1000",
        "process --executor dask --workers 2 --chunk-size 1000 --resume",
    ],
    "catalogue": ["catalogue show"],
    "sideband": [
        "sideband",
        'sideband muons.root --preset z --label "CMS Open Data" --energy "8 TeV"',
        "sideband muons.root --lower 2.7 2.9 --signal 2.95 3.25 --upper 3.3 3.5",
        "sideband pairs.csv --background chebyshev",
        "sideband dimuon_summary_data.csv --any-charge",
        "sideband file.root:folder/mass --method linear",
    ],
    "agc": [
        (
            "catalogue import nanoaod_inputs.json --server eos --files-per-process 1"
            " --output agc.json"
        ),
        (
            "process --analysis agc-v2 --catalogue agc.json --executor futures --workers 2"
            " --output results_agc"
        ),
        "export results_agc --output histograms.json",
        "compare results_agc histos_1_file_per_process.json",
        "fit results_agc",
        "fit histos_1_file_per_process.json --output fit_agc",
    ],
    "validate": ["simulate --validate --output results/mine"],
}  # fmt: skip
"""By the test that runs them."""
APART = [
    "simulate --process ttbar,wjets --events 2000 --seed 1 --workers 2 --output results/mine",
    "simulate --sample --workers 2 --output analysis/sample",
    "simulate --sample --format nanoaod --output results/nano",
    "simulate --process all --format nanoaod --output results/agc",
]
"""Events are generated for minutes: the tests of the simulation do it for fewer, or read the results."""
ELSEWHERE = re.compile(r"--catalogue ntuples\.json|--max-files|--cluster|--scheduler|batch\.toml")
"""Commands that need CERN's files, or a cluster."""


def test_every_command_of_the_pages_is_run() -> None:
    pages = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
    lines = [line for page in pages for line in commands_in(page.read_text(encoding="utf-8"))]
    here = [arguments_of(line) for line in lines if not ELSEWHERE.search(line)]
    known = [shlex.split(line) for lines in (*COMMANDS.values(), APART) for line in lines]
    assert [line for line in here if line not in known] == []
    assert [line for line in known if line not in here] == []


def run(name: str) -> None:
    """Run the commands of that name, in this process; each must end well."""
    for line in COMMANDS[name]:
        assert main(shlex.split(line)) == 0, line


def assert_measured(results: str) -> None:
    """The fit finds the truth, and knows by how much it may be wrong."""
    measured = tables.load(Path(results)).cross_section
    assert abs(measured.value - TRUTH_PB) < 2 * measured.error
    assert 0.05 < measured.error / measured.value < 0.3


def assert_drawn(results: str, *names: str) -> None:
    for name in names:
        for suffix in ("png", "pdf"):
            assert (Path(results) / "figures" / f"{name}.{suffix}").stat().st_size > 5000, name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """To be in, with the `results` of the main command."""
    folder = tmp_path_factory.mktemp("commands")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("main")
        yield folder


here = pytest.mark.usefixtures("folder")


@pytest.mark.full
@here
def test_the_main_command() -> None:
    assert_measured("results")
    assert_drawn("results", "4j1b", "4j2b", "variations_4j2b_ttbar", "control_met")
    assert_drawn("results", "top_peak_data", "fit_yields_4j2b", "fit_pulls", "fit_ranking")
    assert Ledger.load(Path("results")).complete
    assert Path("results", "report.html").stat().st_size > 500_000


@pytest.mark.full
@here
def test_each_stage_by_itself_and_a_limit(capsys: pytest.CaptureFixture[str]) -> None:
    """In the README's order, each on what those before it have left."""
    run("stages")
    shown = capsys.readouterr().out
    assert_measured("results")
    assert_drawn("results", "4j1b", "4j2b", "top_peak_data", "fit_pulls")
    assert "σ(tt̄) = " in shown
    assert "events/s" in shown
    exec(marked("signal", "measurement"), {})  # noqa: S102 - our own page
    run("limit")
    assert "observed limit, 95% CL" in capsys.readouterr().out
    assert_drawn("results", "limit")


@pytest.mark.full
@here
def test_a_changed_cut() -> None:
    Path("my.toml").write_text(blocks("toml")[0], encoding="utf-8")
    run("cut")
    assert_measured("results_my_cuts")
    assert_drawn("results_my_cuts", "4j2b", "fit_ranking")
    changed, before = (load_normalised(Path(name)) for name in ("results_my_cuts", "results"))
    assert changed.ledger.config["jet"]["min_pt"] == 35.0
    sums = (run.histograms["observable"].sum().value for run in (changed, before))
    assert next(sums) < next(sums)


@pytest.mark.full
@here
def test_an_analysis_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    """Drawn and fitted as the lesson's; the fit is of the lesson's regions."""
    Path("my_analysis.py").write_text(readme_block("my_analysis.py"), encoding="utf-8")
    run("analysis")
    assert "Ele22_eta2p1_WPLoose_Gsf" in capsys.readouterr().out
    assert_measured("results_own")
    assert_drawn("results_own", "4j2b_met", "control_met_high", "variations_4j2b_met_ttbar")


@pytest.mark.full
@here
def test_datasets_of_ones_own() -> None:
    """Some of the bundled sample's, and one more."""
    for dataset in ("data__pseudo", "ttbar__nominal"):
        shutil.copytree(SAMPLE / dataset, Path("my_ntuples", dataset))
    write_random(Path("my_ntuples", "zjets__nominal", "a.root"), 300, seed=1)
    run("own")
    assert "| zjets " in Path("results_mine", "yields.md").read_text(encoding="utf-8")
    assert_drawn("results_mine", "4j1b", "4j2b")


@pytest.mark.full
@here
def test_a_run_goes_on_with_another_executor() -> None:
    run("resumed")
    resumed = Ledger.load(Path("results"))
    assert resumed.complete
    assert resumed.chunks is not None
    assert resumed.chunks.resumed == resumed.chunks.planned > 0


@pytest.mark.full
@here
def test_the_catalogue_of_the_real_data(capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(PROJECT / "ntuples.json", ".")
    run("catalogue")
    assert "131,540,113" in capsys.readouterr().out


@pytest.mark.full
@here
def test_peaks_of_muon_pairs(capsys: pytest.CaptureFixture[str]) -> None:
    """J/ψ and Z over a background, in files as the page names them."""
    make_pairs()
    run("sideband")
    said = capsys.readouterr().out
    assert said.count("Fit of peak and background: ") == len(COMMANDS["sideband"])
    assert "Without result" not in said
    assert_drawn("results/sideband", "count", "sidebands", "peak", "scan")


def make_pairs() -> None:
    rng = np.random.default_rng(2)
    low = np.concatenate([rng.normal(3.097, 0.03, 800), rng.uniform(2.6, 3.5, 500)])
    high = np.concatenate([rng.normal(91.19, 2.5, 800), rng.uniform(60, 120, 500)])
    masses: Any = np.concatenate([low, high])
    write_tree(
        Path("muons.root"), [[(m / 2, 0.0, 0.0, 1), (m / 2, 0.0, np.pi, -1)] for m in masses]
    )
    lines = [f"{m / 2},{m / 2},0,0,1,{m / 2},{-m / 2},0,0,-1" for m in masses]
    text = "\n".join(["E1,px1,py1,pz1,Q1,E2,px2,py2,pz2,Q2", *lines]) + "\n"
    for name in ("pairs.csv", "dimuon_summary_data.csv"):
        Path(name).write_text(text, encoding="utf-8")
    with uproot.recreate("file.root") as file:
        file["folder/mass"] = Hist.new.Reg(180, 2.6, 3.5).Weight().fill(low)


@pytest.mark.full
@here
def test_the_sample_is_compared_with_cms() -> None:
    shutil.copytree(SAMPLE, Path("results", "mine"))
    run("validate")
    assert Path("results", "mine", "validation.png").stat().st_size > 5000


@pytest.mark.full
@here
def test_the_grand_challenge(monkeypatch: pytest.MonkeyPatch) -> None:
    """On files of ours at the address that is no server here; the reference is the export."""
    monkeypatch.setitem(SERVERS, "eos", str(Path("nano").absolute()))
    inputs: dict[str, Any] = {}
    samples = [("ttbar", name) for name in ("nominal", "ME_var", "PS_var", "scaleup", "scaledown")]
    samples += [(name, "nominal") for name in CROSS_SECTIONS if name != "ttbar"]
    for seed, (process, variation) in enumerate(samples):
        name = f"{process}_{variation}.root"
        write_nanoaod(Path("nano", name), as_nanoaod(make_events(400, seed=seed)))
        listed = [{"path": f"{SERVERS['unl']}/{name}", "nevts": 400}]
        inputs.setdefault(process, {})[variation] = {"nevts_total": 400, "files": listed}
    Path("nanoaod_inputs.json").write_text(json.dumps(inputs), encoding="utf-8")
    for line in COMMANDS["agc"]:
        assert main(shlex.split(line)) == 0, line
        if line.startswith("export"):
            shutil.copy("histograms.json", "histos_1_file_per_process.json")
    assert_drawn("results_agc", "compare_4j1b", "compare_4j2b", "fit_pulls")
    observed = [tables.load(Path(folder)).observed for folder in ("results_agc", "fit_agc")]
    assert observed == ["pseudo-data", "pseudo-data"]
