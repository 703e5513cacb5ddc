"""Real muon pairs for the tests of peaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
import vector

from analysis.dimuon.processor import opposite_sign, pair_mass


@pytest.fixture(scope="session")
def dimuon_mass(shared: Path) -> Any:
    """Mass in GeV of the events of exactly two muons, of opposite charge; collision data of 2012.

    In single precision, as the lesson: in double precision one event moves across 3.0 GeV.
    """
    with uproot.open(shared / "data" / "cms2012_dimuon.root") as file:
        muons = file["Events"].arrays()
    momenta = ak.zip(
        {name: muons[f"Muon_{name}"] for name in ("pt", "eta", "phi", "mass", "charge")},
        with_name="Momentum4D",
        behavior=vector.backends.awkward.behavior,
    )
    mass = pair_mass(momenta[opposite_sign(momenta)])
    assert mass.dtype == np.float32
    return mass
