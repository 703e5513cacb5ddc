"""Files on servers: what reading them needs, replicas, retries, and a local cache.

uproot is told to open files with `RemoteSource`, in each process that reads; an address stays the
catalogue's in everything that is written of a run.
"""

from __future__ import annotations

import errno
import logging
import os
import random
import re
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import fsspec
from uproot.source.chunk import Source

from analysis.common.errors import ConfigError, OutputError
from analysis.common.extras import require_extra
from analysis.common.files import atomic, short_digest, writable_folder
from analysis.datasets import web
from analysis.datasets.addresses import shown
from analysis.datasets.open_files import CACHES, HEADER_BYTES, KeptOpen, entries
from analysis.datasets.read_errors import (
    ChunkError,
    RemoteContentError,
    describe,
    is_content,
    retry_after_s,
)
from analysis.datasets.web import require_root

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_EXTRAS = {"root": "xrootd", "http": "http", "https": "http"}
"""Scheme of an address -> extra of this package that reads it."""

_XROOTD_DEFAULTS = {
    "XRD_CONNECTIONWINDOW": "10",
    "XRD_CONNECTIONRETRY": "2",
    "XRD_TIMEOUTRESOLUTION": "1",
    "XRD_STREAMERRORWINDOW": "5",
}
"""Seconds, tries, seconds, seconds. The client's own 120 s and 5 tries make a dead server take
minutes, its error window of 1800 s makes one that came back stay dead."""

_REMOTE = re.compile(r"^(?:root|https?)://[^/]+/+(?P<path>.+)$")
_REPLICA = re.compile(r"^(?:(?:root|https?)://[^/]+|/).*$")
_LARGE = 1_000_000
"""Offset of the version of ROOT in files with places of 64 bits."""
_BLOCK_BYTES = 16 * 2**20
_FULL = {errno.EDQUOT, errno.EFBIG, errno.ENOSPC}
_THREADS = 16
_AVOIDED_S = 600.0

_failed_at: dict[str, float] = {}
"""Replica's server -> when it last failed in this process; tried last for a while."""


@dataclass(frozen=True)
class Access:
    """Settings of how files on servers are opened.

    Raises ConfigError for a replica without a place and for no attempts, OutputError for a cache that
    cannot be written to.
    """

    replicas: tuple[str, ...] = ()
    """Servers (root and https prefixes) or folders that have the files too, tried in
    turn instead of the catalogue's own server, which is the last."""
    cache: Path | None = None
    """Folder for whole files, copied there when first read."""
    timeout_s: float = 60.0
    """Longest time of one request to a server; over HTTP, of silence."""
    attempts: int = 3
    """Rounds over the replicas before a file counts as not to be opened."""
    backoff_s: float = 1.0
    """Time before the second round; twice as long before each further one."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Address as it is shown -> with its password or token, where it has one."""

    def __post_init__(self) -> None:
        for replica in self.replicas:
            if not _REPLICA.match(replica):
                msg = f"replica {replica!r}: expected root://HOST//, https://HOST/PATH or /FOLDER"
                raise ConfigError(msg)
        if self.attempts < 1:
            msg = f"the number of attempts to open a file must be at least 1, got {self.attempts}"
            raise ConfigError(msg)
        if self.cache is not None:
            writable_folder(self.cache)

    def options(
        self,
        refused: Mapping[str, str] | None = None,
        expected: Mapping[str, tuple[str, int]] | None = None,
    ) -> dict[str, Any]:
        """Return options of `uproot.open`.

        `refused`: address -> why the file is not to be read (ChunkError); `expected`: address -> tree
        and its number of entries, that a replica must have.
        """
        own = {"access": self, "refused": refused or {}, "expected": expected or {}}
        return CACHES | {"handler": RemoteSource} | own

    def addresses(self, url: str) -> list[str]:
        """Return the addresses at which the file may be read, the first choice first."""
        address = self.secrets.get(url, url)
        own = _REMOTE.match(address)
        if own is None:
            return [address]
        # A token is for its own server alone.
        path = own["path"].partition("?")[0] if url in self.secrets else own["path"]
        replicas = [_joined(prefix, path) for prefix in self.replicas]
        return list(dict.fromkeys([*replicas, address]))


def _joined(prefix: str, path: str) -> str:
    return prefix.rstrip("/") + ("//" if prefix.startswith("root://") else "/") + path


class RemoteSource(Source):
    """Class of sources for uproot, which makes sources of another class.

    So one opening serves for finding the replica and for reading.
    """

    def __new__(
        cls,
        file_path: str,
        access: Access,
        refused: Mapping[str, str],
        expected: Mapping[str, tuple[str, int]],
        **options: Any,
    ) -> Any:
        if file_path in refused:
            raise ChunkError(refused[file_path])
        options.pop("timeout", None)  # coffea always gives one; it is of `access` here
        if _REMOTE.match(file_path) is None:
            _require_file(file_path)
            return KeptOpen(file_path, **options)
        if access.cache is not None:
            try:
                return KeptOpen(str(_cached(file_path, access)), **options)
            except OutputError as error:
                logger.warning("%s: read without the cache: %s", file_path, error)
        own = access.secrets.get(file_path, file_path)

        def opened(address: str) -> KeptOpen:
            wanted = expected.get(file_path) if address != own else None
            source = _opened(address, access, options, wanted)
            source.replica = address if address != own else None
            return source

        return _from_any(file_path, access, opened)


def _require_file(path: str) -> None:
    """Raise ChunkError for a folder, and for a pipe, which would be waited for for ever."""
    if Path(path).exists() and not Path(path).is_file():
        msg = "no file, but a folder" if Path(path).is_dir() else "no file, but a pipe or a device"
        raise ChunkError(msg)


def _opened(
    url: str, access: Access, options: dict[str, Any], wanted: tuple[str, int] | None = None
) -> KeptOpen:
    """Open the file at an address. Raises RemoteContentError for another file, or none."""
    source = KeptOpen(url, **options, **_storage_options(url, access))
    try:
        # It is opened by the first read only.
        header = source.read(0, HEADER_BYTES)
        require_root(header)
        _require_end(header, source)
        if wanted is not None and (found := entries(source, url, wanted[0])) != wanted[1]:
            msg = f"another file: {found} events, {wanted[1]} in the catalogue"
            raise RemoteContentError(msg)
    except BaseException as error:
        source.__exit__(type(error), error, error.__traceback__)
        raise
    return source


def _require_end(header: bytes, source: KeptOpen) -> None:
    """Raise RemoteContentError for a file that is shorter than its header says."""
    size, last = None, b""
    with suppress(Exception):  # not every server says it
        size = source.num_bytes
    end = _end(header)
    if size is not None and size < end:
        with suppress(Exception):  # some say another one
            last = source.read(end - 1, end)
        if len(last) != 1:
            raise _truncated(size, end)


def _end(header: bytes) -> int:
    """Return the size of a ROOT file, as its header says."""
    version, end, large = struct.unpack(">4xi4xiq", header[:24].ljust(24, b"\0"))
    return int(large if version >= _LARGE else end)


def _truncated(size: int, end: int) -> RemoteContentError:
    return RemoteContentError(f"truncated: {size} of {end} bytes are there")


def _storage_options(url: str, access: Access) -> dict[str, Any]:
    """Return options of the file system that fsspec has for the address."""
    if url.startswith("root://"):
        return {"timeout": max(1, round(access.timeout_s))}
    if url.startswith(("http://", "https://")):
        return web.options(url, access.timeout_s)
    return {}


def _from_any(url: str, access: Access, use: Callable[[str], _T]) -> _T:
    """Return what `use` gives for the first replica for which it does not fail.

    Raises what the last round raised: FileNotFoundError if no replica has the file.
    """
    addresses = access.addresses(url)
    dead = all(_avoided(address) for address in addresses)
    failures: dict[str, Exception] = {}
    for attempt in range(1 if dead else access.attempts):
        if attempt:
            if any(map(retry_after_s, failures.values())):
                break  # the run waits, and does other chunks meanwhile
            time.sleep(access.backoff_s * 2 ** (attempt - 1) * random.uniform(0.75, 1.25))
        failures = {}
        # A stable sort: of those that work, the first choice stays first.
        for address in sorted(addresses, key=_avoided):
            try:
                used = use(address)
            except OutputError:
                raise
            except Exception as error:  # noqa: BLE001 - recorded, whatever it is
                failures[address] = error
                _note(address, error, more=len(failures) < len(addresses))
            else:
                _failed_at.pop(_server(address), None)
                return used
        if all(_absent(error) or _is_content(error) for error in failures.values()):
            break
    raise _combined(failures)


def _note(address: str, error: Exception, *, more: bool) -> None:
    """Remember a failed server, unless it only lacks this file; log the next choice."""
    if not _absent(error):
        _failed_at[_server(address)] = time.monotonic()
    if more:
        logger.warning("%s: %s: trying the next replica", shown(address), describe(error))


def is_of_replica(error: Exception) -> bool:
    """Return whether this thread failed on the content of a replica, which is avoided from now on: the next
    try reads another one.
    """
    source = KeptOpen.last_of_thread()
    if source is None or source.replica is None or not is_content(error):
        return False
    _note(source.replica, error, more=True)
    return True


def _avoided(address: str) -> bool:
    failed = _failed_at.get(_server(address))
    return failed is not None and time.monotonic() - failed < _AVOIDED_S


def _server(address: str) -> str:
    """Return the server of an address; a folder is returned as it is."""
    return "/".join(shown(address).split("/", 3)[:3]) if "://" in address else address


def _absent(error: Exception) -> bool:
    """Return whether the server has no such file: XRootD's error 3011, HTTP's 404."""
    return isinstance(error, FileNotFoundError) or "[3011]" in str(error)


def _is_content(error: Exception) -> bool:
    return isinstance(error, RemoteContentError)


def _combined(failures: dict[str, Exception]) -> Exception:
    if len(failures) == 1:
        return next(iter(failures.values()))
    if asked := next((e for e in failures.values() if retry_after_s(e)), None):
        return asked
    kind: type[Exception] = OSError
    for found, test in ((FileNotFoundError, _absent), (RemoteContentError, _is_content)):
        if all(map(test, failures.values())):
            kind = found
    said = "; ".join(f"{_server(address)}: {describe(e)}" for address, e in failures.items())
    return kind(f"no replica can be read: {said}")


def _cached(url: str, access: Access) -> Path:
    """Return the local copy of a file, made if it is not there; other processes wait for it.

    Raises OutputError if it cannot be written, or what reading the file raises.
    """
    assert access.cache is not None
    path = _copy_of(url, access.cache)
    if not path.exists():
        with _locked(path.with_name(f".{path.name}.lock")):
            if not path.exists():
                _from_any(url, access, lambda replica: _copy(replica, path, access))
    return path


def _copy_of(url: str, cache: Path) -> Path:
    return cache / f"{short_digest(url)}-{url.rpartition('/')[2]}"


def _copy(url: str, path: Path, access: Access) -> None:
    files, remote_path = fsspec.core.url_to_fs(url, **_storage_options(url, access))
    try:
        with atomic(path) as temporary:
            if url.startswith("root://"):
                _copy_blocks(files, remote_path, temporary)
            else:
                _fetch(files, remote_path, temporary)
            _require_whole(temporary)
    except _UnreadableError as error:
        raise error.cause from error


def _fetch(files: Any, path: str, target: Path) -> None:
    """Copy a file in one answer: parts may be of two files, where the server replaces it in between."""
    try:
        files.get_file(path, str(target))
    except Exception as error:
        if getattr(error, "errno", None) in _FULL:
            raise
        raise _UnreadableError(error) from error


def _copy_blocks(files: Any, path: str, target: Path) -> None:
    """Copy a file of XRootD, whose client reads small pieces otherwise."""
    size = files.size(path)
    with target.open("wb") as output:
        for start in range(0, size, _BLOCK_BYTES):
            output.write(_block(files, path, start, min(start + _BLOCK_BYTES, size)))


def _require_whole(path: Path) -> None:
    """Raise RemoteContentError for a copy that is no whole ROOT file: no later run would ask anew."""
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    require_root(header)
    size = path.stat().st_size
    if size < (end := _end(header)):
        raise _truncated(size, end)


class _UnreadableError(Exception):
    """Error of the remote file; an OSError would count as one of the local file."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _block(files: Any, path: str, start: int, stop: int) -> bytes:
    try:
        content: bytes = files.cat_file(path, start=start, end=stop)
    except Exception as error:
        raise _UnreadableError(error) from error
    if len(content) != stop - start:
        msg = f"{len(content)} of {stop - start} bytes came at position {start}"
        raise _UnreadableError(OSError(msg))
    return content


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    import fcntl

    try:
        path.parent.mkdir(parents=True, exist_ok=True)  # a worker's machine may not have it
        file = path.open("w")
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror or error}"
        raise OutputError(msg) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def fingerprint(url: str, header: bytes) -> str:
    """Return a digest that tells a file from its replacement: header; of a local one also size and time.

    A damaged file and its repaired copy have the same header.
    """
    if "://" in url:
        return short_digest(header)
    status = Path(url).stat()
    # In whole seconds: of fractions not all machines that mount a file system have the same.
    return short_digest(header + f" {status.st_size} {int(status.st_mtime)}".encode())


def headers(urls: Iterable[str], access: Access) -> tuple[dict[str, str], dict[str, str]]:
    """Return fingerprints of the files as they are now; of others, why they are not known.

    Empty where there is no such file, and for a local one that cannot be read. Of a server that does
    not answer, no more than the first few files are asked for.
    """
    once = replace(access, attempts=1)
    unknown: dict[str, str] = {}

    def digest(url: str) -> str:
        try:
            return fingerprint(url, _header(url, once))
        except Exception as error:  # noqa: BLE001 - told, whatever it is
            if "://" in url and not _absent(error):
                unknown[url] = describe(error)
            return ""

    urls = list(urls)
    with ThreadPoolExecutor(_THREADS) as pool:
        found = dict(zip(urls, pool.map(digest, urls), strict=True))
    return {url: header for url, header in found.items() if url not in unknown}, unknown


def _header(url: str, access: Access) -> bytes:
    if access.cache is not None and (copy := _copy_of(url, access.cache)).exists():
        url = str(copy)
    _require_file(url)
    addresses = access.addresses(url)
    if all(map(_avoided, addresses)):
        msg = f"{', '.join(map(_server, addresses))}: no answer before"
        raise OSError(msg)

    def first_bytes(address: str) -> bytes:
        files, path = fsspec.core.url_to_fs(address, **_storage_options(address, access))
        # One of XRootD may have the file open still, as it was.
        files.invalidate_cache(path)
        content: bytes = files.cat_file(path, start=0, end=HEADER_BYTES)
        return content

    return _from_any(url, access, first_bytes)


def size(url: str) -> int | None:
    """Return the size of a file on a server in bytes; None if the server does not say."""
    files, path = fsspec.core.url_to_fs(url, **_storage_options(url, Access()))
    return cast("int | None", files.size(path))


def prepare(urls: Iterable[str]) -> None:
    """Prepare to read files on servers; local files need nothing.

    The client's settings are given by the environment, to be in force in worker processes too; what
    the user has set there stays. Raises ConfigError if a package that is needed is not installed.
    """
    schemes = {url.partition("://")[0] for url in urls if "://" in url}
    for scheme in sorted(schemes & _EXTRAS.keys()):
        require_extra(_EXTRAS[scheme], f"reading {scheme}://")
    if "root" in schemes:
        for name, value in _XROOTD_DEFAULTS.items():
            os.environ.setdefault(name, value)
