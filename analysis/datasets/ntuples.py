"""Flat ntuples in memory and as files: columns by the name of their branch, a TTree or RNTuple.

Every jagged branch gets its own counter (`njet_pt`), and every collection a `numberjet`, as in the
files at CERN.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np

from analysis.common.errors import OutputError
from analysis.common.files import atomic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

TREE = "events"
NANOAOD_TREE = "Events"
COLLECTIONS = ("electron", "fatjet", "jet", "muon")
ZSTD_LEVEL = 5
Columns = dict[str, Any]


def size(columns: Columns) -> int:
    """Count the events."""
    return len(next(iter(columns.values())))


def select(columns: Columns, mask: Any) -> Columns:
    """Take the events of `mask` (booleans or indices)."""
    return {name: values[mask] for name, values in columns.items()}


def concatenate(parts: list[Columns]) -> Columns:
    """Join parts one after the other; all have the same branches."""
    return {name: ak.concatenate([part[name] for part in parts]) for name in parts[0]}


def _with_counters(columns: Columns) -> Columns:
    """Add `numberjet` per collection; uproot adds the counter of each jagged branch."""
    result: Columns = {}
    for name, values in columns.items():
        collection = name.split("_", 1)[0]
        if collection in COLLECTIONS and f"number{collection}" not in result:
            result[f"number{collection}"] = np.asarray(ak.num(values), dtype=np.int32)
        result[name] = values if values.ndim > 1 else ak.to_numpy(values)
    return result


def write(
    path: Path,
    columns: Columns,
    tree: str = TREE,
    level: int = ZSTD_LEVEL,
    basket_events: int | None = None,
    codec: str = "ZSTD",
    rntuple: bool = False,
) -> None:
    """Write one file with a TTree, or an RNTuple: complete under its name, or absent. `level`: of the codec,
    which is one of uproot's; `basket_events`: at most so many in a basket, all in one by default.

    Raises OutputError where it cannot be written (no space, no permission).
    """
    with _created(path, codec, level) as file:
        _fill(file, tree, _with_counters(columns), basket_events, rntuple)


def write_nanoaod(
    path: Path,
    columns: Columns,
    runs: Columns | None = None,
    level: int = ZSTD_LEVEL,
    basket_events: int | None = None,
    codec: str = "ZSTD",
    rntuple: bool = False,
) -> None:
    """Write one file as `write` does in the way of NanoAOD: `Events` with one counter a collection (`nJet`),
    and the tree `Runs` beside it.
    """
    with _created(path, codec, level) as file:
        _fill(file, NANOAOD_TREE, _in_collections(columns, rntuple), basket_events, rntuple)
        if runs is not None:
            _fill(file, "Runs", runs)


@contextmanager
def _created(path: Path, codec: str, level: int) -> Iterator[Any]:
    import uproot

    with (
        atomic(path) as temporary,
        uproot.recreate(temporary, compression=getattr(uproot, codec)(level)) as file,
    ):
        yield file


def _fill(
    file: Any,
    tree: str,
    columns: Columns,
    basket_events: int | None = None,
    rntuple: bool = False,
) -> None:
    if rntuple:
        written = file.mkrntuple(tree, select(columns, slice(0)))
    else:
        written = file.mktree(tree, _types(columns))
    events = size(columns)
    step = basket_events or max(events, 1)
    for start in range(0, events, step):
        written.extend(select(columns, slice(start, start + step)))


def _in_collections(columns: Columns, rntuple: bool) -> Columns:
    """Join the jagged columns of a collection, which then share a counter; an RNTuple's stay apart."""
    jagged: dict[str, Columns] = {}
    result: Columns = {}
    for name, values in columns.items():
        if values.ndim > 1:
            collection, _, field = name.partition("_")
            jagged.setdefault(collection, {})[field] = values
        else:
            result[name] = ak.to_numpy(values)
    for collection, fields in jagged.items():
        if rntuple:
            result |= {f"{collection}_{field}": values for field, values in fields.items()}
            counts = ak.num(next(iter(fields.values())))
            result[f"n{collection}"] = ak.to_numpy(ak.values_astype(counts, np.uint32))
        else:
            result[collection] = ak.zip(fields)
    return result


def _types(columns: Columns) -> dict[str, Any]:
    return {
        name: values.dtype if isinstance(values, np.ndarray) else ak.type(values).content
        for name, values in columns.items()
    }


def read(path: Path, names: Iterable[str] | None = None, tree: str = TREE) -> Columns:
    """Read the branches of a file of this package, counters left out. Raises OutputError."""
    import uproot

    try:
        with uproot.open(path) as file:
            keys = file[tree].keys()
            wanted = [k for k in keys if not _is_counter(k, keys)] if names is None else list(names)
            arrays = file[tree].arrays(wanted)
            return {name: arrays[name] for name in wanted}
    except (OSError, KeyError, ValueError) as err:
        msg = f"cannot read {path}: {err}"
        raise OutputError(msg) from err


def _is_counter(name: str, keys: list[str]) -> bool:
    return name.startswith("number") or (name.startswith("n") and name[1:] in keys)
