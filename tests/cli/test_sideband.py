"""`run.py sideband`: the same peak from every kind of input, what is written, one line for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hist
import numpy as np
import pytest
import uproot
from hist import Hist

from analysis import histograms
from analysis.cli import main
from analysis.common.errors import SidebandError
from analysis.datasets.bundled import DIMUON_SAMPLE
from analysis.dimuon.masses import read_csv, read_masses
from analysis.dimuon.resonances import PRESETS, PeakReport, analyse, choice_of, coarser
from analysis.postprocess.sidebands.counts import estimate
from analysis.postprocess.windows import Window
from tests.cli.test_cli import error_of
from tests.dimuon.test_processor import random_events, write_tree

HEADER = "E1,px1,py1,pz1,Q1,E2,px2,py2,pz2,Q2"
N_SIGNAL = 600


def j_psi() -> Any:
    """Masses of a peak at 3.1 GeV over a flat background."""
    rng = np.random.default_rng(5)
    return np.concatenate([rng.normal(3.1, 0.03, N_SIGNAL), rng.uniform(2.6, 3.5, 900)])


def write_csv(path: Path, masses: Any, header: str = HEADER, charge: float = -1) -> Path:
    """Massless muons back to back, of half the mass each."""
    lines = [f"{m / 2},{m / 2},0,0,1,{m / 2},{-m / 2},0,0,{charge}" for m in masses]
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that are right and files that are not."""
    folder = tmp_path_factory.mktemp("inputs")
    masses = j_psi()
    binned = Hist.new.Reg(90, 2.6, 3.5).Weight().fill(masses)
    with uproot.recreate(folder / "h.root") as file:
        file["peaks/mass"] = binned
        file["empty"] = Hist.new.Reg(90, 2.6, 3.5).Weight()
        file["two"] = Hist.new.Reg(9, 2.6, 3.5).Reg(3, 0, 1).Double()
        file["text"] = "words"
    by_sample = Hist.new.Reg(90, 2.6, 3.5).StrCategory(["a", "b"]).Weight()
    by_sample.fill(masses, np.where(np.arange(len(masses)) % 2, "a", "b"))
    histograms.save(folder / "h.zip", {"x/mass": by_sample, "y": binned})
    for name, axis, words in (
        ("varied", "variation", "nominal up"),
        ("mixed", "process", "data jpsi"),
    ):
        twice = Hist.new.Reg(90, 2.6, 3.5).StrCategory(words.split(), name=axis).Weight()
        histograms.save(folder / f"{name}.zip", {name: twice})
    write_csv(folder / "nan_charge.csv", [3.1], charge=np.nan)
    write_csv(folder / "ok.csv", masses)
    write_csv(folder / "same.csv", masses[:3], charge=1)
    write_csv(folder / "header.csv", [])
    write_csv(folder / "nan.csv", [3.1, np.nan])
    (folder / "missing.csv").write_text("Run,E1,px1,py1,pz1,Q1,E2\n1,2,3,4,5,1,7\n")
    (folder / "word.csv").write_text(f"{HEADER}\n1,1,0,0,x,1,1,0,0,1\n")
    (folder / "charge.csv").write_text("e,px,py,pz,charge\n5,3,0,0,pm\n5,3,0,0,xx\n")
    (folder / "junk.root").write_bytes(b"junk" * 100)
    (folder / "notes.txt").touch()
    events = random_events(50)
    write_tree(folder / "nopt.root", events, leave_out="pt")
    write_tree(folder / "nan.root", [[(np.nan, 0, 0, 1), (5, 0, 1, -1)]])
    write_tree(folder / "same.root", [[(5, 0, 0, 1), (5, 0, 1, 1)]])
    return folder


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the bundled sample, with everything by default."""
    output = tmp_path_factory.mktemp("sideband") / "out"
    assert main(["sideband", "--output", str(output), "--quiet"]) == 0
    return output


def test_what_is_written(results: Path) -> None:
    assert {path.name for path in results.iterdir()} == {"sideband.json", "sideband.md", "figures"}
    figures = {path.name for path in (results / "figures").iterdir()}
    names = ("count", "sidebands", "peak", "scan")
    assert figures == {f"{name}.{suffix}" for name in names for suffix in ("png", "pdf")}
    report = PeakReport.model_validate_json((results / "sideband.json").read_text())
    text = (results / "sideband.md").read_text()
    assert all(f"- {line}\n" in text for line in report.lines)
    assert text.count("| window narrower |") == 0
    assert text.count("window narrower") == 2  # average, and the fit: linear is the same


def test_the_bundled_sample_gives_its_true_number(results: Path) -> None:
    """Of the J/psi sample alone the events in the range, the truth, against the fit of the mixture."""
    report = PeakReport.model_validate_json((results / "sideband.json").read_text())
    true = read_masses(DIMUON_SAMPLE, datasets=["jpsi__nominal"]).content
    assert report.peak_fit is not None
    inside = true[hist.loc(2.6) : hist.loc(3.5)].sum().value
    assert abs(report.peak_fit.signal.value - inside) < 2 * report.peak_fit.signal.error
    in_window = true[hist.loc(3.0) : hist.loc(3.2)].sum().value
    assert abs(report.counts[0].signal - in_window) < 2 * report.counts[0].background_error


def test_a_catalogue_of_simulation_alone_is_added_up_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = json.loads(DIMUON_SAMPLE.read_text())
    del content["datasets"]["data__dimuon"]
    content["base"] = str(DIMUON_SAMPLE.parent)
    path = tmp_path / "simulation.json"
    path.write_text(json.dumps(content))
    total = read_masses(path).content.sum(flow=True).value
    assert "no collision data; simulated events are added up" in caplog.text
    caplog.clear()
    parts = [read_masses(path, datasets=[name]) for name in content["datasets"]]
    assert total == sum(part.content.sum(flow=True).value for part in parts)
    assert not caplog.text


@pytest.mark.parametrize("source", ["ok.csv", "h.root:peaks/mass", "h.zip:x/mass", "h.zip:y"])
def test_every_input_gives_the_same(folder: Path, source: str) -> None:
    masses = read_masses(f"{folder}/{source}")
    assert masses.label in ("ok", "h")
    result = estimate(masses.content, PRESETS["jpsi"].regions)
    assert result == estimate(j_psi(), PRESETS["jpsi"].regions)


@pytest.mark.full
def test_the_result_in_words(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["sideband", f"{folder}/h.root:peaks/mass", "--output", str(tmp_path / "out")]
    assert main([*arguments, "--shape", "gaussian", "--method", "linear"]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert [line.partition(":")[0] for line in lines[1:]] == [
        "Count", "Count", "Fit of the bands alone", "Fit of peak and background",
        "Other regions and methods, signal of the whole peak",
    ]  # fmt: skip
    assert "(linear of" in lines[1]
    report = json.loads((tmp_path / "out" / "sideband.json").read_text())
    signal = report["peak_fit"]["parameters"]["signal"]
    assert abs(signal["value"] - N_SIGNAL) < 3 * signal["error"]
    assert str(tmp_path / "out") in said.err


def test_csv_columns_by_any_usual_name(tmp_path: Path) -> None:
    """Other case, other words for energy and charge, spaces, a column more, another order."""
    header = "energy_1, PX1 ,Py_1,pz1,Charge1,e2,px2,py2,pz2,CH_2"
    masses = read_csv(write_csv(tmp_path / "a.csv", [3.0, 10.0], header))
    assert masses == pytest.approx([3.0, 10.0])
    (tmp_path / "b.csv").write_text(
        "Q2,Q1,M,E1,E2,px1,px2,py1,py2,pz1,pz2\n1,-1,9,5,5,3,-3,0,0,4,4\n"
    )
    assert read_csv(tmp_path / "b.csv") == pytest.approx([6.0])


PAIRS = """5,3,0,0,pm
13,0,5,0,mm
5,0,0,4,pp
 3.1,0,0,0, mp
"""


@pytest.mark.parametrize("header", ["", "e,px,py,pz,charge\n", "E , Px,py,pz,Charge\n"])
def test_a_pair_a_line_as_in_the_file_of_the_lesson(tmp_path: Path, header: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(header + PAIRS)
    assert read_csv(path) == pytest.approx([4.0, 3.1])
    assert read_csv(path, any_charge=True) == pytest.approx([4.0, 12.0, 3.0, 3.1])


def test_pairs_that_have_no_mass_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("5,3,0,0,pm\n3,5,0,0,pm\n")
    assert read_csv(path) == pytest.approx([4.0, -4.0])
    assert "1 of 2 pairs have more momentum than energy" in caplog.text


def test_other_columns_of_pairs_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("charge,run,pz,py,px,e\npm,7,0,0,3,5\n")
    assert read_csv(path) == pytest.approx([4.0])


@pytest.mark.full
def test_pairs_of_any_charge_of_every_input(folder: Path, tmp_path: Path) -> None:
    assert len(read_csv(folder / "same.csv", any_charge=True)) == 3
    tree = read_masses(folder / "same.root", unbinned=True, any_charge=True).content
    assert tree == pytest.approx([5 * np.sqrt(2 * (1 - np.cos(1)))], rel=1e-3)
    out = tmp_path / "out"
    assert main(["sideband", f"{folder}/ok.csv", "--any-charge", "--output", str(out)]) == 0


def test_a_fit_without_result_is_told(folder: Path) -> None:
    """A handful of events: counted, not fitted."""
    report = analyse(read_csv(folder / "ok.csv")[:3], PRESETS["jpsi"])
    assert report.peak_fit is None
    assert report.sideband_fit is None
    assert not report.scan.corrected
    assert report.failures[0].startswith("fit of peak and background: 3 values are too few")
    assert report.lines[-1].startswith("Without result: fit of the bands alone")
    assert PeakReport.model_validate_json(report.model_dump_json()) == report


@pytest.mark.full
def test_a_peak_elsewhere_is_not_that_of_the_window(tmp_path: Path) -> None:
    """A bump in the upper band draws the fit away; figures of an earlier fit go."""
    rng = np.random.default_rng(5)
    values = np.concatenate([rng.normal(3.3, 0.03, 900), rng.uniform(2.6, 3.5, 900)])
    source = write_csv(tmp_path / "beside.csv", values)
    (tmp_path / "figures").mkdir()
    earlier = tmp_path / "figures" / "peak.png"
    earlier.touch()
    assert main(["sideband", str(source), "--shape", "gaussian", "--output", str(tmp_path)]) == 0
    assert not earlier.exists()
    report = PeakReport.model_validate_json((tmp_path / "sideband.json").read_text())
    assert report.peak_fit is None
    assert not report.scan.corrected
    assert report.failures[0].endswith("is not the peak")


def test_a_peak_that_is_not_there_is_not_significant() -> None:
    """The bundled sample has no upsilon."""
    report = analyse(read_masses(DIMUON_SAMPLE).content, PRESETS["upsilon"])
    assert abs(report.scan.nominal.signal) < 3 * report.scan.nominal.error
    for result in (*report.counts, report.peak_fit):
        assert result is None or abs(result.significance or 0) < 3


def test_fine_bins_are_merged_where_the_regions_allow() -> None:
    fine = Hist.new.Reg(13_000, 0, 130).Weight().fill(j_psi())
    expected = {"jpsi": 0.02, "upsilon": 0.05, "z": 1.0}
    for name, width in expected.items():
        merged = coarser(fine, PRESETS[name])
        assert isinstance(merged, Hist)
        assert merged.axes[0].widths == pytest.approx(width)
        regions = PRESETS[name].regions
        assert estimate(merged, regions).in_window == estimate(fine, regions).in_window
    odd = Hist.new.Reg(10, 0, 10).Weight()
    assert coarser(odd, PRESETS["jpsi"]) is odd
    assert coarser(odd, PRESETS["z"]) is odd


def test_a_negative_bin_is_refused_though_its_neighbours_would_hide_it() -> None:
    fine = Hist.new.Reg(13_000, 0, 130).Weight().fill(j_psi())
    fine.view()["value"][int(np.argmin(np.abs(fine.axes[0].centers - 3.1)))] = -1
    with pytest.raises(SidebandError, match=r"3 to 3\.2 has negative bins"):
        analyse(fine, PRESETS["jpsi"])


def test_a_choice_moves_what_it_names() -> None:
    bands = choice_of("jpsi", {"lower": (2.7, 2.9)})
    assert bands.regions.lower == Window(2.7, 2.9)
    assert bands.fit_range == PRESETS["jpsi"].fit_range
    window = choice_of(
        "z", {"lower": (3.3, 3.5), "signal": (3.6, 3.8), "upper": (3.9, 4.1), "method": "linear"}
    )
    assert window.fit_range == Window(3.3, 4.1)
    assert window.start.position == pytest.approx(3.7)
    assert window.method == "linear"
    with pytest.raises(SidebandError, match="unknown preset 'zed': did you mean 'z'"):
        choice_of("zed")


@pytest.mark.filterwarnings("ignore:the filter_branch kwarg:DeprecationWarning")
def test_an_rntuple_of_muons_is_read_like_a_tree(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree.root", random_events(50))
    columns = uproot.open(tree)["Events"].arrays(filter_name="Muon_*")
    with uproot.recreate(tmp_path / "ntuple.root") as file:
        file.mkrntuple("Events", {name: columns[name] for name in columns.fields})
    want, got = (read_masses(path).content for path in (tree, tmp_path / "ntuple.root"))
    assert want.sum(flow=True).value > 0
    assert got == want


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.root"], "none.root: no such file: did you mean 'nan.root' or 'nopt.root'"),
        ([""], "is a folder: expected a file"),
        (["notes.txt"], "expected a file that ends with .root, .json, .zip or .csv"),
        (["junk.root"], "junk.root: ValueError: not a ROOT file"),
        (["same.root"], "same.root: no event with exactly two muons of opposite charge"),
        (["nan.root"], "nan.root: the mass of 1 of 1 muon pairs is not finite"),
        (["nopt.root"], "branch 'Muon_pt' is not in the file: nearest there: Muon_"),
        (["nopt.root:Event"], "no object 'Event', did you mean 'Events'?"),
        (["h.root"], "no object 'Events', valid are: peaks"),
        (["h.root:peaks/mas"], "no object 'peaks/mas', did you mean 'peaks/mass' or 'peaks'?"),
        (["h.root:two"], "h.root:two: expected a histogram of one axis, got 2"),
        (["h.root:text"], "h.root:text: neither a tree nor a histogram"),
        (["h.root:empty"], "no events in 2.8 to 3, 3 to 3.2 and 3.2 to 3.4"),
        (["h.root:peaks/mass", "--preset", "z"], "begins below the axis|ends above the axis"),
        (["h.zip"], "h.zip: name one of: x/mass, y (FILE:NAME)"),
        (["h.zip:x/mas"], "no histogram 'x/mas', did you mean 'x/mass'?"),
        (["h.zip:y", "--datasets", "a"], "datasets can be named for a catalogue only"),
        (["missing.csv"], "missing.csv: no column px2, py2, pz2, q2 or charge2 or ch2; there: Run"),
        (["word.csv"], "could not convert string 'x'"),
        (["header.csv"], "header.csv: no line after the header"),
        (["same.csv"], "same.csv: no pair of opposite charge in 3 lines"),
        (["charge.csv"], "charge.csv: charge 'xx': expected one of pp, mm, pm, mp"),
        (["nan_charge.csv"], "nan_charge.csv: a charge is not finite: expected 1 or -1"),
        (["varied.zip"], "the sum over its axis 'variation' (nominal, up, ...) has no meaning"),
        (["mixed.zip"], "the sum over its axis 'process' (data, jpsi, ...) has no meaning"),
        (["nan.csv"], "nan.csv: the mass of 1 of 2 muon pairs is not finite"),
    ],
)
def test_inputs_that_hold_no_masses(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    name, *others = arguments
    of_a_chunk = name in ("nan.root", "nopt.root")
    line = error_of(
        capsys, "sideband", f"{folder}/{name}", *others, "--output", folder / "none", "--quiet",
        expected=3 if of_a_chunk else 2,
    )  # fmt: skip
    assert any(part in line for part in message.split("|"))
    assert not (folder / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--datasets data_dimuon", "'data_dimuon': did you mean 'data__dimuon'"),
        ("--preset jps", "unknown preset 'jps': did you mean 'jpsi'"),
        ("--lower 2.8 3.1", "lower band, signal window and upper band overlap"),
        ("--lower 3 2.8", "the lower region 3 to 2.8 is empty"),
        ("--lower nan 3", "finite number"),
        ("--lower 2.805 3", "cuts the bin from 2.8 to 2.81"),
        ("--upper 3.2 400", "ends above the axis (0 to 130)"),
        ("--range 3.5 2.6", "the fit range 3.5 to 2.6 is empty"),
        ("--range 3.3 3.6", "the position must be inside"),
        ("--shape gaus", "unknown signal shape 'gaus': did you mean 'gaussian'"),
        ("--background chebishev", "'chebishev': did you mean 'chebyshev'"),
        ("--background chebyshev --order 20", "must be between 1 and 8, got 20"),
        ("--order 2", "exponential has no order"),
        ("--method mean", "'average' or 'linear', got 'mean'"),
        ("--executor desk", "'desk': did you mean 'dask'"),
        ("--lower 2.8", "expected 2 arguments"),
    ],
)
def test_choices_that_make_no_sense(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: str, message: str
) -> None:
    given = ["--output", tmp_path / "none", "--quiet", *arguments.split()]
    assert message in error_of(capsys, "sideband", *given)
    assert not (tmp_path / "none").exists()


def test_figures_name_no_energy_that_was_not_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The lesson's collisions are of 8 TeV, the analysis' of 13 TeV: a file does not say."""
    drawn = []
    monkeypatch.setattr(
        "analysis.plotting.peaks.resonance_figures", lambda *arguments: drawn.append(arguments[2])
    )
    for given in ([], ["--energy", "8 TeV"]):
        assert main(["sideband", "--output", str(tmp_path), "--quiet", *given]) == 0
    assert [caption.above.centre_of_mass for caption in drawn] == ["", "8 TeV"]
