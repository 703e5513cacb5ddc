"""Fixtures of the fits' tests."""

from __future__ import annotations

import pytest


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time of a command."""
    monkeypatch.setattr("analysis.plotting.fit.make_figures", lambda *_: [])
