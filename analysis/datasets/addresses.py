"""Addresses of files as they may be shown: without passwords and tokens, in characters that exist."""

from __future__ import annotations

import re

_PASSWORD = re.compile(r"(?<=://)([^/:@\s\"]*):[^/@\s\"]+@")
_TOKEN = re.compile(
    r"([?&][\w.-]*(?:auth|bearer|credential|jwt|key|passw|pwd|sas|secret|sig|signature|token)[\w.-]*=)"
    r"[^&#\s\"',]+",
    re.IGNORECASE,
)


def shown(text: str) -> str:
    """Return the text with `***` for the passwords and tokens of addresses in it.

    Bytes that are no UTF-8, as in names of files of older systems, are escaped: `r\\xe9sultats`.
    """
    masked = _TOKEN.sub(r"\1***", _PASSWORD.sub(r"\1:***@", text))
    return masked.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
