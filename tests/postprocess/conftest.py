"""Real muon pairs for the tests of peaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
import vector


@pytest.fixture(scope="session")
def dimuon_mass(shared: Path) -> Any:
    """Mass in GeV of the events of exactly two muons, of opposite charge; collision data of 2012.

    In single precision, as the lesson: in double precision one event moves across 3.0 GeV.
    """
    with uproot.open(shared / "data" / "cms2012_dimuon.root") as file:
        muons = file["Events"].arrays()
    pairs = muons[muons.nMuon == 2]
    pairs = pairs[pairs.Muon_charge[:, 0] != pairs.Muon_charge[:, 1]]
    momenta = ak.zip(
        {name: pairs[f"Muon_{name}"] for name in ("pt", "eta", "phi", "mass")},
        with_name="Momentum4D",
        behavior=vector.backends.awkward.behavior,
    )
    mass = ak.to_numpy((momenta[:, 0] + momenta[:, 1]).mass)
    assert mass.dtype == np.float32
    return mass
