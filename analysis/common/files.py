"""Writing results: a file is complete under its final name, or absent."""

from __future__ import annotations

import codecs
import hashlib
import json
import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from analysis.common.errors import OutputError

logger = logging.getLogger(__name__)

LOCK = ".running"
"""In a folder that a run writes to, as long as it does: who it is."""


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends without an error.

    The folder is made if needed. Raises OutputError where the system refuses to write (no permission,
    disk full).
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        make_folder(path.parent)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror or error}"
        raise OutputError(msg) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def read_text(path: Path | str) -> str:
    """Read a text in UTF-8, or as its byte order mark says, without the mark.

    Raises OSError, and UnicodeDecodeError for another encoding.
    """
    raw = Path(path).read_bytes()
    is_utf_16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return raw.decode("utf-16" if is_utf_16 else "utf-8-sig")


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8; what UTF-8 has no bytes for, as in some names of files, by its number."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, in lines."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def make_folder(path: Path) -> None:
    """Make the folder if needed; where it is a link, the one that the link leads to."""
    Path(os.path.realpath(path)).mkdir(parents=True, exist_ok=True)


def writable_folder(path: Path) -> Path:
    """Make the folder if needed, and make sure that files can be written there.

    Raises OutputError if not.
    """
    probe = path / f".probe.{os.getpid()}"
    try:
        make_folder(path)
        probe.touch()
        probe.unlink()
    except OSError as error:
        msg = f"cannot write to {path}: {error.strerror or error}"
        raise OutputError(msg) from error
    return path


@contextmanager
def sole_run(folder: Path) -> Iterator[None]:
    """Keep other runs out of the folder; the lock ends with the process, however it ends.

    The folder is made if needed, and removed again if nothing is in it at the end.
    Raises OutputError, naming the other, if one is in there, or if the folder cannot be written to.
    """
    path = folder / LOCK
    made = not folder.exists()
    try:
        make_folder(folder)
        lock = _locked(path)
    except BlockingIOError as error:
        msg = f"{folder}: another run writes there ({_holder(path)}): wait for it, or name another folder"
        raise OutputError(msg) from error
    except OSError as error:
        msg = f"cannot write to {folder}: {error.strerror or error}"
        raise OutputError(msg) from error
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()
            if made:
                folder.rmdir()
        os.close(lock)


def _locked(path: Path) -> int:
    """Descriptor of the file, locked; raises BlockingIOError if another process has it."""
    import fcntl

    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise
        except OSError as error:  # a file system without locks
            logger.warning("%s cannot be locked: %s", path.parent, error.strerror)
            return lock
        if _is_at(path, lock):
            with suppress(OSError):
                os.truncate(lock, 0)
                os.write(lock, f"process {os.getpid()} on {platform.node()}".encode())
            return lock
        os.close(lock)


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the file is still there; who had it before may have removed it since it was opened."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _holder(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8") or "another process"
    return "another process"


def file_digest(path: Path) -> str:
    """Compute the short digest of a file; raises OutputError where it cannot be read."""
    try:
        return short_digest(path.read_bytes())
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror or error}"
        raise OutputError(msg) from error


def short_digest(content: str | bytes) -> str:
    """Return 16 hexadecimal digits of the SHA-256: the same digest is the same content."""
    raw = content.encode(errors="surrogatepass") if isinstance(content, str) else content
    return hashlib.sha256(raw).hexdigest()[:16]
