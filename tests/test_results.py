"""A results folder: what was made of other histograms, or by another version, is not taken for the run's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from analysis import results, stages
from analysis.common.errors import OutputError
from analysis.common.folders import workspace_file
from analysis.config import AnalysisConfig
from analysis.datasets.catalogue import Catalogue
from analysis.execution.runner import run
from analysis.execution.settings import Limits
from analysis.inference import tables as fit_tables
from analysis.inference.measurement import measure
from analysis.processor import TtbarAnalysis
from tests.inference.models import shapes


def made(folder: Path, catalogue: Catalogue, min_pt: float) -> Path:
    """A folder with a run and its normalisation."""
    processor = TtbarAnalysis(AnalysisConfig.model_validate({"jet": {"min_pt": min_pt}}))
    chosen = catalogue.select(processes=["ttbar", "data"])
    result = run(processor, chosen, limits=Limits(max_events=500))
    results.begin_run(folder)
    results.save_run(folder, result.output, result.ledger)
    stages.normalise(folder)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, catalogue: Catalogue) -> tuple[Path, Path]:
    """Two runs of other cuts; the first has later stages."""
    where = tmp_path_factory.mktemp("runs")
    first, second = made(where / "first", catalogue, 30), made(where / "second", catalogue, 40)
    normalised = results.load_normalised(first)
    stages.abcd(first)
    measurement = measure(shapes(), cross_section_pb=831.76)
    fit_tables.write(measurement, first, normalised.normalisation.scaled)
    (first / "workspace.json").write_text("{}")
    return first, second


@pytest.mark.parametrize("name", ["unscaled.zip", "cutflow.json", "scaled.zip"])
def test_a_file_of_another_run_is_refused(
    runs: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    folder = shutil.copytree(runs[0], tmp_path / "results")
    read = {
        "unscaled.zip": stages.normalise,
        "cutflow.json": results.load_cutflow,
        "scaled.zip": results.load_normalised,
    }[name]
    read(folder)
    shutil.copy(runs[1] / name, folder / name)
    with pytest.raises(OutputError, match=f"{name} (is not what the run|was made of another run)"):
        read(folder)


def test_results_of_an_older_run_are_not_those_of_the_new_one(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    """The files of a run copied over those of an older one, which had been fitted."""
    folder = shutil.copytree(runs[0], tmp_path / "results")
    stages = {"abcd'": results.load_multijet, "fit'": fit_tables.load, "fit' ": workspace_file}
    for load in stages.values():
        load(folder)
    shutil.copytree(runs[1], folder, dirs_exist_ok=True)
    results.load_normalised(folder)
    for command, load in stages.items():
        with pytest.raises(OutputError, match=f"another run's histograms: run '{command.strip()}"):
            load(folder)


def test_a_folder_of_an_earlier_version(
    runs: tuple[Path, Path], tmp_path: Path, catalogue: Catalogue
) -> None:
    folder = shutil.copytree(runs[0], tmp_path / "results")
    (folder / "unscaled.zip").rename(folder / "histograms.zip")
    run_json = json.loads((folder / "run.json").read_text()) | {"format": "ttbar-opendata run 1"}
    (folder / "run.json").write_text(json.dumps(run_json))
    with pytest.raises(OutputError, match=r"run.json: not of this version .* run 'process' again"):
        results.load_normalised(folder)
    made(folder, catalogue, 30)
    assert not (folder / "histograms.zip").exists()
