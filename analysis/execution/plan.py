"""Chunks of a run, from the catalogue alone: no file is opened."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Self

from coffea.processor.executor import WorkItem
from pydantic import NonNegativeInt
from pydantic_core import to_jsonable_python

from analysis.common.errors import ConfigError
from analysis.common.files import short_digest
from analysis.common.strict import Strict
from analysis.datasets.catalogue import Catalogue, NtupleFile, metadata
from analysis.execution.checked import FILE_EVENTS
from analysis.execution.settings import Limits


class Chunk(Strict):
    """A range of events of a file."""

    dataset: str
    file: str
    first_event: NonNegativeInt
    last_event: NonNegativeInt
    """Exclusive."""

    @classmethod
    def of(cls, item: WorkItem, **more: Any) -> Self:
        return cls(
            dataset=item.dataset,
            file=item.filename,
            first_event=item.entrystart,
            last_event=item.entrystop,
            **more,
        )

    @property
    def events(self) -> int:
        return self.last_event - self.first_event


class PlannedFile(NamedTuple):
    """A file of which the first `events` events are processed."""

    file: NtupleFile
    events: int


def planned_files(catalogue: Catalogue, limits: Limits) -> list[PlannedFile]:
    """Plan files in the order of the catalogue. Raises ConfigError for a negative limit."""
    for name, limit in limits._asdict().items():
        if limit is not None and limit < 0:
            msg = f"{name} must not be negative, got {limit}"
            raise ConfigError(msg)
    return [
        planned
        for dataset in catalogue.datasets
        for planned in _planned_of(catalogue.files_of(dataset), limits)
    ]


def _planned_of(files: list[NtupleFile], limits: Limits) -> Iterator[PlannedFile]:
    left = math.inf if limits.max_events is None else limits.max_events
    for file in files[: limits.max_files]:
        if left <= 0:
            return
        events = int(min(file.events, left))
        left -= events
        yield PlannedFile(file, events)


def identity(file: NtupleFile, catalogue: Catalogue) -> str:
    """Return a digest of all that the catalogue says of a file."""
    known = [*file, catalogue.tree, metadata(catalogue.datasets[file.dataset])]
    return short_digest(json.dumps(to_jsonable_python(known), sort_keys=True))


def chunks(
    planned: list[PlannedFile],
    catalogue: Catalogue,
    chunk_size: int,
    preload: Mapping[str, frozenset[str] | None],
) -> list[WorkItem]:
    """Make work items of nearly equal size, at most `chunk_size` events each.

    A file without events gets one empty chunk, so that it is opened and checked like any other.
    """
    items = []
    for file, events in planned:
        usermeta: dict[str, Any] = metadata(catalogue.datasets[file.dataset])
        usermeta[FILE_EVENTS] = file.events
        n_chunks = max(1, math.ceil(events / chunk_size))
        edges = [events * i // n_chunks for i in range(n_chunks + 1)]
        items += [
            WorkItem(
                file.dataset, file.url, catalogue.tree, start, stop, b"",
                usermeta, preload[file.dataset],
            )
            for start, stop in itertools.pairwise(edges)
        ]  # fmt: skip
    return items
