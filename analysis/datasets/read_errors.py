"""Reasons of failed chunks, each in one line, and whether another try is worth while."""

from __future__ import annotations

import errno
import lzma
import re
import time
import zlib
from email.utils import parsedate_to_datetime

import uproot
from isal.igzip_lib import IsalError

from analysis.common.errors import AnalysisError, DefinitionError
from analysis.datasets.addresses import shown

_LONGEST_WAIT_S = 600.0
MAX_LENGTH = 300
"""Characters of a reason; a deserialization error may quote pages of a file."""


_XROOTD = re.compile(r"\[(?:FATAL|ERROR)\] (.+)")
_XROOTD_STAYS = re.compile(r"\[30(?:00|01|02|06|10|11|13|15|16|18)\]")
"""Codes of XRootD for what stays so: a request that is not valid, not authorised, not found, no file."""
_NETWORK = {
    errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETRESET, errno.ENETUNREACH,
    errno.EREMOTEIO, errno.ESTALE,
}  # fmt: skip


_DAMAGED: tuple[type[Exception], ...] = (
    uproot.deserialization.DeserializationError,
    zlib.error,
    IsalError,  # type: ignore[assignment] # typed as one of its own instances
)
"""Exceptions for bytes that are not what a file says they are."""

_WITHOUT_WORDS = {
    "FSTimeoutError": "no answer of the server in time (--timeout)",
    "TimeoutError": "no answer in time",
    "MemoryError": "out of memory",
}
"""Words for exceptions that may have none themselves."""
_REDIRECTS = "TooManyRedirects"
"""Exception of aiohttp, whose words are those of the last answer."""


class ChunkError(AnalysisError):
    """Content of a file that is not what the catalogue or the analysis needs."""


class RemoteContentError(ChunkError):
    """Answer of a server that is not the file."""


def describe(error: BaseException) -> str:
    """Describe the cause of a failed chunk on one line, without coffea's wrapping and the file's name."""
    cause = _root(error)
    if isinstance(cause, FileNotFoundError):
        return "no such file"
    if isinstance(cause, uproot.exceptions.KeyInFileError):
        keys = dict.fromkeys(str(key).split(";")[0] for key in cause.keys or [])
        return f"no object {cause.key!r}, there: {', '.join(keys) or 'nothing'}"
    if type(cause).__name__ == _REDIRECTS:
        return "the server redirects in a circle"
    text = _line(cause)
    if not text:
        return _WITHOUT_WORDS.get(type(cause).__name__, type(cause).__name__)
    if _is_short(cause):
        return f"truncated: {text}"
    if (from_server := _XROOTD.search(text)) is not None:
        return f"XRootD server: {from_server[1]}"
    if isinstance(cause, _DAMAGED):
        return f"damaged: {text}"
    if isinstance(cause, AnalysisError | LookupError | AttributeError):
        return text
    return f"{type(cause).__name__}: {text}"


def is_transient(error: BaseException) -> bool:
    """Return whether another try may succeed: the network, a server, a lack of memory.

    A file that is missing, damaged or not as the catalogue says stays so.
    """
    cause = _root(error)
    if isinstance(cause, TimeoutError | ConnectionError | InterruptedError | MemoryError):
        return True
    if isinstance(cause, ValueError):
        # What the XRootD client says of a file whose connection is gone. Others are addresses that
        # cannot be, and certificates that nobody here knows.
        return "I/O operation on closed file" in str(cause)
    if type(cause).__module__.partition(".")[0] == "aiohttp":
        status = getattr(cause, "status", None)
        return not isinstance(status, int) or status >= 500 or status in (408, 429)
    if _is_short(cause):
        return "://" in str(cause)  # an answer that was cut
    if isinstance(cause, OSError):
        from_server = _XROOTD.search(str(cause))
        if from_server is not None:
            return _XROOTD_STAYS.search(from_server[1]) is None
        return cause.errno in _NETWORK
    return False


def is_content(error: BaseException) -> bool:
    """Return whether the bytes of a file are damaged, or not what was expected of it."""
    cause = _root(error)
    kinds = (*_DAMAGED, lzma.LZMAError, ChunkError, uproot.exceptions.KeyInFileError)
    return isinstance(cause, kinds) or _is_short(cause)


def is_definition(error: BaseException) -> bool:
    """Return whether a part of the analysis failed, and not the reading of the file."""
    return isinstance(_root(error), DefinitionError)


def retry_after_s(error: BaseException) -> float:
    """Return how many seconds the server asks to wait before the next try, ten minutes at most."""
    headers = getattr(_root(error), "headers", None) or {}
    said = str(headers.get("Retry-After", "0"))
    if said.isdecimal():
        return min(float(said), _LONGEST_WAIT_S)
    try:
        left = parsedate_to_datetime(said).timestamp() - time.time()
    except ValueError:
        return 0.0
    return max(0.0, min(left, _LONGEST_WAIT_S))


def _is_short(cause: BaseException) -> bool:
    """Return whether fewer bytes came than the file says it has."""
    return isinstance(cause, OSError) and str(cause).lstrip().startswith("expected Chunk")


def _root(error: BaseException) -> BaseException:
    """Return the first cause: coffea wraps exceptions of a chunk in a plain Exception."""
    while type(error) is Exception and error.__cause__ is not None:
        error = error.__cause__
    return error


def _line(error: BaseException) -> str:
    text = " ".join(shown(str(error)).split())
    for end in (" in file ", " from FSSpecSource", " from MemmapSource"):
        text = text.partition(end)[0]
    return text if len(text) <= MAX_LENGTH else text[: MAX_LENGTH - 3] + "..."
