"""A processor's output as bytes in an open format: a zip of JSON, UHI histograms and NumPy arrays."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import uhi.io.zip
from coffea.processor import column_accumulator
from hist import Hist

from analysis.common.errors import OutputError

ERRORS = (zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError)
"""Exceptions of `unpack` for bytes that `pack` did not make."""

_CONTENT = "content.json"
_KIND = "is"
"""Key of what stands in the JSON for a value that JSON does not have."""


def checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def pack(value: Any) -> bytes:
    """Pack dictionaries, lists, sets, numbers, text, histograms, arrays and column accumulators.

    Raises OutputError for anything else, and for keys that are not text.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        file.writestr(_CONTENT, json.dumps(_encode(value, file, "")))
    return buffer.getvalue()


def unpack(content: bytes) -> Any:
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return _decode(json.loads(file.read(_CONTENT)), file)


def _encode(value: Any, file: zipfile.ZipFile, place: str) -> Any:
    if isinstance(value, Hist):
        uhi.io.zip.write(file, f"data{place}", value)
        return {_KIND: "hist", "at": f"data{place}"}
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        with file.open(f"data{place}.npy", "w") as stream:
            np.save(stream, value, allow_pickle=False)
        return {_KIND: "array", "at": f"data{place}.npy"}
    if isinstance(value, column_accumulator):
        return {_KIND: "column", "of": _encode(value.value, file, place)}
    if isinstance(value, Mapping) and _KIND not in value and all(map(_is_text, value)):
        return {key: _encode(item, file, f"{place}/{key}") for key, item in value.items()}
    if isinstance(value, set | frozenset):
        items = sorted(value, key=repr)
        return {_KIND: "set", "of": [_encode(item, file, place) for item in items]}
    if isinstance(value, list):
        return [_encode(item, file, f"{place}/{i}") for i, item in enumerate(value)]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, str | int | float):
        return value
    msg = f"the processor's output cannot be saved: {place.strip('/')} is a {type(value).__name__}"
    raise OutputError(msg)


def _decode(value: Any, file: zipfile.ZipFile) -> Any:
    if isinstance(value, list):
        return [_decode(item, file) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(_KIND)
    if kind == "hist":
        return Hist(uhi.io.zip.read(file, value["at"]))
    if kind == "array":
        with file.open(value["at"]) as stream:
            return np.load(stream, allow_pickle=False)
    if kind == "column":
        return column_accumulator(_decode(value["of"], file))
    if kind == "set":
        return set(_decode(value["of"], file))
    return {key: _decode(item, file) for key, item in value.items()}


def _is_text(key: Any) -> bool:
    return isinstance(key, str)
