"""The bundled sample: what `analysis/sample/` holds and how it is made.

Every dataset is generated in whole blocks from `SEED`, the pseudo-data from `PSEUDODATA_SEED`; the
files keep the events that the analysis can select under any of its variations (`may_be_selected`)
and the branches that it reads, with truncated mantissas. Sums of weights stay those generated.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from analysis.simulation import dimuon, layout, processes
from analysis.simulation.config import DetectorConfig
from analysis.simulation.errors import require_generator
from analysis.simulation.layout import Columns
from analysis.simulation.production import (
    Dataset,
    Order,
    Progress,
    _Pool,
    entry,
    make_dataset,
    write_catalogue,
)
from analysis.simulation.pseudodata import mix

SEED = 2015
PSEUDODATA_SEED = 20150603  # first collisions at 13 TeV
LUMINOSITY_IPB = 50.0
TTBAR_STRENGTH = 1.07
"""Cross section of ttbar in the pseudo-data over the reference: 831.76 x 1.07 = 889.98 pb."""

# Generated events (before the pre-selection), so that pseudo-data and prediction are sized freely.
EVENTS = {
    "ttbar__nominal": 20_000,
    "ttbar__scaleup": 5_000,
    "ttbar__scaledown": 5_000,
    "ttbar__ME_var": 5_000,
    "ttbar__PS_var": 5_000,
}
DIMUON_EVENTS = {"jpsi": 3000, "drell_yan": 1000, "combinatorial": 1500}
DIMUON_BITS = 12

SKIM_JETS, SKIM_PT, SKIM_ETA, SKIM_TAG = 4, 25.0, 2.4, 0.46
"""Skim: four jets that reach 25 GeV in some variation, one of them with the loose b tag."""


def may_be_selected(columns: Columns) -> Any:
    """Mask of events that the analysis can select, with a margin below its cuts (30 GeV, 0.8)."""
    highest = columns["jet_corrpt"]
    for name in ("jet_corrptUp", "jet_corrptSmearUp", "jet_corrptSmearDown"):
        highest = np.maximum(highest, columns[name])
    good = (highest > SKIM_PT) & (np.abs(columns["jet_eta"]) < SKIM_ETA)
    tagged = good & (columns["jet_btag"] >= SKIM_TAG)
    return (ak.sum(good, axis=1) >= SKIM_JETS) & ak.any(tagged, axis=1)
