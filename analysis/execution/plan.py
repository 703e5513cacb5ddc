"""Which chunks a run consists of: from the catalogue alone, no file is opened for it."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from coffea.processor.executor import WorkItem
from pydantic_core import to_jsonable_python

from analysis.common.errors import ConfigError
from analysis.common.files import short_digest
from analysis.datasets.catalogue import Catalogue, NtupleFile, metadata
from analysis.execution.checked import FILE_EVENTS

CHUNK_EVENTS = 150_000
"""Events of a chunk, at most, where nobody says otherwise: a worker then has 500 MB, of which half are
the libraries and 1.5 kB an event the columns and what is made of them. Larger chunks are no faster, as
a file is opened once for all of its chunks; baskets at the border of two chunks are read twice."""


class Limits(NamedTuple):
    """How much of each dataset to process; None for all."""

    max_files: int | None = None
    max_events: int | None = None


class PlannedFile(NamedTuple):
    """The first `events` events of a file are to be processed."""

    file: NtupleFile
    events: int


def planned_files(catalogue: Catalogue, limits: Limits) -> list[PlannedFile]:
    """In the order of the catalogue. Raises ConfigError for a negative limit."""
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
    """What stands for all that the catalogue says of a file."""
    known = [*file, catalogue.tree, metadata(catalogue.datasets[file.dataset])]
    return short_digest(json.dumps(to_jsonable_python(known), sort_keys=True))


def chunks(
    planned: list[PlannedFile],
    catalogue: Catalogue,
    chunk_size: int,
    preload: Mapping[str, frozenset[str] | None],
) -> list[WorkItem]:
    """Work items of nearly equal size, at most `chunk_size` events each.

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
