"""Addresses of files as they may be shown: without passwords and tokens, in characters that exist."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from analysis.common.files import short_digest

_ADDRESS = re.compile(r"(?<=://)[^\s\"'<>]+")
_PASSWORD = re.compile(r"^([^/:@]*):[^/?#]+@")
_LONG_USER = re.compile(r"^[^/:@?#]{20,}@")
"""A name as long as this is a token."""
_VALUE = re.compile(r"([?&#;]([\w.%~-]+)=)[^&#;,)\]]+")
_PLAIN = {
    "dataset", "dl", "download", "file", "filename", "files", "format", "id", "n", "name", "part",
    "path", "raw", "run", "svcclass", "tried", "triedrc", "version", "versionid",
}  # fmt: skip
"""Parameters of an address that are no secret. Of others nobody knows: servers call theirs as they like
(`sig`, `code`, `X-Amz-Signature`, `st`).
"""
_TOKEN = re.compile(
    r"([?&][\w.-]*(?:auth|bearer|credential|jwt|key|passw|pwd|sas|secret|sig|signature|token)[\w.-]*=)"
    r"[^&#\s\"',]+",
    re.IGNORECASE,
)
"""Where no whole address is there, as in the name of a file below a server."""


def shown(text: str) -> str:
    """Return the text with `***` for the passwords and tokens of addresses in it.

    Bytes that are no UTF-8, as in names of files of older systems, are escaped: `r\\xe9sultats`.
    """
    masked = _TOKEN.sub(r"\1***", _ADDRESS.sub(lambda found: _without_secrets(found[0]), text))
    return masked.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def shown_apart(addresses: Iterable[str]) -> dict[str, str]:
    """Return each address with what is shown of it; a digest is added where that is the same of several.

    What has no scheme is a file here, and shown as it is.
    """
    known = {address: shown(address) if "://" in address else address for address in addresses}
    times = Counter(known.values())
    return {
        address: words if times[words] == 1 else f"{words}#{short_digest(address)}"
        for address, words in known.items()
    }


def _without_secrets(address: str) -> str:
    address = _LONG_USER.sub("***@", _PASSWORD.sub(r"\1:***@", address))
    return _VALUE.sub(
        lambda found: found[0] if found[2].casefold() in _PLAIN else f"{found[1]}***", address
    )
