"""Catalogues that come along: the bundled sample of simulation, and the real data at CERN."""

from __future__ import annotations

from pathlib import Path

_SAMPLES = Path(__file__).parents[1] / "sample"

SAMPLE = _SAMPLES / "ntuples.json"
"""Catalogue of the bundled simulation with pseudo-data."""

DIMUON_SAMPLE = _SAMPLES / "dimuon" / "ntuples.json"
"""Catalogue of the bundled muon pairs."""

REAL_DATA = Path(__file__).parents[2] / "ntuples.json"
"""Catalogue of the real data: the ntuples at CERN."""
