"""What the processor is told of the events that it gets: no cross section, no luminosity, no file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from analysis.common.errors import CatalogueError, did_you_mean, nearest
from analysis.datasets.processes import DATA

NOMINAL = "nominal"

FLAVOURS = ("electron", "muon")
"""Flavours of the one lepton."""

_MISSPELLED = 0.8
"""Likeness from which a key is a field misspelled."""


def template_name(region: str, process: str, variation: str) -> str:
    """Name a template: `{region}_{process}`, and `{region}_{process}_{variation}` where it is varied."""
    return "_".join([region, process] if variation == NOMINAL else [region, process, variation])


class SampleInfo(NamedTuple):
    """The part of `events.metadata` that physics depends on."""

    process: str
    variation: str = NOMINAL
    is_simulation: bool = True
    channel: str | None = None
    """Collision data: the only channel that this stream provides; None for both."""
    generator_weights: bool = False
    """Whether events have a generator weight."""
    event_numbers: bool = False
    """Collision data: whether events have run, luminosity section and event number."""

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> Self:
        """Read the fields from metadata; other keys are left alone.

        Raises CatalogueError if the metadata do not name the process, for a key that is a field
        misspelled (its default would be taken without a word), and for a name that is none.
        """
        missing = [field for field in cls._fields if field not in metadata]
        for key in metadata.keys() - set(cls._fields):
            if nearest(key, missing, likeness=_MISSPELLED):
                msg = f"events.metadata has {key!r}: {did_you_mean(key, missing)}"
                raise CatalogueError(msg)
        if "process" not in metadata:
            msg = (
                "events.metadata has no 'process': give the fileset's datasets the metadata "
                f"'process' and 'variation' (there: {', '.join(metadata) or 'none'})"
            )
            raise CatalogueError(msg)
        process, variation = metadata["process"], metadata.get("variation", NOMINAL)
        channel = metadata.get("channel")
        for field, name in (("process", process), ("variation", variation)):
            if not isinstance(name, str):
                msg = f"events.metadata has the {field} {name!r}, expected a name"
                raise CatalogueError(msg)
        for field, name, word in (("process", process, DATA), ("variation", variation, NOMINAL)):
            if name != word and name.casefold() == word:
                msg = f"events.metadata has the {field} {name!r}: did you mean {word!r}?"
                raise CatalogueError(msg)
        if channel is not None and channel not in FLAVOURS:
            msg = f"events.metadata has the channel {channel!r}: {did_you_mean(str(channel), FLAVOURS)}"
            raise CatalogueError(msg)
        return cls(
            process,
            variation,
            metadata.get("is_simulation", process != DATA),
            channel,
            metadata.get("generator_weights", False),
            metadata.get("event_numbers", False),
        )

    @property
    def is_nominal(self) -> bool:
        """Whether the sample is data or nominal simulation, not an alternative."""
        return self.variation == NOMINAL

    @property
    def is_varied(self) -> bool:
        """Whether systematic variations apply: to the nominal samples of simulation."""
        return self.is_simulation and self.is_nominal
