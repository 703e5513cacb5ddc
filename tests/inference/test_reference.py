"""What a strength of 1 stands for, and the processes of a run: the same from its folder and its files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import uproot

from analysis.cli import main
from analysis.common.errors import AnalysisError, WorkspaceError
from analysis.config import Binning
from analysis.datasets.inventory import build as build_catalogue
from analysis.inference import tables
from analysis.inference.config import InferenceConfig
from analysis.inference.measurement import Measurement, measure
from analysis.inference.names import named
from analysis.inference.templates import from_results, from_root
from analysis.inference.workspace import build
from analysis.postprocess.normalisation import DatasetScale, Normalisation
from analysis.results import load_normalised
from analysis.stages import fit as fit_and_write
from tests.inference.root_file import WJETS, contents, write
from tests.ntuples import write_random

MODEL = InferenceConfig(processes=("ttbar",), binning=Binning(bins=4, low=150, high=550))
NUMBERS = {
    "ttbar": {"cross_section": 415.88, "k_factor": 2.0, "sum_of_weights": 50_000},
    "zjets": {"cross_section": 6025.0, "sum_of_weights": 1_000_000},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a process that the package does not know. Not to be changed."""
    folder = tmp_path_factory.mktemp("reference")
    names = ("data__SingleMuon", "data__SingleElectron", "ttbar__nominal", "zjets__nominal")
    for seed, name in enumerate(names, 1):
        write_random(folder / "ntuples" / name / "a.root", 1200, seed)
    catalogue = folder / "ntuples.json"
    build_catalogue(folder / "ntuples", catalogue, NUMBERS, luminosity="100 /pb").write(catalogue)
    output = folder / "results"
    arguments = ["process", "--catalogue", str(catalogue), "--output", str(output), "--quiet"]
    assert main(arguments) == 0
    return output


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


def _signal_alone(run: Path) -> Measurement:
    """Without other processes: those share the simulation's statistical uncertainty of a bin."""
    made = from_results(load_normalised(run), MODEL)
    assert made.processes == ["ttbar", "zjets"]
    spec = build(made._replace(processes=["ttbar"]), MODEL).spec
    return measure(spec, cross_section_pb=made.cross_section_pb, with_ranking=False)


def test_the_cross_section_does_not_depend_on_what_the_signal_was_scaled_to(run: Path) -> None:
    usual = _signal_alone(run)
    assert main(["normalise", str(run), "--cross-section", "ttbar=400", "--quiet"]) == 0
    other = _signal_alone(run)
    assert (usual.cross_section.reference, other.cross_section.reference) == (831.76, 400.0)
    assert other.fit.value == pytest.approx(usual.fit.value * 831.76 / 400, rel=1e-4)
    for name in ("value", "error", "error_up", "error_down", "statistical", "systematic"):
        assert getattr(other.cross_section, name) == pytest.approx(
            getattr(usual.cross_section, name), rel=1e-3
        ), name
    assert other.cross_section.value == pytest.approx(usual.cross_section.value, rel=1e-4)


@pytest.mark.usefixtures("no_figures")
def test_folder_histograms_and_workspace_give_the_same_number(run: Path, tmp_path: Path) -> None:
    main(["normalise", str(run), "--cross-section", "ttbar=400", "--quiet"])
    of_file = tmp_path / "of_file"
    for source, output in (
        (run, run),
        (run / "scaled.root", of_file),
        (of_file / "workspace.json", of_file),
        (of_file / "workspace.json", tmp_path / "of_workspace"),
    ):
        fit_and_write(source, output, MODEL, with_ranking=False)
        found = tables.load(output)
        assert found.cross_section.reference == 400
        assert found.cross_section.value == pytest.approx(400 * found.fit.value, rel=1e-12)
        assert found.binning == MODEL.binning
        assert "| σ(tt̄) at strength 1 " in (output / "measurement.md").read_text(encoding="utf-8")
        assert "400.00 pb" in (output / "measurement.md").read_text(encoding="utf-8")
    first, *others = (folder / "workspace.json" for folder in (run, of_file, of_file))
    assert all(first.read_bytes() == other.read_bytes() for other in others)
    # A workspace of other observations is not of the fit beside it.
    spec = json.loads(first.read_text(encoding="utf-8"))
    spec["observations"][0]["data"][0] += 1
    first.write_text(json.dumps(spec), encoding="utf-8")
    measurement, _ = fit_and_write(first, tmp_path / "other", MODEL, with_ranking=False)
    assert measurement.cross_section.reference == 831.76


@pytest.mark.usefixtures("no_figures")
def test_pseudo_data_are_called_so_by_the_fit(run: Path) -> None:
    """In its tables and its submission, as in figures and on the page."""
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    record["labels"]["data"] = "Pseudo-data"
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    assert main(["normalise", str(run), "--quiet"]) == 0
    measurement, _ = fit_and_write(run, run, MODEL, with_ranking=False)
    assert measurement.observed == "pseudo-data"
    assert "## Measurement (pseudo-data)" in (run / "measurement.md").read_text(encoding="utf-8")


def test_a_model_that_contradicts_the_run_is_refused(run: Path) -> None:
    agreed = InferenceConfig(binning=MODEL.binning, signal_cross_section_pb=831.76)
    other = InferenceConfig(binning=MODEL.binning, signal_cross_section_pb=900)
    normalised = load_normalised(run)
    assert from_results(normalised, agreed).cross_section_pb == 831.76
    with pytest.raises(WorkspaceError, match=r"is 900, .* ttbar was scaled to 831\.76 pb") as said:
        from_results(normalised, other)
    assert "\n" not in str(said.value)
    with pytest.raises(WorkspaceError, match=r"scaled\.root ttbar was scaled to 831\.76 pb"):
        from_root(run / "scaled.root", other)


def test_what_is_to_be_known_of_the_run_is_said_of_its_fit(run: Path) -> None:
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    record["datasets"]["zjets__nominal"]["cross_section"] = None
    lost = record["datasets"]["ttbar__nominal"]["files"][0]
    lost["events_processed"] -= 100
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    assert main(["normalise", str(run), "--allow-incomplete", "--quiet"]) == 0
    scaling = load_normalised(run).normalisation
    assert not scaling.complete
    for made in (
        from_results(load_normalised(run), MODEL),
        from_root(run / "scaled.root", MODEL),
    ):
        assert made.notes[: len(scaling.notes)] == scaling.notes
        assert scaling.notes[0].startswith("incomplete: 100 of 4800 events were not processed")


@pytest.mark.usefixtures("no_figures")
def test_a_process_that_lacks_a_dataset_is_refused_unless_allowed(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the folder and from its ROOT file."""
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    lost = {"process": "zjets", "variation": "nominal", "channel": None, "events": 1200}
    record["left_out"] = {"zjets__nominal__low_pt": lost}
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    assert main(["normalise", str(run), "--quiet"]) == 0
    assert "incomplete: zjets lacks zjets__nominal__low_pt" in (run / "yields.md").read_text()
    for source in (run, run / "scaled.root"):
        with pytest.raises(
            WorkspaceError, match=r"zjets lacks zjets__nominal__low_pt: process all"
        ):
            fit_and_write(source, run, MODEL, with_ranking=False)
    fit_and_write(run, run, MODEL, with_ranking=False, allow_incomplete=True)
    for command in ("show", "report"):
        assert main([command, str(run)]) == 0
    assert "incomplete: zjets lacks zjets__nominal__low_pt" in capsys.readouterr().out
    assert "incomplete" in (run / "report.html").read_text(encoding="utf-8")


def test_a_signal_of_unknown_cross_section_is_refused(run: Path) -> None:
    for name in ("normalisation.json", "scaled.root"):
        (run / name).unlink()
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    record["datasets"]["ttbar__nominal"]["cross_section"] = None
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    assert main(["normalise", str(run), "--quiet"]) == 0
    for read in (
        lambda: from_results(load_normalised(run), MODEL),
        lambda: from_root(run / "scaled.root", MODEL),
    ):
        with pytest.raises(AnalysisError, match="--cross-section ttbar=X"):
            read()


def test_parts_of_a_process_add_up() -> None:
    def scale(process: str, variation: str, sigma: float | None, k: float = 1.0) -> DatasetScale:
        return DatasetScale(
            process=process, variation=variation, fraction=1.0, sum_of_weights=1.0,
            cross_section=sigma, k_factor=k, factors={},
        )  # fmt: skip

    known = Normalisation(
        missing=[],
        luminosity={},
        datasets={
            "a": scale("w", "nominal", 30.0, 2.0), "b": scale("w", "nominal", 10.0),
            "c": scale("w", "up", 99.0), "d": scale("z", "nominal", 5.0),
            "e": scale("z", "nominal", None), "f": scale("data", "nominal", None),
        },
        variations={"w": ["nominal", "up"], "z": ["nominal"], "data": ["nominal"]},
    )  # fmt: skip
    assert known.cross_sections_pb == {"w": 70.0, "z": None, "data": None}


def test_a_file_that_does_not_say_it_is_scaled_to_the_models(tmp_path: Path) -> None:
    source = write(tmp_path / "templates.root", contents())
    assert from_root(source, InferenceConfig()).cross_section_pb == 831.76
    stated = InferenceConfig(signal_cross_section_pb=800)
    assert from_root(source, stated).cross_section_pb == 800
    with pytest.raises(WorkspaceError, match="does not say what wjets was scaled to"):
        from_root(source, InferenceConfig(signal="wjets"))


def test_a_process_that_the_package_does_not_know_is_in_the_model(run: Path) -> None:
    of_run = build(from_results(load_normalised(run), MODEL), MODEL)
    of_file = build(from_root(run / "scaled.root", MODEL), MODEL)
    assert [s["name"] for s in of_file.spec["channels"][0]["samples"]] == ["ttbar", "zjets"]
    assert of_file == of_run
    keys, notes = named(["4j1b_z_jets", "4j1b_z", "4j1b_z_up"], MODEL, ["z", "z_jets"])
    assert [key[1:] for key in keys.values()] == [
        ("z_jets", "nominal"),
        ("z", "nominal"),
        ("z", "up"),
    ]
    assert notes == []


def _with(folder: Path, **more: object) -> Path:
    return write(folder / "templates.root", contents() | more)


def test_other_processes_are_those_with_variations_or_in_the_model(tmp_path: Path) -> None:
    """A sum or pseudo-data have no variations, and are no process."""
    source = _with(
        tmp_path,
        **{
            "4j1b_zjets": WJETS, "4j1b_zjets_pt_scale_up": WJETS, "4j1b_pseudodata": WJETS,
            "4j1b_diboson_loose": WJETS, "4j2b_lost_pt_scale_up": WJETS, "4j3b_ttbar": WJETS,
        },
    )  # fmt: skip
    made = from_root(source, InferenceConfig())
    assert made.processes == ["ttbar", "wjets", "zjets"]
    assert "zjets: taken for a process, as there are variations of it" in made.notes
    (left,) = (note for note in made.notes if "left out" in note)
    assert left.startswith(
        "histograms 4j1b_pseudodata, 4j1b_diboson_loose, 4j2b_lost_pt_scale_up, 4j3b_ttbar: left"
    )
    named = InferenceConfig(processes=("ttbar", "diboson_loose"))
    assert "diboson_loose" in from_root(source, named).processes


def test_the_histograms_of_a_run_say_what_they_were_scaled_to(run: Path) -> None:
    with uproot.open(run / "scaled.root") as file:
        assert json.loads(str(file["cross_sections_pb"])) == {
            "data": None, "ttbar": 831.76, "zjets": 6025.0,
        }  # fmt: skip


def test_regions_that_share_events_are_not_fitted_together(run: Path) -> None:
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert not record["analysis"]["overlaps"]
    record["analysis"]["overlaps"] = {"4j1b": {"4j2b": 7}}
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    assert main(["normalise", str(run), "--quiet"]) == 0
    normalised = load_normalised(run)
    with pytest.raises(WorkspaceError, match="4j1b and 4j2b have 7 events in common"):
        from_results(normalised, MODEL)
    one = MODEL.model_copy(update={"regions": ("4j2b",)})
    assert from_results(normalised, one).regions == ["4j2b"]
