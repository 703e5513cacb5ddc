"""Catalogues that come along: the bundled sample of simulation, and the real data at CERN."""

from __future__ import annotations

from pathlib import Path

_SAMPLES = Path(__file__).parents[1] / "sample"

SAMPLE = _SAMPLES / "ntuples.json"
"""Catalogue of the bundled simulation with pseudo-data."""

DIMUON_SAMPLE = _SAMPLES / "dimuon" / "ntuples.json"
"""Catalogue of the bundled muon pairs."""

REAL_DATA = _SAMPLES.parent / "ntuples.json"
"""Catalogue of the real data at CERN: within an installed package, beside that of a checkout."""
if not REAL_DATA.exists():
    REAL_DATA = _SAMPLES.parents[1] / "ntuples.json"
