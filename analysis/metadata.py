"""What the processor is told of the events that it gets: no cross section, no luminosity, no file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from analysis.errors import CatalogueError
from analysis.processes import DATA

NOMINAL = "nominal"

CHANNELS = ("electron", "muon")
"""Flavours of the one lepton."""


class SampleInfo(NamedTuple):
    """The part of `events.metadata` that physics depends on."""

    process: str
    variation: str = NOMINAL
    is_simulation: bool = True
    channel: str | None = None
    """Collision data: the only channel that this stream provides; None for both."""

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> Self:
        """Raises CatalogueError if the metadata do not name the process."""
        if "process" not in metadata:
            msg = (
                "events.metadata has no 'process': give the fileset's datasets the metadata "
                f"'process' and 'variation' (there: {', '.join(metadata) or 'none'})"
            )
            raise CatalogueError(msg)
        process = metadata["process"]
        return cls(
            process,
            metadata.get("variation", NOMINAL),
            metadata.get("is_simulation", process != DATA),
            metadata.get("channel"),
        )

    @property
    def is_nominal(self) -> bool:
        """Data or a nominal sample of simulation, not an alternative one."""
        return self.variation == NOMINAL

    @property
    def is_varied(self) -> bool:
        """Whether systematic variations apply: to the nominal samples of simulation."""
        return self.is_simulation and self.is_nominal
