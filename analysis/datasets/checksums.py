"""Size and Adler-32 of files, as the Open Data portal publishes them: is a file what it was?

A flipped bit in a basket that was compressed with zstd, or not at all, is read without an error, and
gives wrong numbers.
"""

from __future__ import annotations

import json
import logging
import os
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from analysis.common.errors import CatalogueError, OutputError
from analysis.common.files import write_json
from analysis.datasets.catalogue import Checksum, NtupleFile

logger = logging.getLogger(__name__)

THREADS = 4
_BLOCK_BYTES = 4 * 2**20


def checksum(path: Path | str) -> Checksum:
    """Compute the checksum of a file on this machine, read once from its beginning to its end; raises OSError."""
    size, value = 0, 1
    with Path(path).open("rb", buffering=0) as file:
        while block := file.read(_BLOCK_BYTES):
            value = zlib.adler32(block, value)
            size += len(block)
    return Checksum(size=size, adler32=f"{value:08x}")


def difference(found: Checksum, wanted: Checksum) -> str | None:
    """Say in one line what differs from the catalogue's checksum; None if nothing does."""
    if found.size != wanted.size:
        return f"damaged: {found.size} bytes, {wanted.size} in the catalogue"
    if found.adler32 != wanted.adler32:
        return f"damaged: adler32 {found.adler32}, {wanted.adler32} in the catalogue"
    return None


class Identities:
    """Checksums of files that were read before, for as long as size, time and inode are the same.

    Kept in the user's cache folder; lost or damaged, or for a user without one, the files are read again.
    """

    def __init__(self, path: Path | None = None) -> None:
        folder = _cache_folder()
        self._path = path if folder is None or path is not None else folder / "checksums.json"
        self._known: dict[str, Any] = {}
        if self._path is None:
            return
        try:
            known = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if isinstance(known, dict):
            self._known = known

    def checksum(self, path: str) -> Checksum:
        """Give the checksum of a file, from its content or from memory; raises OSError."""
        status = Path(path).stat()
        identity = [status.st_size, status.st_mtime_ns, status.st_ino]
        match self._known.get(path):
            case [remembered, str(adler32)] if remembered == identity:
                return Checksum(size=status.st_size, adler32=adler32)
        found = checksum(path)
        self._known[path] = [identity, found.adler32]
        return found

    def save(self) -> None:
        if self._path is None:
            return
        try:
            write_json(self._path, self._known)
        except OutputError as error:
            logger.debug("checksums are not remembered: %s", error)


def _cache_folder() -> Path | None:
    """Find the user's cache folder; None for a user without a home, as in a container."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(base or Path.home() / ".cache") / "ttbar-opendata"
    except RuntimeError:
        return None


def damaged(files: Iterable[NtupleFile], identities: Identities | None = None) -> dict[str, str]:
    """Find the local files that differ from their checksums: address -> what is wrong.

    Files on servers are not read for it, and are counted in a warning, as those without a checksum are.
    Raises CatalogueError if there is nothing to hold any file against.
    """
    files = list(files)
    local = [file for file in files if file.is_local]
    known = [file for file in local if file.checksum is not None]
    if not known:
        msg = (
            "nothing to verify: the catalogue has no checksum of a local file "
            "(catalogue build --checksums writes them)"
        )
        raise CatalogueError(msg)
    for n, why in (
        (len(files) - len(local), "on servers"),
        (len(local) - len(known), "no checksum"),
    ):
        if n:
            logger.warning("%d of %d files are not verified: %s", n, len(files), why)
    identities = identities or Identities()
    # Reading and Adler-32 leave Python's lock to others.
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda file: _damage(file, identities), known))
    identities.save()
    return {file.url: problem for file, problem in zip(known, found, strict=True) if problem}


def _damage(file: NtupleFile, identities: Identities) -> str | None:
    assert file.checksum is not None
    try:
        return difference(identities.checksum(file.url), file.checksum)
    except FileNotFoundError:
        return "no such file"
    except OSError as error:
        return f"OSError: {error.strerror or error}"
