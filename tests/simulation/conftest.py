"""Fixtures of the simulation's tests: where Pythia 8 and FastJet are missing, skip with the reason."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def generator() -> None:
    """What needs to generate events asks for this fixture."""
    for name in ("pythia8mc", "fastjet"):
        reason = f"{name} is not installed (extra 'simulate'; Python 3.13 or older)"
        pytest.importorskip(name, reason=reason)
