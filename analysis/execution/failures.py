"""Why a chunk failed, in one line."""

from __future__ import annotations

import re
import zlib

import uproot

from analysis.errors import AnalysisError

MAX_LENGTH = 300
"""Characters of a reason; a deserialization error may quote pages of a file."""


_XROOTD = re.compile(r"\[(?:FATAL|ERROR)\] (.+)")


class ChunkError(AnalysisError):
    """What was found in a file is not what the catalogue or the analysis needs."""


def describe(error: BaseException) -> str:
    """The cause of a failed chunk on one line, without coffea's wrapping and the file's name."""
    cause = _root(error)
    if isinstance(cause, FileNotFoundError):
        return "no such file"
    if isinstance(cause, uproot.exceptions.KeyInFileError):
        keys = dict.fromkeys(str(key).split(";")[0] for key in cause.keys or [])
        return f"no object {cause.key!r}, there: {', '.join(keys) or 'nothing'}"
    text = _line(cause)
    if isinstance(cause, OSError) and text.startswith("expected Chunk"):
        return f"truncated: {text}"
    if (from_server := _XROOTD.search(text)) is not None:
        return f"XRootD server: {from_server[1]}"
    if isinstance(cause, uproot.deserialization.DeserializationError | zlib.error):
        return f"damaged: {text}"
    if isinstance(cause, AnalysisError | LookupError | AttributeError):
        return text
    return f"{type(cause).__name__}: {text}"


def _root(error: BaseException) -> BaseException:
    """The first cause: coffea wraps what a chunk raises in a plain Exception."""
    while type(error) is Exception and error.__cause__ is not None:
        error = error.__cause__
    return error


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    for end in (" in file ", " from FSSpecSource", " from MemmapSource"):
        text = text.partition(end)[0]
    return text if len(text) <= MAX_LENGTH else text[: MAX_LENGTH - 3] + "..."
