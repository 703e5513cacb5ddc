"""Short fingerprints of texts and files."""

from __future__ import annotations

import hashlib


def short_digest(content: str | bytes) -> str:
    """16 hexadecimal digits of its SHA-256: the same digest is the same content."""
    raw = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(raw).hexdigest()[:16]
