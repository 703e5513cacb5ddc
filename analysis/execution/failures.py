"""Why a chunk failed, in one line."""

from __future__ import annotations

import zlib

import uproot

from analysis.errors import AnalysisError


class ChunkError(AnalysisError):
    """What was found in a file is not what the catalogue or the analysis needs."""


def describe(error: BaseException) -> str:
    """The cause of a failed chunk, without coffea's wrapping, on one line."""
    cause = _root(error)
    if isinstance(cause, FileNotFoundError):
        return "no such file"
    if isinstance(cause, uproot.exceptions.KeyInFileError):
        return f"no object {cause.key!r} in the file: {_line(cause)}"
    if isinstance(cause, uproot.deserialization.DeserializationError | zlib.error):
        return f"damaged or not a ROOT file: {_line(cause)}"
    if isinstance(cause, ChunkError | LookupError | AttributeError):
        return _line(cause)
    return f"{type(cause).__name__}: {_line(cause)}"


def _root(error: BaseException) -> BaseException:
    """The first cause: coffea wraps what a chunk raises in a plain Exception."""
    while type(error) is Exception and error.__cause__ is not None:
        error = error.__cause__
    return error


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:297] + "..."
