"""The analysis selection and its two observables, for the validation of the simulation only.

The analysis itself lives elsewhere; this module repeats its cuts to compare with the CMS templates,
with the four-momentum that these were made with (`mixed`: raw pT, corrected energy).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analysis.datasets.ntuples import Columns

REGIONS = ("4j1b", "4j2b")
LEPTON_PT, LEPTON_ETA, SIP3D, MUON_ISO = 30.0, 2.1, 4.0, 0.15
JET_PT, JET_ETA, TAG = 30.0, 2.4, 0.8


def one_lepton(events: Columns) -> Any:
    """Select events with exactly one good electron or muon in all."""
    count = 0
    for name in ("electron", "muon"):
        good = (
            (events[f"{name}_pt"] > LEPTON_PT)
            & (np.abs(events[f"{name}_eta"]) < LEPTON_ETA)
            & (events[f"{name}_isTight"] == 1)
            & (events[f"{name}_sip3d"] < SIP3D)
        )
        if name == "muon":
            good = good & (events["muon_pfreliso04DBCorr"] < MUON_ISO)
        count = count + ak.sum(good, axis=1)
    return count == 1


def good_jets(events: Columns) -> ak.Array:
    """Select jets with corrected pT > 30 GeV, |eta| < 2.4; fields without the prefix."""
    names = ("pt", "eta", "phi", "btag", "corrpt", "corre", "corrmass")
    jets = ak.zip({name: events[f"jet_{name}"] for name in names})
    return jets[(jets.corrpt > JET_PT) & (np.abs(jets.eta) < JET_ETA)]


def trijet_mass(jets: ak.Array, mixed: bool) -> ak.Array:
    """Compute the mass [GeV] of the tagged three-jet combination with the largest pT."""
    pt = jets.pt if mixed else jets.corrpt
    energy = jets.corre if mixed else np.hypot(pt * np.cosh(jets.eta), jets.corrmass)
    vectors = ak.zip(
        {
            "px": pt * np.cos(jets.phi),
            "py": pt * np.sin(jets.phi),
            "pz": pt * np.sinh(jets.eta),
            "e": energy,
            "tagged": jets.btag >= TAG,
        }
    )
    a, b, c = ak.unzip(ak.combinations(vectors, 3))
    px, py, pz, e = (a[x] + b[x] + c[x] for x in ("px", "py", "pz", "e"))
    pt2 = ak.where(a.tagged | b.tagged | c.tagged, px**2 + py**2, -1.0)
    best = ak.argmax(pt2, axis=1, keepdims=True)
    mass2 = (e**2 - px**2 - py**2 - pz**2)[best]
    return ak.flatten(np.sqrt(np.maximum(mass2, 0.0)))


def observables(events: Columns, mixed: bool = True) -> dict[str, NDArray[np.float64]]:
    """Compute the observable [GeV] of each region: H_T in 4j1b, trijet mass in 4j2b."""
    jets = good_jets(events)
    tags = ak.sum(jets.btag >= TAG, axis=1)
    base = one_lepton(events) & (ak.num(jets) >= 4)
    one, two = jets[base & (tags == 1)], jets[base & (tags >= 2)]
    ht = ak.sum(one.corrpt, axis=1)
    mass = trijet_mass(two, mixed) if len(two) else []
    return {"4j1b": np.asarray(ht, dtype=float), "4j2b": np.asarray(mass, dtype=float)}
