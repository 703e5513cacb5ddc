"""Which errors are worth another try."""

from __future__ import annotations

import errno
import ssl
import zlib
from types import SimpleNamespace
from typing import Any

import pytest
import uproot
from fsspec.exceptions import FSTimeoutError

from analysis.datasets.read_errors import ChunkError, describe, is_transient

aiohttp = pytest.importorskip("aiohttp", reason="the extra 'http' is not installed")

NOT_FOUND = "[ERROR] Server responded with an error: [3011] Unable to open /x.root; no such file"
BUSY = "[ERROR] Server responded with an error: [3012] Internal timeout"


def status(code: int) -> Any:
    request: Any = SimpleNamespace(real_url="https://host/a.root")
    return aiohttp.ClientResponseError(request, (), status=code)


def certificate() -> Exception:
    host: Any = SimpleNamespace(host="h", port=443, is_ssl=True, ssl=True)
    unknown = ssl.SSLCertVerificationError(1, "self-signed certificate")
    return aiohttp.ClientConnectorCertificateError(host, unknown)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (ConnectionResetError("gone"), True),
        (TimeoutError("late"), True),
        (MemoryError(), True),
        (ValueError("I/O operation on closed file"), True),
        (ValueError("not a number"), False),
        (aiohttp.InvalidURL("nonsense"), False),
        (certificate(), False),
        (OSError("File did not open properly: [ERROR] Operation expired"), True),
        (OSError("File did not open properly: [FATAL] Connection error"), True),
        (OSError(f"File did not open properly: {BUSY}"), True),
        (OSError(f"File did not open properly: {NOT_FOUND}"), False),
        (OSError("[ERROR] Server responded with an error: [3010] permission denied"), False),
        (OSError(errno.ESTALE, "stale file handle"), True),
        (OSError(errno.EIO, "input/output error"), False),
        (OSError("expected Chunk of length 10, received 5 bytes"), False),
        (FileNotFoundError("no such file"), False),
        (PermissionError("no"), False),
        (aiohttp.ServerDisconnectedError(), True),
        (status(503), True),
        (status(429), True),
        (status(403), False),
        (uproot.exceptions.KeyInFileError("events", keys=[]), False),
        (zlib.error("incorrect header"), False),
        (ChunkError("400 events in the file, 399 in the catalogue"), False),
        (KeyError("jet"), False),
        (RuntimeError("a defect"), False),
    ],
)
def test_only_what_may_pass(error: Exception, transient: bool) -> None:
    assert is_transient(error) is transient
    # As coffea hands it on.
    wrapped = Exception("Failed processing file")
    wrapped.__cause__ = error
    assert is_transient(wrapped) is transient
    assert "\n" not in describe(wrapped)
    assert describe(wrapped) == describe(error)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (FSTimeoutError(), "no answer of the server in time (--timeout)"),
        (TimeoutError(), "no answer in time"),
        (MemoryError(), "out of memory"),
        (RuntimeError(), "RuntimeError"),
        (ValueError(" \n"), "ValueError"),
        (TimeoutError("late"), "TimeoutError: late"),
        (
            aiohttp.TooManyRedirects(status(302).request_info, ()),
            "the server redirects in a circle",
        ),
    ],
)
def test_an_error_without_words_has_a_reason(error: Exception, reason: str) -> None:
    assert describe(error) == reason
