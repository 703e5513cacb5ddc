"""A normalised run for what is drawn of it."""

from __future__ import annotations

import pytest

from analysis import results, stages
from analysis.datasets.catalogue import Catalogue
from analysis.execution.runner import run
from analysis.postprocess.normalisation import Normalised
from analysis.processor import TtbarAnalysis


@pytest.fixture(scope="session")
def normalised(tmp_path_factory: pytest.TempPathFactory, catalogue: Catalogue) -> Normalised:
    folder = tmp_path_factory.mktemp("figures")
    result = run(TtbarAnalysis(), catalogue)
    results.save_run(folder, result.output, result.ledger)
    return stages.normalise(folder)
