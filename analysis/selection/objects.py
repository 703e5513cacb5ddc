"""Object selection: good electrons, muons and jets.

Objects are flat here: one array for all objects of the chunk, event by event, with the `offsets` of
the events (event i has those from offsets[i] to offsets[i+1]).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from analysis.config import AnalysisConfig, FurtherLeptons, JetCuts, LeptonCuts, MuonCuts
from analysis.datasets.sample import FLAVOURS
from analysis.selection.kernels import Bools, Floats, Ints, JetSums, apart, jet_sums

_LEPTON_FIELDS = ("pt", "eta", "isTight", "sip3d")

JET_COLUMNS = frozenset(f"jet.{field}" for field in ("pt", "eta", "phi", "mass", "btag"))
"""Columns that the unshifted jets need."""

_IDENTIFICATION = {"tight": "isTight", "tight_lepton_veto": "isTightLepVeto"}


def jet_columns(cuts: JetCuts) -> frozenset[str]:
    """Name the columns that the jet selection reads."""
    found = {_IDENTIFICATION.get(cuts.identification)} - {None}
    return JET_COLUMNS | {f"jet.{field}" for field in found}


def lepton_columns(config: AnalysisConfig) -> frozenset[str]:
    """Name the columns that the lepton selection and, where asked for, the cleaning of jets read."""
    fields = (*_LEPTON_FIELDS, "phi") if config.jet.min_lepton_delta_r > 0 else _LEPTON_FIELDS
    leptons = {f"{lepton}.{field}" for lepton in FLAVOURS for field in fields}
    if config.further_leptons.excluded:
        leptons |= {"electron.veto", "muon.isLoose"}
    return frozenset(leptons | {"muon.pfreliso04DBCorr"})


class Flat:
    """A collection's objects one after the other; a column is read when it is first asked for."""

    def __init__(self, collection: ak.Array) -> None:
        counts = np.asarray(ak.num(collection))
        self._set(counts, lambda column: np.asarray(ak.flatten(collection[column])))

    def _set(self, counts: Ints, read: Callable[[str], NDArray[Any]]) -> None:
        self._read = read
        self._columns: dict[str, NDArray[Any]] = {}
        self.counts = counts
        self.offsets: Ints = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])

    def __getitem__(self, column: str) -> NDArray[Any]:
        if column not in self._columns:
            self._columns[column] = self._read(column)
        return self._columns[column]

    def __len__(self) -> int:
        return int(self.offsets[-1])

    def replaced(self, **columns: NDArray[Any]) -> Flat:
        """Copy the collection with other values of some columns."""
        other = object.__new__(Flat)
        vars(other).update(vars(self))
        other._columns = {**self._columns, **columns}
        return other

    def within(self, rows: Ints) -> Flat:
        """Keep the objects of the events of an index array."""
        other = object.__new__(Flat)
        counts = self.counts[rows]
        other._set(counts, lambda column: self[column].take(places))
        places = np.repeat(self.offsets[rows] - other.offsets[:-1], counts)
        places += np.arange(len(places))
        return other


def pass_cuts(leptons: Flat, cuts: LeptonCuts) -> Bools:
    """Select electrons or muons within `cuts` but for isolation; in double precision."""
    mask: Bools = (
        (leptons["pt"] > np.float64(cuts.min_pt))
        & (np.abs(leptons["eta"]) < np.float64(cuts.max_abs_eta))
        & (leptons["sip3d"] < np.float64(cuts.max_sip3d))
    )
    return mask & (leptons["isTight"] == 1) if cuts.tight else mask


def isolated(muons: Flat, cuts: MuonCuts) -> Bools:
    """Select isolated muons; compared in double precision."""
    mask: Bools = muons["pfreliso04DBCorr"] < np.float64(cuts.max_isolation)
    return mask


class Good(NamedTuple):
    """The good objects of a collection."""

    objects: Flat
    counts: Ints
    """Number of good objects by event."""
    first: Ints
    """Place of each event's first good object; that of another event's where it has none."""

    @classmethod
    def of(cls, objects: Flat, good: Bools) -> Good:
        before = np.concatenate([[0], np.cumsum(good)])[objects.offsets]
        places = np.append(np.flatnonzero(good), 0)
        return cls(objects, np.diff(before), places[before[:-1]])

    def within(self, rows: Ints) -> Good:
        """Keep the events of an index array."""
        return Good(self.objects, self.counts[rows], self.first[rows])

    def of_first(self, field: str, events: Ints) -> NDArray[Any]:
        """Read `field` of the first good object of each event of the index array; all have one."""
        return self.objects[field][self.first[events]]


class Leptons(NamedTuple):
    """The good leptons, and the muons that are good but for their isolation, isolated ones included."""

    electrons: Good
    muons: Good
    loose_muons: Good
    allowed: Bools
    """Events without a further lepton that excludes them."""
    allowed_by_loose: Bools
    """The same where `loose_muons` are the good ones."""

    def within(self, rows: Ints) -> Leptons:
        """Keep the events of an index array."""
        return Leptons(
            self.electrons.within(rows),
            self.muons.within(rows),
            self.loose_muons.within(rows),
            self.allowed[rows],
            self.allowed_by_loose[rows],
        )

    def without_isolation(self) -> Leptons:
        """Take the muons that need not be isolated for the good ones."""
        return self._replace(muons=self.loose_muons, allowed=self.allowed_by_loose)

    def by_flavour(self) -> dict[str, Good]:
        return dict(zip(FLAVOURS, (self.electrons, self.muons), strict=True))

    def only(
        self, field: str, events: Ints, flavours: tuple[str, ...] = FLAVOURS
    ) -> NDArray[np.float64]:
        """Read `field` of the one lepton of each event of the index array.

        The value is meaningless where there is not exactly one lepton, and zero where its flavour is
        not of `flavours`.
        """
        total = np.zeros(len(events))
        for flavour, good in self.by_flavour().items():
            if flavour in flavours:
                has = np.flatnonzero(good.counts[events])
                total[has] = good.of_first(field, events[has])
        return total


def select_leptons(electrons: Flat, muons: Flat, config: AnalysisConfig) -> Leptons:
    """Select the good leptons of a chunk's events."""
    good = pass_cuts(electrons, config.electron)
    loose = pass_cuts(muons, config.muon)
    tight = loose & isolated(muons, config.muon)
    allowed, allowed_by_loose = _allowed(electrons, muons, good, (tight, loose), config)
    return Leptons(
        Good.of(electrons, good),
        Good.of(muons, tight),
        Good.of(muons, loose),
        allowed,
        allowed_by_loose,
    )


def _allowed(
    electrons: Flat,
    muons: Flat,
    good: Bools,
    good_muons: tuple[Bools, Bools],
    config: AnalysisConfig,
) -> list[Bools]:
    """Mask the events without further leptons, for each of two choices of the good muons."""
    cuts = config.further_leptons
    if not cuts.excluded:
        return [np.ones(len(electrons.counts), np.bool_)] * len(good_muons)
    further = _beyond(electrons, cuts, cuts.max_abs_eta_electron) & (electrons["veto"] == 1) & ~good
    loose = (
        _beyond(muons, cuts, cuts.max_abs_eta_muon)
        & (muons["isLoose"] == 1)
        & (muons["pfreliso04DBCorr"] < np.float64(cuts.max_isolation_muon))
    )
    none = Good.of(electrons, further).counts == 0
    return [none & (Good.of(muons, loose & ~chosen).counts == 0) for chosen in good_muons]


def _beyond(leptons: Flat, cuts: FurtherLeptons, max_abs_eta: float) -> Bools:
    mask: Bools = (leptons["pt"] > np.float64(cuts.min_pt)) & (
        np.abs(leptons["eta"]) < np.float64(max_abs_eta)
    )
    return mask


class Jets(NamedTuple):
    """All jets of a chunk's events under several shifts of their momenta, the unshifted ones first."""

    objects: Flat
    pts: Floats
    """GeV; shape (shifts, jets)."""
    mass_scales: Bools
    """Shifts under which the mass scales with pT; shape (shifts,)."""
    acceptable: Bools
    """Jets that are good if their pT is above `min_pt`."""
    btagged: Bools
    min_pt: float

    @property
    def offsets(self) -> Ints:
        return self.objects.offsets

    def sums(self, wanted: Bools) -> JetSums:
        """Count and sum the good jets of the `wanted` events."""
        return jet_sums(self.offsets, wanted, self.pts, self.acceptable, self.btagged, self.min_pt)

    def first_shift(self) -> Jets:
        return self._replace(pts=self.pts[:1], mass_scales=self.mass_scales[:1])

    def good(self, shift: int) -> Bools:
        """Mask of the good jets under one of the shifts; shape (jets,)."""
        mask: Bools = self.acceptable & (self.pts[shift].astype(np.float64) > self.min_pt)
        return mask

    def mass(self, shift: int) -> NDArray[np.float64]:
        """Masses in GeV under one of the shifts; shape (jets,)."""
        mass = self.objects["mass"].astype(np.float64)
        if not self.mass_scales[shift]:
            return mass
        unshifted = self.pts[0].astype(np.float64)
        ratio = np.divide(self.pts[shift], unshifted, out=np.zeros_like(mass), where=unshifted > 0)
        return np.asarray(mass * ratio)


def select_jets(
    objects: Flat, cuts: JetCuts, leptons: Leptons, pts: Floats, mass_scales: Bools
) -> Jets:
    """Select jets under several shifts; cleaned, if the cuts ask for it, of the one lepton.

    That is of both where there are an electron and a muon, and of the first of two of one flavour.
    """
    eta = objects["eta"]
    acceptable = np.abs(eta) < np.float64(cuts.max_abs_eta)
    if cuts.identification != "none":
        acceptable &= objects[_IDENTIFICATION[cuts.identification]] != 0
    if cuts.min_lepton_delta_r > 0:
        every = np.arange(len(objects.counts))
        one = [leptons.only(field, every) for field in ("eta", "phi")]
        removed = [one]
        both = np.flatnonzero((leptons.electrons.counts > 0) & (leptons.muons.counts > 0))
        if len(both):
            electron = np.full((2, len(every)), np.inf)
            for values, field in zip(electron, ("eta", "phi"), strict=True):
                values[both] = leptons.electrons.of_first(field, both)
            removed.append(list(electron))
        for lepton in removed:
            acceptable = apart(
                objects.offsets, acceptable, eta, objects["phi"], *lepton, cuts.min_lepton_delta_r
            )
    btagged = objects["btag"] >= np.float64(cuts.btag_threshold)
    return Jets(objects, pts, mass_scales, acceptable, btagged, cuts.min_pt)
