"""Channel: events with certain good leptons, mostly one, and their trigger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from analysis.common.errors import DefinitionError, EventValueError, did_you_mean
from analysis.common.names import one_or_more
from analysis.config import Trigger
from analysis.datasets.sample import FLAVOURS, SampleInfo
from analysis.selection.kernels import Bools, Ints
from analysis.selection.objects import Leptons
from analysis.selection.part import Part, blamed
from analysis.selection.selection import Columns, Lepton

NO_CHANNEL = -1


@dataclass(frozen=True, repr=False)
class Channel(Part):
    """Events with exactly these good leptons that fire one of the triggers.

    `where`, a function of the `Lepton` that gives a mask, keeps a part of them; no event may be in two
    channels of an analysis.
    """

    kind: ClassVar = "channel"
    functions: ClassVar = ("where",)
    name: str
    lepton: str | tuple[str, ...]
    """`electron`, `muon`, or several, such as `("electron", "muon")`: the selection's `lepton` is then
    the first muon."""
    triggers: tuple[str, ...]
    """Trigger bits, fields of `events.trig`, of which one must have fired; none asks for no trigger."""
    label: str = ""
    """The channel in figures; the name where it is empty."""
    stream: str = ""
    """Stream of collision data that provides the events; that of the last lepton where it is empty."""
    where: Callable[[Lepton], Any] | None = None
    uses: AbstractSet[str] = frozenset()
    """Columns that `where` reads."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for flavour in self.leptons or ("none",):
            if flavour not in FLAVOURS:
                self._refuse(f"lepton {flavour!r}, {did_you_mean(str(flavour), FLAVOURS)}")
        self._set("stream", self.stream or self.leptons[-1])
        if self.stream not in FLAVOURS:
            self._refuse(f"stream {self.stream!r}, {did_you_mean(str(self.stream), FLAVOURS)}")
        self._set("triggers", one_or_more(self.triggers))

    @property
    def leptons(self) -> tuple[str, ...]:
        """Flavours of the leptons."""
        return one_or_more(self.lepton)

    @property
    def columns(self) -> frozenset[str]:
        """Trigger bits as columns."""
        return frozenset(f"trig.{bit}" for bit in self.triggers)

    def one_lepton(self, leptons: Leptons, columns: Columns) -> Bools:
        """Mask of the events with the good leptons of the channel, no other good ones, and no further
        ones that exclude an event.
        """
        wanted = self.leptons
        mask: Bools = leptons.allowed & np.logical_and.reduce(
            [good.counts == wanted.count(flavour) for flavour, good in leptons.by_flavour().items()]
        )
        if self.where is None:
            return mask
        owner = f"{self.owner}, where"
        with blamed(owner):
            lepton = Lepton(columns.allowing(self.uses), leptons, mask)
            passed = np.asarray(self.where(lepton))
        if passed.dtype != np.bool_ or passed.shape != mask.shape:
            msg = (
                f"{owner}: {passed.dtype} of shape {passed.shape}, expected a mask of true and false of "
                f"{len(mask)} events"
            )
            raise DefinitionError(msg)
        both: Bools = mask & passed
        return both

    def triggered(
        self, one_lepton: Bools, columns: Columns, sample: SampleInfo, config: Trigger
    ) -> Bools:
        """Mask of the events of `one_lepton` that the sample may provide, and that fire if they must.

        An event that is in both collision streams has one channel, and so counts once.
        """
        if sample.channel not in (None, self.stream):
            return np.zeros_like(one_lepton)
        if not (self.triggers and needs_trigger(sample, config)):
            return one_lepton
        bits = [columns[column] != 0 for column in self.columns]
        fired: Bools = one_lepton & np.logical_or.reduce(bits)
        return fired


def numbers(masks: Sequence[Bools], names: Sequence[str]) -> Ints:
    """Place of each event's channel in `masks`, `NO_CHANNEL` where it is in none.

    Raises EventValueError where an event is in two.
    """
    number = np.full(len(masks[0]), NO_CHANNEL)
    for place, mask in enumerate(masks):
        if (twice := mask & (number != NO_CHANNEL)).any():
            other = names[number[twice][0]]
            msg = f"channels {other!r} and {names[place]!r} share {np.sum(twice)} events of a chunk"
            raise EventValueError(msg)
        number[mask] = place
    return number


def needs_trigger(sample: SampleInfo, config: Trigger) -> bool:
    """Whether events must have the trigger of their channel: those of collisions always."""
    return not sample.is_simulation or config.simulation == "channel"
