"""What is done with each chunk around the processor: it is held against the catalogue, the values too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import awkward as ak
import numpy as np
from coffea.processor import ProcessorABC
from hist import Hist
from numpy.typing import NDArray

from analysis.datasets.read_errors import ChunkError
from analysis.datasets.remote import HEADER_BYTES, fingerprint
from schemas.agc import missing_branch_message

FILE_EVENTS = "file_events"
"""Key of the chunk's metadata: how many events the catalogue says are in the file."""

_NOT_NEGATIVE = re.compile(r"\.(raw_|corr)?(pt|energy)")
"""Columns of momenta and energies, with their variations."""


class CheckedProcessor(ProcessorABC):
    """Holds each chunk against the catalogue and the columns needed, then processes it.

    `columns` are those of the event model that are read, `branches` their branches; both by dataset.
    `collections`: branch -> the collection of the event model that it is of.
    `process` returns the processor's `output`, a `warning` if there are values that cannot be, and the
    file's fingerprint as `header`.
    """

    def __init__(
        self,
        processor: ProcessorABC,
        columns: Mapping[str, frozenset[str]],
        branches: Mapping[str, frozenset[str] | None],
        collections: Mapping[str, str],
    ) -> None:
        self._processor = processor
        self._columns = columns
        self._branches = branches
        self._collections = collections

    def process(self, events: ak.Array) -> dict[str, Any]:
        """Raises ChunkError where file, catalogue and output do not agree."""
        told = events.metadata
        dataset = told["dataset"]
        file = events.attrs["@events_factory"].file_handle
        tree = file[told["treename"]]
        if tree.num_entries != told[FILE_EVENTS]:
            msg = f"{tree.num_entries} events in the file, {told[FILE_EVENTS]} in the catalogue"
            raise ChunkError(msg)
        present = set(tree.keys())
        for branch in sorted((self._branches[dataset] or frozenset()) - present):
            raise ChunkError(missing_branch_message(branch, "the file", present))
        _require_same_lengths(events, self._collections)
        output = self._processor.process(events)
        if isinstance(output, Mapping):
            _require_sound(output.get(dataset, {}), len(events))
        return {
            "output": output,
            "warning": impossible_values(events, self._columns[dataset]),
            "header": fingerprint(
                told["filename"], file.file.begin_chunk.raw_data[:HEADER_BYTES].tobytes()
            ),
        }

    def postprocess(self, accumulator: Any) -> None:
        """Nothing: the run does it, with what was done before too."""


def _require_same_lengths(events: ak.Array, collections: Mapping[str, str]) -> None:
    """The event model has one list of objects for all branches of a collection.

    Raises ChunkError where their lists differ in length: the values would be of other objects.
    """
    mapping = events.attrs["@events_factory"]._mapping
    loaded = mapping.preloaded_arrays or {}
    part = slice(mapping._start, mapping._stop)
    first: dict[str, tuple[str, NDArray[Any]]] = {}
    for branch in sorted(loaded.keys() & collections.keys()):
        layout = loaded[branch][part].layout
        if not layout.is_list:
            continue
        offsets = layout.to_ListOffsetArray64(True).offsets.data
        other, expected = first.setdefault(collections[branch], (branch, offsets))
        if not np.array_equal(offsets, expected):
            n = np.sum(np.diff(offsets) != np.diff(expected))
            msg = f"branches {other!r} and {branch!r} have lists of other lengths in {n} events"
            raise ChunkError(msg)


def impossible_values(events: ak.Array, columns: Iterable[str]) -> str:
    """`jet.pt: 3 not finite; ...` for columns with NaN, infinities or negative energies; else empty."""
    found = []
    for column in sorted(columns):
        values = _flat(events.layout, column.split("."))
        if values.dtype.kind != "f" or len(values) == 0:
            continue
        low = np.min(values)
        # A NaN is the smallest and the largest: these two look at each value once and copy nothing.
        if not np.isfinite(low) or not np.isfinite(np.max(values)):
            found.append(f"{column}: {np.sum(~np.isfinite(values))} not finite")
        elif low < 0 and _NOT_NEGATIVE.search(column):
            found.append(f"{column}: {np.sum(values < 0)} negative")
    return "; ".join(found)


def _flat(layout: Any, path: list[str]) -> NDArray[Any]:
    """All values of a column, without a copy; the layout is quicker by far than the array over it."""
    for field in path:
        layout = layout[field]
    while layout.is_list:
        layout = layout.to_ListOffsetArray64(True).content
    if not layout.is_numpy:
        layout = ak.flatten(layout, axis=None, highlevel=False)
    values: NDArray[Any] = ak.to_numpy(layout)
    return values


def _require_sound(output: Mapping[str, Any], events: int) -> None:
    """What is added to the other chunks' histograms cannot be taken out again.

    Raises ChunkError for another number of events than were given, and for bins that are no numbers.
    """
    counted = output.get("counts", {}).get("events", events)
    if counted != events:
        msg = f"the processor counted {counted} events of {events}"
        raise ChunkError(msg)
    for name, histogram in _histograms(output, ""):
        contents = histogram.view(flow=True)
        values = contents if contents.dtype.names is None else contents[contents.dtype.names[0]]
        if not np.all(np.isfinite(values)):
            msg = f"histogram {name}: {np.sum(~np.isfinite(values))} bins are not finite"
            raise ChunkError(msg)


def _histograms(output: Mapping[str, Any], place: str) -> Iterator[tuple[str, Hist]]:
    for name, value in output.items():
        if isinstance(value, Hist):
            yield f"{place}{name}", value
        elif isinstance(value, Mapping):
            yield from _histograms(value, f"{place}{name}/")
