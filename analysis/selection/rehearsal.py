"""A few made-up events, to compute the functions of an analysis with before a file is opened."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

EVENTS = 16

_COUNTS = {"electron": (1, 0), "muon": (0, 1), "jet": (6, 6), "PV": (10, 10)}
"""Objects of even and odd events; one of every other collection."""
_VALUES = {
    "pt": (40.0, 150.0), "eta": (-1.5, 1.5), "phi": (-3.0, 3.0), "mass": (5.0, 20.0), "btag": (0.5, 1.0),
    "sip3d": (0.5, 2.0), "pfreliso04DBCorr": (0.01, 0.5), "npvs": (10, 30),
}  # fmt: skip
"""Least and largest value of a field."""
_INTEGERS = {
    "ch",
    "charge",
    "veto",
    "hflav",
    "pdgId",
    "statusFlags",
    "jetidx",
    "genpartidx",
    "decaymode",
    "npvs",
    "npvsGood",
}


class MadeUpEvents:
    """Events with the columns that an analysis declares; those of `per_event` have one value each."""

    def __init__(
        self, columns: Iterable[str], per_event: Container[str], metadata: Mapping[str, Any]
    ) -> None:
        self.metadata = metadata
        rng = np.random.default_rng(1)
        self._collections: dict[str, Any] = {}
        for column in sorted(columns):
            *outer, field = column.split(".")
            collection = outer[0] if outer else field
            counts = np.resize(_COUNTS.get(collection, (1, 1)), EVENTS)
            size = EVENTS if column in per_event else int(counts.sum())
            values = ak.Array(_values(rng, collection, field, size))
            place = self._collections
            for name in outer:
                place = place.setdefault(name, {})
            place[field] = values if column in per_event else ak.unflatten(values, counts)
        self._collections = {name: _zipped(fields) for name, fields in self._collections.items()}

    def __len__(self) -> int:
        return EVENTS

    def __getitem__(self, collection: str) -> Any:
        return self._collections[collection]

    def __getattr__(self, collection: str) -> Any:
        if collection.startswith("_"):
            raise AttributeError(collection)
        return self._collections[collection]


def _zipped(fields: Any) -> Any:
    """One record an object; one an event where a field has one value an event."""
    if not isinstance(fields, dict):
        return fields
    arrays = {name: _zipped(values) for name, values in fields.items()}
    return ak.zip(arrays, depth_limit=1 if any(a.ndim == 1 for a in arrays.values()) else None)


def _values(rng: np.random.Generator, collection: str, field: str, size: int) -> NDArray[Any]:
    if collection == "trig" or field.startswith("is"):
        return np.ones(size, np.int32)
    low, high = _VALUES.get(field, (1.0, 2.0))
    values: NDArray[np.float64] = rng.uniform(low, high, size)
    if field in ("ch", "charge"):
        return np.where(np.arange(size) % 2, 1, -1).astype(np.int32)
    return values.astype(np.int32 if field in _INTEGERS else np.float32)
