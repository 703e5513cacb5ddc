"""From the events of a chunk to those that may be used, selected under every shift."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import awkward as ak
import numpy as np

from analysis.config import AnalysisConfig
from analysis.datasets.sample import FLAVOURS, SampleInfo
from analysis.selection import channels as channels_of
from analysis.selection import isolation_plane
from analysis.selection.channels import NO_CHANNEL, Channel
from analysis.selection.kernels import Bools, Floats, Ints
from analysis.selection.objects import JET_COLUMNS, Flat, Leptons, select_jets, select_leptons
from analysis.selection.selection import Columns, Quantity, Selection
from analysis.selection.variations import Shift


class Chosen(NamedTuple):
    """Good leptons, and the events that have those of a channel."""

    leptons: Leptons
    one_lepton: list[Bools]
    """Events of each channel before the trigger; shape (events,)."""

    def within(self, rows: Ints) -> Chosen:
        """Keep the events of an index array."""
        return Chosen(self.leptons.within(rows), [mask[rows] for mask in self.one_lepton])


class Selected(NamedTuple):
    """The kept events of a chunk under some shifts that share their leptons."""

    variations: list[str]
    """Names of the shifts, in the order of the rows of `selection`."""
    selection: Selection
    one_lepton: list[Bools]
    """Events of each channel before the trigger; shape (events,)."""
    triggered: list[Bools]
    channel: Ints
    """Channel of each event, by number."""


class Kept(NamedTuple):
    """The events of a chunk that have the leptons of a channel under some shift: none else is used."""

    rows: Ints
    """Places of the events in the chunk."""
    blocks: list[Selected]
    """The unshifted events and the shifts of jets, then each other shift."""
    loose: Selection | None
    """Events of a muon that need not be isolated, unshifted; None where nothing asks for them."""

    def of_chunk(self, mask: Bools, n_events: int) -> Bools:
        """Mask the same events among all `n_events` of the chunk."""
        full = np.zeros(n_events, np.bool_)
        full[self.rows] = mask
        return full


@dataclass(frozen=True)
class Selector:
    """Selects the events of a sample under all its shifts."""

    config: AnalysisConfig
    sample: SampleInfo
    channels: tuple[Channel, ...]
    shifts: Sequence[Shift]
    columns: frozenset[str]
    """Columns of the object selection and of the triggers."""
    plane: tuple[Channel, ...]
    """Channel of the muons that need not be isolated, if they are wanted."""

    def select(self, events: ak.Array, certified: Bools) -> Kept:
        """Select the `certified` events of a chunk, shape (events,).

        Leptons are selected in all events; all else is computed in the events that are kept.
        """
        columns = Columns(events, self.columns)
        flats = {name: Flat(events[name]) for name in (*FLAVOURS, "jet")}

        def choose(leptons: Leptons, of: Sequence[Channel]) -> Chosen:
            return Chosen(leptons, [c.one_lepton(leptons, columns) & certified for c in of])

        unshifted = choose(self._leptons(flats), self.channels)
        others: dict[str, tuple[Chosen, Quantity | None]] = {}
        for shift in self.shifts:
            for name, by in shift.variations.items():
                if shift.of == "met":
                    pt = shift.pt(by, events.met, shift.uses)
                    others[name] = unshifted, pt.astype(np.float64)
                elif shift.of in FLAVOURS:
                    pt = shift.pt(by, flats[shift.of], self.columns)
                    shifted = flats | {shift.of: flats[shift.of].replaced(pt=pt)}
                    others[name] = choose(self._leptons(shifted), self.channels), None
        loose = [choose(unshifted.leptons.without_isolation(), self.plane)] if self.plane else []
        rows = _rows([unshifted, *(chosen for chosen, _ in others.values()), *loose])
        columns, jets = columns.within(rows), flats["jet"].within(rows)
        names, pts, mass_scales = self._jet_shifts(jets)
        first = unshifted.within(rows)
        blocks = [self._block(names, columns, first, jets, pts, mass_scales)]
        for name, (chosen, met_pt) in others.items():
            met = None if met_pt is None else met_pt[rows]
            one = (jets, pts[:1], mass_scales[:1])
            blocks.append(self._block([name], columns, chosen.within(rows), *one, met))
        nominal = blocks[0].selection.unshifted()
        found = self._loose(nominal, loose[0].within(rows)) if loose else None
        return Kept(rows, blocks, found)

    def _leptons(self, flats: Mapping[str, Flat]) -> Leptons:
        return select_leptons(flats["electron"], flats["muon"], self.config)

    def _jet_shifts(self, jets: Flat) -> tuple[list[str], Floats, Bools]:
        """Give the names of the shifts of jets, the unshifted first; the pT under each, shape (shifts,
        jets); and whether masses scale with it.
        """
        names, pts, mass_scales = [self.sample.variation], [jets["pt"]], [True]
        for shift in self.shifts:
            if shift.of == "jet":
                for name, by in shift.variations.items():
                    names.append(name)
                    pts.append(shift.pt(by, jets, JET_COLUMNS))
                    mass_scales.append(shift.mass_scales)
        return names, np.stack(pts), np.array(mass_scales, dtype=np.bool_)

    def _block(
        self,
        names: list[str],
        columns: Columns,
        chosen: Chosen,
        jets: Flat,
        pts: Floats,
        mass_scales: Bools,
        met_pt: Quantity | None = None,
    ) -> Selected:
        config, sample, (leptons, one_lepton) = self.config, self.sample, chosen
        triggered = [
            channel.triggered(mask, columns, sample, config.trigger)
            for channel, mask in zip(self.channels, one_lepton, strict=True)
        ]
        channel = channels_of.numbers(triggered, [channel.name for channel in self.channels])
        wanted = np.broadcast_to(channel != NO_CHANNEL, (len(pts), len(channel)))
        selected = select_jets(jets, config.jet, leptons, pts, mass_scales)
        selection = Selection(config, sample, columns, leptons, selected, wanted, met_pt=met_pt)
        return Selected(names, selection, one_lepton, triggered, channel)

    def _loose(self, unshifted: Selection, loose: Chosen) -> Selection:
        """The selection of muons that need not be isolated, with their trigger; unshifted."""
        (channel,), (mask,) = self.plane, loose.one_lepton
        columns = unshifted.columns.allowing(channel.columns)
        wanted = channel.triggered(mask, columns, self.sample, isolation_plane.TRIGGER)
        return unshifted.of_leptons(loose.leptons, wanted[np.newaxis])


def _rows(chosen: Iterable[Chosen]) -> Ints:
    """Places of the events that are in a channel by some of the leptons.

    Where there are none, the first event, which is then in no channel: functions of the analysis need not
    be ready for no event at all.
    """
    masks = [mask for found in chosen for mask in found.one_lepton]
    rows = np.flatnonzero(np.logical_or.reduce(masks))
    return rows if len(rows) else np.arange(min(1, len(masks[0])))
