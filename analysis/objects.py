"""Object selection: good electrons, muons and jets."""

from __future__ import annotations

from typing import Any, NamedTuple

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from analysis.config import JetCuts, LeptonCuts, MuonCuts
from analysis.reconstruction import Bools, Floats, Ints

_LEPTON_FIELDS = ("pt", "eta", "isTight", "sip3d")

JET_COLUMNS = frozenset(f"jet.{field}" for field in ("corrpt", "eta", "phi", "mass", "btag"))
"""Columns that the jets of any shift need; the shifted pT come on top."""


def lepton_columns(jet: JetCuts) -> frozenset[str]:
    """Columns that the lepton selection and, where asked for, the cleaning of the jets read."""
    fields = (*_LEPTON_FIELDS, "phi") if jet.min_lepton_delta_r > 0 else _LEPTON_FIELDS
    leptons = {f"{lepton}.{field}" for lepton in ("electron", "muon") for field in fields}
    return frozenset(leptons | {"muon.pfreliso04DBCorr"})


def good_electrons(electrons: ak.Array, cuts: LeptonCuts) -> ak.Array:
    """Mask of tight electrons within `cuts`; compared in double precision."""
    return (
        (electrons.pt > np.float64(cuts.min_pt))
        & (abs(electrons.eta) < np.float64(cuts.max_abs_eta))
        & (electrons.isTight == 1)
        & (electrons.sip3d < np.float64(cuts.max_sip3d))
    )


def good_muons(muons: ak.Array, cuts: MuonCuts) -> ak.Array:
    """Mask of tight, isolated muons within `cuts`; compared in double precision.

    Without the isolation they are `good_electrons`: the other cuts are the same.
    """
    isolated = muons.pfreliso04DBCorr < np.float64(cuts.max_isolation)
    return good_electrons(muons, cuts) & isolated


class Leptons(NamedTuple):
    """The selected leptons of each event."""

    electrons: ak.Array
    muons: ak.Array

    def only(self, field: str) -> NDArray[np.float64]:
        """`field` of the one lepton; meaningless in events that have not exactly one."""
        return np.asarray(
            ak.sum(self.electrons[field], axis=1) + ak.sum(self.muons[field], axis=1),
            dtype=np.float64,
        )


def select_leptons(events: ak.Array, electron: LeptonCuts, muon: MuonCuts) -> Leptons:
    return Leptons(
        events.electron[good_electrons(events.electron, electron)],
        events.muon[good_muons(events.muon, muon)],
    )


class Jets(NamedTuple):
    """All jets of many events, flat, under one jet shift."""

    offsets: Ints
    pt: Floats
    """GeV, shifted."""
    eta: Floats
    phi: Floats
    mass: Floats
    """GeV, scaled with pT."""
    good: Bools
    btagged: Bools


class JetReader:
    """Reads each jet column once, and gives the jets of any shift."""

    def __init__(self, events: ak.Array, cuts: JetCuts, leptons: Leptons) -> None:
        self._jets = events.jet
        self._cuts = cuts
        counts = np.asarray(ak.num(self._jets))
        self.offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self._pt = self._flat("corrpt")
        self._eta = self._flat("eta")
        self._phi = self._flat("phi")
        self._mass = self._flat("mass")
        self._btagged = self._flat("btag") >= np.float64(cuts.btag_threshold)
        self._acceptable = np.abs(self._eta) < np.float64(cuts.max_abs_eta)
        if cuts.min_lepton_delta_r > 0:
            self._acceptable &= self._far_from_lepton(counts, leptons)

    def shifted(self, column: str) -> Jets:
        """The jets with their pT from `column`; the mass scales with it, the direction stays."""
        pt = self._pt if column == "corrpt" else self._flat(column)
        mass = self._mass
        if column != "corrpt":
            with np.errstate(divide="ignore", invalid="ignore"):
                scale = np.divide(pt, self._pt, dtype=np.float64)
            mass = np.where(self._pt > 0, mass * scale, 0.0)
        good = self._acceptable & (pt > np.float64(self._cuts.min_pt))
        return Jets(self.offsets, pt, self._eta, self._phi, mass, good, self._btagged)

    def _flat(self, column: str) -> NDArray[Any]:
        return np.asarray(ak.flatten(self._jets[column]))

    def _far_from_lepton(self, counts: NDArray[Any], leptons: Leptons) -> Bools:
        delta_eta = self._eta - np.repeat(leptons.only("eta"), counts)
        delta_phi = self._phi - np.repeat(leptons.only("phi"), counts)
        delta_phi = (delta_phi + np.pi) % (2 * np.pi) - np.pi
        return np.asarray(np.hypot(delta_eta, delta_phi) >= self._cuts.min_lepton_delta_r)
