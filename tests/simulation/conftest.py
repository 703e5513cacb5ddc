"""Fixtures of the simulation's tests: where Pythia 8 and FastJet are missing, skip with the reason."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def generator() -> None:
    """What needs to generate events asks for this fixture."""
    for name in ("pythia8mc", "fastjet"):
        pytest.importorskip(name, reason=f"{name} is not installed (extra 'simulate')")
