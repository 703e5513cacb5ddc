"""Selection: the events of a chunk, as the functions of an analysis see them.

`where` and `observable` of a region, weights and control plots are functions of a `Selection`. Its
quantities have the shape (events,) where no shift changes them and (shifts, events) else, and broadcast.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import Any, NoReturn, TypeVar

import awkward as ak
import numpy as np
import vector
from numpy.typing import NDArray

from analysis.common.errors import DefinitionError, did_you_mean
from analysis.config import AnalysisConfig
from analysis.datasets.sample import FLAVOURS, SampleInfo
from analysis.selection.kernels import (
    Bools,
    Floats,
    Ints,
    JetSums,
    leading_pt,
    lepton_b_masses,
    stored_pt,
    top_candidate_masses,
)
from analysis.selection.objects import Jets, Leptons, select_jets
from analysis.selection.part import blamed, read_only, require_declared
from schemas.forms import MASSES

Quantity = NDArray[np.float64]


class Spelled:
    """Answers an attribute that is not there with the nearest that is."""

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        known = [word for word in dir(type(self)) if not word.startswith("_")]
        msg = f"{type(self).__name__} has no {name!r}: {did_you_mean(name, known)}"
        raise AttributeError(msg)


class Columns:
    """The columns of a chunk that a function may read: those that it, or the selection, declares."""

    def __init__(self, events: ak.Array, allowed: frozenset[str], rows: Ints | None = None) -> None:
        """`rows` are the places in the chunk of the events that are kept; all by default."""
        self._events = events
        self._allowed = allowed
        self.rows = np.arange(len(events)) if rows is None else rows
        self._read: dict[str, Any] = {}

    def allowing(self, columns: AbstractSet[str]) -> Columns:
        """Allow other columns too; what has been read is shared."""
        other = Columns(self._events, self._allowed | columns, self.rows)
        other._read = self._read
        return other

    def within(self, rows: Ints) -> Columns:
        """Keep the events of an index array."""
        return Columns(self._events, self._allowed, rows)

    def has(self, column: str) -> bool:
        return column in self._allowed

    def fields(self, collection: str) -> list[str]:
        """Name the fields of a collection that may be read."""
        prefix = f"{collection}."
        return sorted(c.removeprefix(prefix) for c in self._allowed if c.startswith(prefix))

    def require(self, column: str) -> None:
        """Raise DefinitionError for a column that is not declared."""
        require_declared(column, self._allowed)

    def __getitem__(self, column: str) -> Any:
        """One value an event as a NumPy array of double precision, else an awkward array."""
        self.require(column)
        if column not in self._read:
            values = self._events
            for field in column.split("."):
                values = values[field]
            if values.ndim == 1:
                kept = np.asarray(values)[self.rows]
                self._read[column] = read_only(kept.astype(np.float64))
            else:
                self._read[column] = values[self.rows]
        return self._read[column]


class Lepton:
    """The one lepton of each event: `pt`, `eta`, and other fields where they are declared.

    The muon of an electron and a muon, and the first of two of one flavour.
    Shape (events,); meaningless in events without exactly one good lepton and in those that are not
    `wanted`, NaN where its flavour has no such declared column.
    """

    def __init__(self, columns: Columns, leptons: Leptons, wanted: Bools) -> None:
        self._columns = columns
        self._leptons = leptons
        self._wanted = np.flatnonzero(wanted)

    def __getattr__(self, field: str) -> Quantity:
        if field.startswith("_"):
            raise AttributeError(field)
        flavours = tuple(name for name in FLAVOURS if self._columns.has(f"{name}.{field}"))
        if not flavours:
            self._columns.require(f"lepton.{field}")
        values = np.zeros(len(self._leptons.electrons.counts))
        values[self._wanted] = self._leptons.only(field, self._wanted, flavours)
        if flavours == FLAVOURS:
            return values
        has = [self._leptons.by_flavour()[flavour].counts > 0 for flavour in flavours]
        return np.where(np.logical_or.reduce(has), values, np.nan)

    @property
    def is_electron(self) -> Bools:
        return self._leptons.electrons.counts > 0

    @property
    def is_muon(self) -> Bools:
        return self._leptons.muons.counts > 0

    @property
    def mass(self) -> Quantity:
        """Mass of the flavour in GeV."""
        return np.where(self.is_muon, MASSES["muon"], MASSES["electron"])


class Met:
    """The missing transverse momentum of each event: `pt` in GeV, `phi`; shape (events,)."""

    def __init__(self, columns: Columns, pt: Quantity | None) -> None:
        self._columns = columns
        self._pt = pt

    def __getattr__(self, field: str) -> Quantity:
        if field.startswith("_"):
            raise AttributeError(field)
        if field == "pt" and self._pt is not None:
            return self._pt
        values: Quantity = self._columns[f"met.{field}"]
        return values


_Arrays = TypeVar("_Arrays", bound=NDArray[Any] | tuple[NDArray[Any], ...])


class SelectedJets(Spelled):
    """The good jets of the events of a selection, under each of its shifts."""

    def __init__(
        self, columns: Columns, jets: Jets, wanted: Bools, computed: dict[Any, Any]
    ) -> None:
        self._columns = columns
        self._jets = jets
        self._wanted = wanted
        self._computed = computed

    def once(self, key: Any, compute: Callable[[], _Arrays]) -> _Arrays:
        """Compute an array, or a tuple of them, at the first use of its key.

        Other functions of the same selection get the same, and cannot change it.
        """
        if key not in self._computed:
            found: Any = compute()
            several = isinstance(found, tuple)
            self._computed[key] = tuple(map(read_only, found)) if several else read_only(found)
        arrays: _Arrays = self._computed[key]
        return arrays

    def leading_pt(self, n: int) -> Quantity:
        """Find pT in GeV of the `n` hardest good jets, descending; shape (n, shifts, events).

        It is zero where an event has fewer good jets.
        """
        jets, wanted = self._jets, self._wanted
        return self.once(
            n,
            lambda: leading_pt(jets.offsets, wanted, jets.pts, jets.acceptable, jets.min_pt, n),
        )

    def stored_pt(self, n: int) -> Quantity:
        """Find pT in GeV of the `n` good jets that are first in the file; shape (n, shifts, events).

        It is zero where an event has fewer good jets.
        """
        jets, wanted = self._jets, self._wanted
        return self.once(
            ("stored", n),
            lambda: stored_pt(jets.offsets, wanted, jets.pts, jets.acceptable, jets.min_pt, n),
        )

    def top_mass(self) -> Quantity:
        """Find the mass in GeV of the hadronic top candidate; shape (shifts, events).

        It is NaN where an event has no candidate (`kernels.top_candidate_masses`).
        """
        return self.once("top_mass", lambda: top_candidate_masses(*self._momenta()))

    def lepton_b_mass(self, lepton: Lepton) -> Quantity:
        """Find the least mass in GeV of the lepton and a b-tagged good jet; shape (shifts, events).

        It is NaN where an event has no such jet (`kernels.lepton_b_masses`).
        """

        def masses() -> Quantity:
            momentum = np.stack([lepton.pt, lepton.eta, lepton.phi, lepton.mass])
            found: Quantity = lepton_b_masses(*self._momenta(), momentum)
            return found

        return self.once("lepton_b_mass", masses)

    def _momenta(self) -> tuple[Any, ...]:
        """Give the jets as the kernels of masses take them."""
        jets, objects = self._jets, self._jets.objects
        return (
            jets.offsets, self._wanted, jets.pts, jets.mass_scales, objects["eta"], objects["phi"],
            objects["mass"], jets.acceptable, jets.btagged, jets.min_pt,
        )  # fmt: skip

    def flat(self, field: str, shift: int = 0) -> NDArray[Any]:
        """Read a field of the good jets under a shift, one jet after the other: `pt`, `mass`, `btagged`,
        a column.
        """
        jets = self._jets
        values: NDArray[Any]
        if field == "pt":
            values = jets.pts[shift].astype(np.float64)
        elif field == "mass":
            values = jets.mass(shift)
        elif field == "btagged":
            values = jets.btagged
        else:
            self._columns.require(f"jet.{field}")
            values = jets.objects[field]
        return values[self._good(shift)]

    def _good(self, shift: int) -> Ints:
        """Places of the good jets of the wanted events."""

        def compute() -> Ints:
            counts = self._jets.objects.counts
            return np.flatnonzero(self._jets.good(shift) & np.repeat(self._wanted[shift], counts))

        return self.once(("good", shift), compute)

    def event(self, shift: int = 0) -> Ints:
        """Find the place of the event of each jet of `flat`."""
        counts = self._jets.objects.counts
        return self.once(
            ("event", shift),
            lambda: np.repeat(np.arange(len(counts)), counts)[self._good(shift)],
        )

    def summed(self, values: NDArray[Any], shift: int = 0) -> Quantity:
        """Add up a number of each jet of `flat` by event; shape (events,)."""
        n_events = len(self._jets.objects.counts)
        sums = np.bincount(self.event(shift), weights=values, minlength=n_events)
        return sums.astype(np.float64)

    def values(self, field: str, shift: int = 0) -> ak.Array:
        """Read a field of the good jets of each event under a shift, as `flat`.

        An awkward array of lists; they are empty in events that the selection does not want.
        """
        counts = np.bincount(self.event(shift), minlength=len(self._jets.objects.counts))
        return ak.unflatten(self.flat(field, shift), counts)

    def awkward(self, shift: int = 0) -> ak.Array:
        """Give the good jets under a shift as awkward four-vectors with the declared fields.

        They have `pt`, `eta`, `phi`, `mass` (double precision, GeV), `btag`, `btagged`; shape
        (events, jets).
        """
        fields = {
            name: ak.values_astype(self.values(name, shift), np.float64)
            for name in ("pt", "eta", "phi", "mass")
        }
        fields |= {name: self.values(name, shift) for name in ("btag", "btagged")}
        for field in self._columns.fields("jet"):
            if field not in fields:
                fields[field] = self.values(field, shift)
        return four_vectors(fields)


class Event(Spelled):
    """The wanted events of a selection under one shift, for `Selection.each`: awkward arrays."""

    def __init__(self, selection: Selection, shift: int) -> None:
        self._selection = selection
        self._shift = shift
        self.rows: Ints = np.flatnonzero(selection.wanted[shift])
        """Places of the events in the selection, as for `s.column(name)[e.rows]`."""

    @property
    def jets(self) -> ak.Array:
        """Good jets, as `SelectedJets.awkward`."""
        return self._selection.jets.awkward(self._shift)[self.rows]

    @property
    def lepton(self) -> ak.Array:
        """Four-vectors of the leptons; `uses` must have `lepton.phi`."""
        lepton = self._selection.lepton
        fields = {name: getattr(lepton, name)[self.rows] for name in ("pt", "eta", "phi", "mass")}
        return four_vectors(fields)

    @property
    def met(self) -> ak.Array:
        """Missing transverse momentum; `uses` must have `met.pt` and `met.phi`."""
        met = self._selection.met
        fields = {name: ak.Array(getattr(met, name)[self.rows]) for name in ("pt", "phi")}
        return ak.zip(fields, with_name="Momentum2D", behavior=vector.backends.awkward.behavior)


class Selection(Spelled):
    """The events of a chunk with the leptons of a channel, under every shift of the objects.

    Events that are not `wanted`, shape (shifts, events), have no meaning here: they lack a trigger, or have
    their leptons under another shift.
    """

    def __init__(
        self,
        config: AnalysisConfig,
        sample: SampleInfo,
        columns: Columns,
        leptons: Leptons,
        jets: Jets,
        wanted: Bools,
        *,
        met_pt: Quantity | None = None,
        sums: JetSums | None = None,
        computed: dict[Any, Any] | None = None,
    ) -> None:
        self.config = config
        self.sample = sample
        self.leptons = leptons
        self.wanted = read_only(wanted)
        self.columns = columns
        self._jets = jets
        self._met_pt = met_pt
        self._computed = {} if computed is None else computed
        self._sums = jets.sums(np.asarray(wanted.any(axis=0))) if sums is None else sums

    def _changed(self, **changes: Any) -> Selection:
        now = {
            "columns": self.columns, "leptons": self.leptons, "jets": self._jets, "wanted": self.wanted,
            "met_pt": self._met_pt, "sums": self._sums,
        }  # fmt: skip
        return Selection(self.config, self.sample, **{**now, **changes})

    def within(self, wanted: Bools) -> Selection:
        """Restrict the selection to the events of a mask of shape (shifts, events)."""
        return self._changed(wanted=wanted)

    def unshifted(self) -> Selection:
        """Keep the unshifted objects only: one shift."""
        n_jets, n_btags, ht = self._sums
        sums = JetSums(n_jets[:1], n_btags[:1], ht[:1])
        return self._changed(wanted=self.wanted[:1], jets=self._jets.first_shift(), sums=sums)

    def of_leptons(self, leptons: Leptons, wanted: Bools) -> Selection:
        """Select other leptons and the events of a mask of shape (1, events); unshifted.

        Jets that are cleaned of the lepton are cleaned of these.
        """
        cuts, jets = self.config.jet, self._jets
        if cuts.min_lepton_delta_r > 0:
            jets = select_jets(jets.objects, cuts, leptons, jets.pts, jets.mass_scales)
        return self._changed(leptons=leptons, jets=jets, wanted=wanted, sums=None)

    def reading(self, uses: AbstractSet[str]) -> Selection:
        """Allow the columns that a function declares; what has been computed is shared."""
        return self._changed(columns=self.columns.allowing(uses), computed=self._computed)

    @property
    def rows(self) -> Ints:
        """Places of the events in their chunk."""
        return read_only(self.columns.rows)

    @property
    def shape(self) -> tuple[int, int]:
        """(shifts, events)."""
        return self.wanted.shape[0], self.wanted.shape[1]

    @cached_property
    def lepton(self) -> Lepton:
        return Lepton(self.columns, self.leptons, np.any(self.wanted, axis=0))

    @cached_property
    def met(self) -> Met:
        return Met(self.columns, self._met_pt)

    @cached_property
    def jets(self) -> SelectedJets:
        return SelectedJets(self.columns, self._jets, self.wanted, self._computed)

    @property
    def n_jets(self) -> Ints:
        """Number of good jets; shape (shifts, events)."""
        return read_only(self._sums.n_jets)

    @property
    def n_btags(self) -> Ints:
        """Number of b-tagged good jets; shape (shifts, events)."""
        return read_only(self._sums.n_btags)

    @property
    def ht(self) -> Quantity:
        """Scalar sum of the good jets' pT in GeV; shape (shifts, events)."""
        return read_only(self._sums.ht)

    @property
    def enough_jets(self) -> Bools:
        """Events with `config.regions.min_jets` good jets or more; shape (shifts, events)."""
        return self.n_jets >= self.config.regions.min_jets

    @property
    def top_mass(self) -> Quantity:
        """Mass of the hadronic top candidate in GeV, NaN without one; shape (shifts, events)."""
        return self.jets.top_mass()

    @property
    def lepton_b_mass(self) -> Quantity:
        """Least mass of the lepton and a b-tagged jet in GeV, NaN without one; shape (shifts, events).

        `uses` must have `lepton.phi`. That is M(ℓ, b), and min M(ℓ, b) of several, of CMS, JHEP 09 (2017)
        051.
        """
        return self.jets.lepton_b_mass(self.lepton)

    @cached_property
    def transverse_mass(self) -> Quantity:
        """Transverse mass in GeV of lepton and missing momentum; shape (events,).

        `uses` must have `lepton.phi`, `met.pt` and `met.phi`.
        """
        lepton = self.lepton
        return transverse_mass(lepton.pt, lepton.phi, self.met.pt, self.met.phi)

    @property
    def n_vertices(self) -> Quantity:
        """Number of primary vertices; `uses` must have `PV.npvs`; shape (events,)."""
        values: Quantity = self.column("PV.npvs")
        return values

    def column(self, name: str) -> Any:
        """Read any declared column: shape (events,), or an awkward array of lists."""
        return self.columns[name]

    def each(self, function: Callable[[Event], Any]) -> Quantity:
        """Compute a number an event in awkward, for the wanted events under each shift in turn.

        `function` takes an `Event` (`jets`, `lepton`, `met` as four-vectors). Shape (shifts, events);
        NaN for events that are not wanted.
        """
        found = np.full(self.shape, np.nan)
        for shift in range(len(found)):
            event = Event(self, shift)
            if len(event.rows):
                values = ak.fill_none(ak.Array(function(event)), np.nan)
                found[shift, event.rows] = ak.to_numpy(values)
        return found


def four_vectors(fields: dict[str, Any]) -> ak.Array:
    """Zip fields to four-vectors of `vector` (`pt`, `eta`, `phi`, `mass`, and others)."""
    arrays = {name: ak.Array(values) for name, values in fields.items()}
    return ak.zip(arrays, with_name="Momentum4D", behavior=vector.backends.awkward.behavior)


def transverse_mass(pt: Floats, phi: Floats, met: Floats, met_phi: Floats) -> Quantity:
    """√(2 pT pTmiss (1 - cos Δφ)) in GeV, of a lepton and the missing momentum (PDG, kinematics)."""
    cosine = np.cos(phi.astype(np.float64) - met_phi)
    return np.asarray(np.sqrt(2 * pt.astype(np.float64) * met * (1 - cosine)))


def computed(
    function: Callable[[Selection], Any], selection: Selection, uses: AbstractSet[str], owner: str
) -> NDArray[Any]:
    """Compute what a user's function gives for a selection, broadcast to (shifts, events).

    Raises DefinitionError, with the name of its `owner`, for what the function raises itself and for an
    array of another shape.
    """
    with blamed(owner):
        values = _numpy(function(selection.reading(uses)))
    shifts, events = selection.shape
    # One value would be taken for that of every event: NumPy broadcasts it.
    if values.shape not in ((), (events,), (1, events), (shifts, events)):
        msg = f"{owner}: shape {values.shape}, expected ({events},) or ({shifts}, {events})"
        raise DefinitionError(msg)
    return np.broadcast_to(values, selection.shape)


def _numpy(values: Any) -> NDArray[Any]:
    """Convert values; of an awkward array, None becomes NaN as in `Selection.each`, in a mask false."""
    if not isinstance(values, ak.Array):
        return np.asarray(values)
    found: Any = ak.to_numpy(values)
    if not np.ma.isMaskedArray(found):
        return np.asarray(found)
    if found.dtype == np.bool_:
        return np.asarray(np.ma.filled(found, False))
    return np.asarray(np.ma.filled(found.astype(np.float64), np.nan))


def computed_mask(
    function: Callable[[Selection], Any], selection: Selection, uses: AbstractSet[str], owner: str
) -> Bools:
    """Compute a mask as `computed`. Raises DefinitionError for what is none."""
    mask = computed(function, selection, uses, owner)
    if mask.dtype != np.bool_:
        msg = f"{owner}: a mask of true and false expected, got {mask.dtype}"
        raise DefinitionError(msg)
    return mask


def computed_numbers(
    function: Callable[[Selection], Any], selection: Selection, uses: AbstractSet[str], owner: str
) -> NDArray[Any]:
    """Compute numbers as `computed`. Raises DefinitionError for what are none."""
    values = computed(function, selection, uses, owner)
    if values.dtype.kind not in "fiub":
        msg = f"{owner}: numbers expected, got {values.dtype}"
        raise DefinitionError(msg)
    return values
