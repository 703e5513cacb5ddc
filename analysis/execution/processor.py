"""Base class of processors that a run asks for columns and parts, and a wrapper for others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import awkward as ak
from coffea.nanoevents.schemas.base import BaseSchema
from coffea.processor import ProcessorABC

from analysis.common.errors import ConfigError
from analysis.config import Configuration
from analysis.datasets.catalogue import Catalogue


class CatalogueProcessor(ProcessorABC):
    """A coffea processor that says what it reads and what it consists of."""

    config: Configuration | None = None
    """Typed configuration, for the ledger."""
    schema: type[BaseSchema] | None = None
    """Schema of the events that `process` takes; None for that of the catalogue's format."""
    reads_declared_only: ClassVar[bool] = False
    """Whether `process` reads no field that `columns` does not name: events are made faster then."""

    def process(self, events: ak.Array) -> Any:
        """Return an accumulator for the events of a chunk."""
        raise NotImplementedError

    def columns(self, metadata: Mapping[str, Any]) -> frozenset[str] | None:  # noqa: ARG002
        """Return the columns that `process` reads of a dataset with these metadata.

        None stands for columns that are not known: each one is read when it is used.
        """
        return None

    def parts(self) -> Mapping[str, Any]:
        """Return all that the output depends on besides the events, by name."""
        return vars(self)

    def description(self, output: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Return what a results folder must say of the processor and its output, as JSON values."""
        return {}

    def require_events(self, catalogue: Catalogue) -> None:
        """Raise ConfigError for a catalogue whose files may lack events that `process` selects."""
        if catalogue.skim is not None:
            msg = "the catalogue is a skim for the ttbar analysis: process the full ntuples instead"
            raise ConfigError(msg)

    def postprocess(self, accumulator: Any) -> Any:
        """Return the merged output as it is."""
        return accumulator


class Plain(CatalogueProcessor):
    """A processor of coffea alone: what it reads is not known."""

    def __init__(self, processor: ProcessorABC) -> None:
        self.processor = processor

    def process(self, events: ak.Array) -> Any:
        return self.processor.process(events)

    def postprocess(self, accumulator: Any) -> Any:
        return self.processor.postprocess(accumulator)


def described(processor: ProcessorABC) -> CatalogueProcessor:
    """Return the processor with what a run asks of it."""
    return processor if isinstance(processor, CatalogueProcessor) else Plain(processor)
