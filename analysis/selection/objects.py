"""Object selection: good electrons, muons and jets.

Objects are flat here: one array for all objects of the chunk, event by event, with the `offsets` of
the events (event i has those from offsets[i] to offsets[i+1]).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from analysis.config import JetCuts, LeptonCuts, MuonCuts
from analysis.selection.kernels import Bools, Floats, Ints, JetSums, jet_sums

_LEPTON_FIELDS = ("pt", "eta", "isTight", "sip3d")

JET_COLUMNS = frozenset(f"jet.{field}" for field in ("corrpt", "eta", "phi", "mass", "btag"))
"""Columns that the jets of any shift need; the shifted pT come on top."""


def lepton_columns(jet: JetCuts) -> frozenset[str]:
    """Columns that the lepton selection and, where asked for, the cleaning of the jets read."""
    fields = (*_LEPTON_FIELDS, "phi") if jet.min_lepton_delta_r > 0 else _LEPTON_FIELDS
    leptons = {f"{lepton}.{field}" for lepton in ("electron", "muon") for field in fields}
    return frozenset(leptons | {"muon.pfreliso04DBCorr"})


class Flat:
    """A collection's objects one after the other; a column is read when it is first asked for."""

    def __init__(self, collection: ak.Array) -> None:
        self._collection = collection
        self._columns: dict[str, NDArray[Any]] = {}
        self.counts = np.asarray(ak.num(collection))
        self.offsets: Ints = np.concatenate([[0], np.cumsum(self.counts, dtype=np.int64)])

    def __getitem__(self, column: str) -> NDArray[Any]:
        if column not in self._columns:
            self._columns[column] = np.asarray(ak.flatten(self._collection[column]))
        return self._columns[column]


def pass_cuts(leptons: Flat, cuts: LeptonCuts) -> Bools:
    """Mask of tight electrons or muons within `cuts` but for isolation; compared in double precision."""
    mask: Bools = (
        (leptons["pt"] > np.float64(cuts.min_pt))
        & (np.abs(leptons["eta"]) < np.float64(cuts.max_abs_eta))
        & (leptons["isTight"] == 1)
        & (leptons["sip3d"] < np.float64(cuts.max_sip3d))
    )
    return mask


def isolated(muons: Flat, cuts: MuonCuts) -> Bools:
    """Mask of isolated muons; compared in double precision."""
    mask: Bools = muons["pfreliso04DBCorr"] < np.float64(cuts.max_isolation)
    return mask


class Good(NamedTuple):
    """The good objects of a collection."""

    objects: Flat
    counts: Ints
    """Of each event."""
    first: Ints
    """Place of each event's first good object; that of another event's where it has none."""

    @classmethod
    def of(cls, objects: Flat, good: Bools) -> Good:
        before = np.concatenate([[0], np.cumsum(good)])[objects.offsets]
        places = np.append(np.flatnonzero(good), 0)
        return cls(objects, np.diff(before), places[before[:-1]])

    def of_first(self, field: str, events: Ints) -> NDArray[Any]:
        """`field` of the first good object of each event of the index array; all have one."""
        return self.objects[field][self.first[events]]


class Leptons(NamedTuple):
    """The good leptons, and the muons that are good but for their isolation, isolated ones included."""

    electrons: Good
    muons: Good
    loose_muons: Good

    def only(self, field: str, events: Ints) -> NDArray[np.float64]:
        """`field` of the one lepton of each event of the index array; meaningless where there is
        not exactly one.
        """
        total = np.zeros(len(events))
        for good in (self.electrons, self.muons):
            has = np.flatnonzero(good.counts[events])
            total[has] = good.of_first(field, events[has])
        return total


def select_leptons(events: ak.Array, electron: LeptonCuts, muon: MuonCuts) -> Leptons:
    """Of all events of a chunk."""
    electrons, muons = Flat(events.electron), Flat(events.muon)
    loose = pass_cuts(muons, muon)
    return Leptons(
        Good.of(electrons, pass_cuts(electrons, electron)),
        Good.of(muons, loose & isolated(muons, muon)),
        Good.of(muons, loose),
    )


class Jets(NamedTuple):
    """All jets of many events under several jet shifts."""

    offsets: Ints
    pts: Floats
    """GeV; shape (shifts, jets)."""
    eta: Floats
    phi: Floats
    mass: Floats
    """GeV, under the first shift; it scales with pT, the direction stays."""
    acceptable: Bools
    """Jets that are good if their pT is above `min_pt`."""
    btagged: Bools
    min_pt: float

    def sums(self, wanted: Bools) -> JetSums:
        """Of the events `wanted`."""
        return jet_sums(self.offsets, wanted, self.pts, self.acceptable, self.btagged, self.min_pt)

    def first_shift(self) -> Jets:
        return self._replace(pts=self.pts[:1])


def read_jets(events: ak.Array, cuts: JetCuts, leptons: Leptons, columns: list[str]) -> Jets:
    """The jets with their pT from each of `columns`; cleaned, if asked for, of the one lepton."""
    jets = Flat(events.jet)
    eta, phi = jets["eta"], jets["phi"]
    acceptable = np.abs(eta) < np.float64(cuts.max_abs_eta)
    if cuts.min_lepton_delta_r > 0:
        every = np.arange(len(jets.counts))
        delta_eta = eta - np.repeat(leptons.only("eta", every), jets.counts)
        delta_phi = phi - np.repeat(leptons.only("phi", every), jets.counts)
        delta_phi = (delta_phi + np.pi) % (2 * np.pi) - np.pi
        acceptable &= np.hypot(delta_eta, delta_phi) >= cuts.min_lepton_delta_r
    return Jets(
        jets.offsets,
        np.stack([jets[column] for column in columns]),
        eta,
        phi,
        jets["mass"],
        acceptable,
        jets["btag"] >= np.float64(cuts.btag_threshold),
        cuts.min_pt,
    )
