"""Answers of web servers: the part of the file that was asked for, or an error that says what it is."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from analysis.datasets.read_errors import RemoteContentError

if TYPE_CHECKING:
    from aiohttp import ClientResponse, TraceConfig

_LOOPBACK = re.compile(
    r"^https?://(?:[^/@]*@)?(?:localhost|127(?:\.\d+){3}|\[(?:::|(?:0+:){7})0*1\])(?:[:/]|$)"
)
_ASKED = re.compile(r"bytes=(\d+)-\d+")
_GIVEN = re.compile(r"bytes (\d+)-(\d+)")


def options(address: str, timeout_s: float) -> dict[str, Any]:
    """Return options of fsspec's file system for an address."""
    from aiohttp import ClientTimeout

    return {
        "timeout": ClientTimeout(sock_connect=timeout_s, sock_read=timeout_s),
        "client_kwargs": {
            # The proxy of the environment, which is not for this machine.
            "trust_env": _LOOPBACK.match(address) is None,
            # Servers that compress send no parts of a file.
            "headers": {"Accept-Encoding": "identity"},
            "trace_configs": [_checked()],
        },
    }


@cache  # the file systems that fsspec keeps are known by their options
def _checked() -> TraceConfig:
    from aiohttp import TraceConfig

    async def check(_session: Any, _context: Any, answered: Any) -> None:
        asked = _ASKED.fullmatch(answered.headers.get("Range", ""))
        if asked is not None and answered.response.status < 300:
            try:
                await _require_part(answered.response, int(asked[1]))
            except BaseException:
                answered.response.close()
                raise

    config = TraceConfig()
    config.on_request_end.append(check)
    return config


async def _require_part(response: ClientResponse, start: int) -> None:
    """Raise RemoteContentError if the answer is not the part of a file that begins at `start`."""
    if response.status != 206:
        require_root(await response.content.read(16))
        msg = "the server does not send ranges (parts) of a file: --cache copies it whole"
        raise RemoteContentError(msg)
    if (coding := response.headers.get("Content-Encoding", "identity")) != "identity":
        msg = f"the server compresses the ranges (parts) of a file ({coding}): --cache copies it whole"
        raise RemoteContentError(msg)
    given = _GIVEN.match(response.headers.get("Content-Range", ""))
    if given is not None and int(given[1]) != start:
        msg = f"the server sent the bytes from {given[1]} on where those from {start} on were asked for"
        raise RemoteContentError(msg)


def require_root(header: bytes) -> None:
    """Raise RemoteContentError for the first bytes of what is no ROOT file."""
    if not header.startswith(b"root"):
        what = f"begins with {header[:16]!r}" if header else "it is empty"
        msg = f"not a ROOT file: {what}"
        raise RemoteContentError(msg)
