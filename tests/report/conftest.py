"""A results folder with every stage, from random events and a small fit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from analysis import results, stages
from analysis.config import AnalysisConfig
from analysis.datasets.catalogue import Catalogue
from analysis.execution.runner import run
from analysis.inference import tables as fit_tables
from analysis.inference.measurement import measure
from analysis.processor import TtbarAnalysis
from tests.inference.models import shapes


@pytest.fixture(scope="session")
def processed(tmp_path_factory: pytest.TempPathFactory, catalogue: Catalogue) -> Path:
    """Processed with another cut, and nothing after it."""
    folder = tmp_path_factory.mktemp("report") / "processed"
    result = run(TtbarAnalysis(AnalysisConfig(jet={"min_pt": 32.0})), catalogue)
    results.begin_run(folder)
    results.save_run(folder, result.output, result.ledger)
    return folder


@pytest.fixture(scope="session")
def finished(processed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With every stage."""
    folder = tmp_path_factory.mktemp("report") / "finished"
    shutil.copytree(processed, folder)
    stages.normalise(folder)
    stages.top_peak(folder)
    stages.abcd(folder)
    fit_tables.write(measure(shapes(), cross_section_pb=831.76), folder)
    return folder
