"""Checks of each chunk around the processor: file, values and output."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import awkward as ak
import numpy as np
from coffea.processor import ProcessorABC
from hist import Hist
from numpy.typing import NDArray
from uproot.behaviors.TTree import TTree

from analysis.datasets.open_files import header_of, loaded_branches, tree_of
from analysis.datasets.read_errors import ChunkError
from analysis.datasets.remote import fingerprint
from schemas.missing import missing_branch_message

FILE_EVENTS = "file_events"
"""Key of the chunk's metadata: how many events the catalogue says are in the file."""

_NOT_NEGATIVE = re.compile(r"\.(raw_|corr)?(pt|energy)")
"""Columns of momenta and energies, with their variations."""


class CheckedProcessor(ProcessorABC):
    """Check each chunk against the catalogue and the needed columns, then process it.

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
        """Process the events. Raises ChunkError where file, catalogue and output do not agree."""
        told = events.metadata
        dataset = told["dataset"]
        tree = tree_of(events)
        if tree.num_entries != told[FILE_EVENTS]:
            msg = f"{tree.num_entries} events in the file, {told[FILE_EVENTS]} in the catalogue"
            raise ChunkError(msg)
        _require_filled(tree, sorted(self._branches[dataset] or frozenset()))
        _require_same_lengths(events, self._collections)
        output = self._processor.process(events)
        _require_sound(output, dataset, len(events))
        return {
            "output": _without_events(output),
            "warning": impossible_values(events, self._columns[dataset]),
            "header": fingerprint(told["filename"], header_of(events)),
        }

    def postprocess(self, accumulator: Any) -> None:
        """Do nothing: the run calls the processor's own, with restored chunks too."""


def _require_filled(tree: Any, branches: Iterable[str]) -> None:
    """Raise ChunkError for a branch that is not there, and for one that ends before its tree: it was added
    later, or a job died.
    """
    for branch in branches:
        if branch not in tree:
            raise ChunkError(missing_branch_message(branch, "the file", tree.keys()))
        if isinstance(tree, TTree) and (entries := tree[branch].num_entries) != tree.num_entries:
            msg = f"branch {branch!r} has {entries} entries, its tree {tree.num_entries}"
            raise ChunkError(msg)


def _require_same_lengths(events: ak.Array, collections: Mapping[str, str]) -> None:
    """Raise ChunkError for branches of a collection whose lists differ in length.

    The event model has one list of objects for all branches: values would be of other objects.
    """
    loaded = loaded_branches(events)
    first: dict[str, tuple[str, NDArray[Any]]] = {}
    for branch in sorted(loaded.keys() & collections.keys()):
        layout = loaded[branch].layout
        if not layout.is_list:
            continue
        offsets = layout.to_ListOffsetArray64(True).offsets.data
        other, expected = first.setdefault(collections[branch], (branch, offsets))
        if not np.array_equal(offsets, expected):
            n = np.sum(np.diff(offsets) != np.diff(expected))
            msg = f"branches {other!r} and {branch!r} have lists of other lengths in {n} events"
            raise ChunkError(msg)


def impossible_values(events: ak.Array, columns: Iterable[str]) -> str:
    """Describe NaN, infinities and negative energies: `jet.pt: 3 not finite; ...`; empty for none."""
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
    """Return all values of a column, without a copy; layouts are quicker by far than arrays."""
    for field in path:
        layout = layout[field]
    while layout.is_list:
        layout = layout.to_ListOffsetArray64(True).content
    if not layout.is_numpy:
        layout = ak.flatten(layout, axis=None, highlevel=False)
    values: NDArray[Any] = ak.to_numpy(layout)
    return values


def counts(output: Any, dataset: str) -> Mapping[str, float]:
    """Return `counts` of the output of a dataset; empty for a processor that has none."""
    for key in (dataset, "counts"):
        if not isinstance(output, Mapping) or key not in output:
            return {}
        output = output[key]
    return output if isinstance(output, Mapping) else {}


def _require_sound(output: Any, dataset: str, events: int) -> None:
    """Raise ChunkError for output that must not be added: it cannot be taken out again.

    Such are another number of events than were given, bins that are not finite, and arrays that would
    be added element by element.
    """
    counted = counts(output, dataset).get("events", events)
    own = output.get(dataset, output) if isinstance(output, Mapping) else output
    if counted != events:
        msg = f"the processor counted {counted} events of {events}"
        raise ChunkError(msg)
    for name, histogram in _found(own, Hist):
        contents = histogram.view(flow=True)
        values = contents if contents.dtype.names is None else contents[contents.dtype.names[0]]
        if not np.all(np.isfinite(values)):
            msg = f"histogram {name}: {np.sum(~np.isfinite(values))} bins are not finite"
            raise ChunkError(msg)

    for name, _ in _found(own, ak.Array):
        msg = (
            f"{name or 'the output'} is an array: return a list of arrays ([array]), or a "
            "coffea.processor.column_accumulator, which are joined; arrays are added up"
        )
        raise ChunkError(msg)


def _found(output: Any, kind: type[Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what is of that kind in the output and its dictionaries, each with its place."""
    if isinstance(output, kind):
        yield place, output
    elif isinstance(output, Mapping):
        for name, value in output.items():
            yield from _found(value, kind, f"{place}/{name}".lstrip("/"))


def _without_events(output: Any) -> Any:
    """Return the output with arrays that have their values, and not the open file to read them from."""
    if isinstance(output, ak.Array):
        values = ak.to_packed(ak.materialize(output))
        return ak.Array(values.layout, behavior=values.behavior)
    if type(output) is dict:
        return {name: _without_events(value) for name, value in output.items()}
    if type(output) in (list, tuple):
        return type(output)(map(_without_events, output))
    return output
