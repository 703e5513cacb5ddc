"""Fixtures of the fits' tests: every likelihood that is fitted is held against pyhf's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from analysis.inference import minimise, profile
from analysis.inference.compiled import LEAST_RATE
from analysis.inference.likelihood import Array, Likelihood


def value_of_pyhf(likelihood: Likelihood, parameters: Array) -> float:
    """-2 ln L as pyhf computes it: slower, and rounded where bins have many events."""
    data = np.concatenate([likelihood.main, likelihood.auxiliary])
    return float(-2 * likelihood.model.logpdf(parameters, data)[0])


@pytest.fixture(autouse=True)
def _as_pyhf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare where searches end: the value is pyhf's where all rates are such that pyhf has one."""
    search = minimise.minimum

    def compared(
        likelihood: Likelihood, start: Array | None = None, held: Mapping[int, float] | None = None
    ) -> minimise.Found:
        found = search(likelihood, start, held)
        if np.all(likelihood.expected(found.values) > LEAST_RATE * np.maximum(likelihood.main, 1)):
            expected = value_of_pyhf(likelihood, found.values)
            assert found.twice_nll == pytest.approx(expected, rel=1e-9, abs=1e-9)
        return found

    for module in (minimise, profile):
        monkeypatch.setattr(module, "minimum", compared)


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time of a command."""
    monkeypatch.setattr("analysis.plotting.fit.make_figures", lambda *_: [])
