"""NanoAOD of POET columns: the same events under the names and types of CMS NanoAOD v9.

What POET ntuples have nothing of: `genWeight` is one, as Pythia's events have no weights;
`Pileup_nTrueInt` is the number of vertices, as no pile-up is simulated; `event` counts, `run` is one, and
a luminosity section has `EVENTS_PER_SECTION` events. `jetId` tells the jets that are a lepton (see
`_jet_identification`); the others are good, as there is no noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np

from analysis.datasets import ntuples
from analysis.simulation.particles import delta_r
from analysis.simulation.response import ELECTRON_MASS, MUON_MASS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from analysis.datasets.ntuples import Columns

EVENTS_PER_SECTION = 1000
"""Events of a luminosity section."""

LEPTON_RADIUS = 0.4
LARGEST_SHARE = {"electron": 0.9, "muon": 0.8}
"""Of a jet's pT that a lepton within `LEPTON_RADIUS` may carry: about the limits to charged electromagnetic
and muon energy of the identification "tight, with lepton veto"
(https://twiki.cern.ch/twiki/bin/view/CMS/JetID13TeVRun2015)."""

_MOMENTUM = {"pt": "pt", "eta": "eta", "phi": "phi", "charge": "ch"}
_IMPACT = {name: name for name in ("dxy", "dz", "ip3d", "sip3d")}
_ERRORS = {"dxyErr": "dxyError", "dzErr": "dzError"}
_CORRECTED = {"pt": "corrpt", "eta": "eta", "phi": "phi", "mass": "corrmass"}

RENAMED: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("Electron", "electron"): {**_MOMENTUM, **_IMPACT, **_ERRORS, "pfRelIso03_all": "iso"},
    ("Muon", "muon"): {
        **_MOMENTUM, **_IMPACT, **_ERRORS, "pfRelIso03_all": "pfreliso03all",
        "pfRelIso04_all": "pfreliso04DBCorr", "jetIdx": "jetidx",
    },
    ("Jet", "jet"): {**_CORRECTED, "btagCSVV2": "btag", "hadronFlavour": "hflav"},
    ("FatJet", "fatjet"): {
        **_CORRECTED, "msoftdrop": "softdropmass", "tau1": "tau1", "tau2": "tau2", "tau3": "tau3",
    },
    ("MET", "met"): {name: name for name in ("pt", "phi", "significance")},
    ("RawMET", "met"): {"pt": "rawpt", "phi": "rawphi"},
    ("PV", "PV"): {name: name for name in ("npvs", "npvsGood")},
    ("btagWeight", "btag"): {"CSVV2": "Weight"},
}  # fmt: skip
"""Collections in NanoAOD and in POET ntuples, field -> field."""

_FLAGS = {"looseId": "isLoose", "mediumId": "isMedium", "tightId": "isTight", "softId": "isSoft"}
_LEVELS = {"veto": 1, "isLoose": 2, "isMedium": 3, "isTight": 4}
"""Working points of electrons -> `cutBased`."""

TRUTH = ("Jet_hadronFlavour", "btagWeight_CSVV2", "genWeight", "Pileup_nTrueInt")


def nanoaod(columns: Columns, *, first_event: int = 1, collisions: bool = False) -> Columns:
    """Make the NanoAOD branches of POET columns, of those that are there; events are numbered from
    `first_event`. Collisions have no truth.
    """
    made = {
        f"{there}_{field}": columns[f"{here}_{of}"]
        for (there, here), fields in RENAMED.items()
        for field, of in fields.items()
        if f"{here}_{of}" in columns
    }
    made |= {
        f"Muon_{field}": columns[f"muon_{of}"] == 1
        for field, of in _FLAGS.items()
        if f"muon_{of}" in columns
    }
    for lepton, mass in (("Electron", ELECTRON_MASS), ("Muon", MUON_MASS)):
        made[f"{lepton}_mass"] = ak.full_like(made[f"{lepton}_pt"], mass, dtype=np.float32)
    made["Electron_cutBased"] = _cut_based(columns)
    made["Jet_jetId"] = _jet_identification(columns)
    for there, here in (("Jet", "jet"), ("FatJet", "fatjet")):
        if f"{here}_pt" in columns:
            made[f"{there}_rawFactor"] = 1 - columns[f"{here}_pt"] / columns[f"{here}_corrpt"]
    for name, values in columns.items():
        if name.startswith("trig_"):
            made[f"HLT_{name.removeprefix('trig_')}"] = values == 1
        elif name.startswith("PV_") and name not in made:
            # NanoAOD has the first vertex alone.
            made[name] = ak.fill_none(ak.firsts(values), np.float32(0))
    events = np.arange(first_event, first_event + ntuples.size(columns), dtype=np.uint64)
    made["event"] = events
    made["run"] = np.ones(len(events), np.uint32)
    made["luminosityBlock"] = (1 + events // EVENTS_PER_SECTION).astype(np.uint32)
    made["genWeight"] = np.ones(len(events), np.float32)
    made["Pileup_nTrueInt"] = ak.values_astype(columns["PV_npvs"], np.float32)
    return {name: made[name] for name in sorted(made) if not (collisions and name in TRUTH)}


def runs(generated: int, sum_of_weights: float) -> Columns:
    """Make the tree `Runs` of a file: events that were generated, and the sum of their weights."""
    return {
        "run": np.ones(1, np.uint32),
        "genEventCount": np.array([generated], np.int64),
        "genEventSumw": np.array([sum_of_weights], np.float64),
    }


def write(
    path: Path,
    columns: Columns,
    *,
    first_event: int,
    generated: int | None,
    level: int = ntuples.ZSTD_LEVEL,
) -> None:
    """Write POET columns as NanoAOD. `generated`: number of events that they stand for, None for
    collisions. Raises OutputError.
    """
    collisions = generated is None
    made = nanoaod(columns, first_event=first_event, collisions=collisions)
    told = None if generated is None else runs(generated, generated)
    ntuples.write_nanoaod(path, made, told, level=level)


def _cut_based(columns: Columns) -> Any:
    level = ak.zeros_like(columns["electron_isTight"])
    for name, number in _LEVELS.items():
        if f"electron_{name}" in columns:
            level = ak.where(columns[f"electron_{name}"] == 1, number, level)
    return ak.values_astype(level, np.int32)


def _jet_identification(columns: Columns) -> Any:
    """Bits 2 (tight) and 4 (with lepton veto): a jet that is a lepton has the first alone."""
    jets = ak.zip({name: columns[f"jet_{name}"] for name in ("pt", "eta", "phi")})
    is_lepton = ak.zeros_like(jets.pt) != 0
    for name, share in LARGEST_SHARE.items():
        leptons = ak.zip({field: columns[f"{name}_{field}"] for field in ("pt", "eta", "phi")})
        jet, lepton = ak.unzip(ak.cartesian([jets, leptons], nested=True))
        near = delta_r(jet.eta, jet.phi, lepton.eta, lepton.phi) < LEPTON_RADIUS
        is_lepton = is_lepton | ak.any(near & (lepton.pt > share * jet.pt), axis=-1)
    return ak.values_astype(ak.where(is_lepton, 2, 6), np.int32)
