"""Control: a plot of unshifted, nominal events, in any observable of the event or of its jets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, ClassVar

import awkward as ak
import numpy as np
from hist import Hist

from analysis.common.errors import DefinitionError
from analysis.config import Binning
from analysis.histograms import Numbered, book_control
from analysis.selection.channels import NO_CHANNEL
from analysis.selection.kernels import Bools, Ints
from analysis.selection.part import Part
from analysis.selection.selection import Selection, computed, computed_mask
from analysis.selection.variations import Weights


def enough_jets(selection: Selection) -> Any:
    """Events with the jets that the configuration asks for, before b tagging."""
    return selection.enough_jets


@dataclass(frozen=True, repr=False)
class Control(Part):
    """A control plot: `value`, a function of the unshifted `Selection`, of the events of `where`.

    `value` gives one number an event, or an awkward array of lists (one entry a jet).
    """

    kind: ClassVar = "control plot"
    functions: ClassVar = ("value", "where")
    required: ClassVar = ("value", "where", "binning")
    name: str
    value: Callable[[Selection], Any]
    binning: Binning
    label: str = ""
    """The value with its unit, for figures; the name where it is empty."""
    where: Callable[[Selection], Any] = enough_jets
    uses: AbstractSet[str] = frozenset()

    def contains(self, unshifted: Selection) -> Bools:
        """Mask of the events that are in the plot; shape (events,)."""
        mask = computed_mask(self.where, unshifted, self.uses, f"{self.owner}, where")[0]
        contained: Bools = unshifted.wanted[0] & mask
        return contained

    def histogram(
        self,
        process: str,
        unshifted: Selection,
        channel: Ints,
        channels: Sequence[str],
        weight: Weights,
    ) -> tuple[Hist, int]:
        """Fill (value, channel, process) for the events of a channel; and count values that are NaN.

        `channel` is that of each event, by number. Raises DefinitionError for a value of no event.
        """
        mask = self.contains(unshifted) & (channel != NO_CHANNEL)
        rows = np.flatnonzero(mask)
        values, of_event = self._values(unshifted.within(mask[np.newaxis]), rows)
        booked = book_control(self.binning, self.label or self.name, list(channels), process)
        with Numbered(booked) as histogram:
            histogram.fill(
                value=values,
                channel=channel[rows][of_event],
                process=0,
                weight=weight[rows][of_event],
            )
        return booked, int(np.sum(np.isnan(values)))

    def _values(self, selection: Selection, rows: Ints) -> tuple[Any, Any]:
        """Compute the values of the events of an index array, and the place there of each value."""
        kept: list[Any] = []

        def value(seen: Selection) -> Any:
            found = self.value(seen)
            if isinstance(found, ak.Array) and found.ndim > 1:
                kept.append(found)
                return 0.0
            return found

        values = computed(value, selection, self.uses, self.owner)[0]
        if not kept:
            return values[rows].astype(np.float64), slice(None)
        (lists,) = kept
        if len(lists) != selection.shape[1]:
            msg = f"{self.owner}: {len(lists)} lists, expected one for each of {selection.shape[1]} events"
            raise DefinitionError(msg)
        chosen = lists[rows]
        places = np.repeat(np.arange(len(rows)), np.asarray(ak.num(chosen)))
        return np.asarray(ak.flatten(chosen), dtype=np.float64), places
