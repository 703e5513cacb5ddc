"""Files that stay open from one chunk to the next, and what else is not public of coffea and uproot.

coffea opens a file for every chunk and closes it after. uproot keeps the tree that it has read from a
file for as long as that is open, and to read one with hundreds of branches is most of the time that
opening takes. So here a file is closed only when its process opens another one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import suppress
from functools import cached_property
from typing import Any, ClassVar, Self

import uproot
from isal import isal_zlib  # noqa: F401 - uproot finds it in the package only once it is imported
from uproot.source.chunk import Source
from uproot.source.fsspec import FSSpecSource

from analysis.datasets.read_errors import ChunkError

HEADER_BYTES = 100
"""Bytes of a ROOT file with the identifier that ROOT gives to each file it writes, and its end."""

SEEN_IN = {"coffea": "2026.9.0", "uproot": "5.7.7"}
"""Versions that have the private names that are used here, and nowhere else."""


class _Raising:
    """File system that raises the errors of reading several parts of a file.

    fsspec (2026.9) returns them in the places of the bytes, where uproot does not look for them.
    """

    def __init__(self, files: Any) -> None:
        self._files = files

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    def cat_ranges(self, **parts: Any) -> Any:
        return self._files.cat_ranges(**parts, on_error="raise")

    async def _cat_ranges(self, **parts: Any) -> Any:
        return await self._files._cat_ranges(**parts, on_error="raise")


class KeptOpen(FSSpecSource):
    """Source of uproot that all users of a file in this process share.

    It is closed when another file is opened and nobody uses it, or when an error ended its use. A thread
    uses one file at a time: opening the next one ends the use of those before, also of a file that could
    not be opened to the end.
    """

    _sources: ClassVar[dict[Any, KeptOpen]] = {}
    _lock: ClassVar[Any] = threading.RLock()
    _threads: ClassVar[Any] = threading.local()
    trees: dict[str, Any]
    """Trees that were read from this file, by uproot's key."""
    _users: set[int]
    """Threads."""
    _counted: int
    _fs: Any
    replica: str | None = None
    """Address of the replica that is read, if it is not the catalogue's own server."""

    def __new__(cls, file_path: str, **options: Any) -> Self:
        key = (cls, file_path, repr(sorted(options.items(), key=str)))
        with cls._lock:
            me = threading.get_ident()
            for other, source in list(cls._sources.items()):
                if other != key:
                    source._users.discard(me)
                if other != key and not source._users:
                    source._close()
                    del cls._sources[other]
            if key not in cls._sources:
                _inflate_with_isal()
                source = super().__new__(cls)
                source._users, source._counted, source.trees = set(), 0, {}
                FSSpecSource.__init__(source, file_path, **options)
                cls._sources[key] = source
            cls._sources[key]._users.add(me)
            cls._threads.source = cls._sources[key]
            return cls._sources[key]

    @classmethod
    def of_thread(cls) -> KeptOpen | None:
        """Return what this thread has opened last; None if it is closed."""
        source = cls.last_of_thread()
        return None if source is None or source.closed else source

    @classmethod
    def last_of_thread(cls) -> KeptOpen | None:
        """Return what this thread has opened last, also if it is closed; None if there was nothing."""
        return getattr(cls._threads, "source", None)

    def __init__(self, file_path: str, **options: Any) -> None:
        """Do nothing: the source is open already."""

    def _open(self) -> None:
        super()._open()
        self._fs = _Raising(self._fs)

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        with self._lock:
            self._users.discard(threading.get_ident())
            if kind is not None:
                # Else the file system of XRootD gives the dead connection's handle to who opens it anew.
                with suppress(Exception):
                    self._fs.invalidate_cache(self._file_path)
                self._close()
                for key in [key for key, source in self._sources.items() if source is self]:
                    del self._sources[key]

    def close(self) -> None:
        """Do nothing: uproot calls this once more some time after a file's `with` has ended."""

    def _close(self) -> None:
        super().__exit__(None, None, None)

    def read(self, start: int, stop: int) -> bytes:
        """Return bytes of the file, as many as the server gives."""
        content: bytes = self._fs.cat_file(self._file_path, start=start, end=stop)
        return content

    @property
    def num_requested_bytes(self) -> int:
        """Number of bytes since the last request for it: the chunks of a file add it up."""
        new = int(self._num_requested_bytes - self._counted)
        self._counted = int(self._num_requested_bytes)
        return new


class _Typenames(Mapping[str, str]):
    """Types of the branches of a tree, found when they are asked for: coffea asks for those of every tree,
    and few of its schemas read them.
    """

    def __init__(self, find: Callable[[], Mapping[str, str]]) -> None:
        self._find = find

    @cached_property
    def _found(self) -> Mapping[str, str]:
        return self._find()

    def __getitem__(self, branch: str) -> str:
        return self._found[branch]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


class _Trees(MutableMapping[str, Any]):
    """The trees of the file that a thread has open; pickled, it stands for those of another process.

    uproot knows a tree by the identifier in its file's header, which is not always the file's alone:
    programs that began at the same moment wrote equal ones, and a copy that is changed keeps it.
    """

    @property
    def _own(self) -> dict[str, Any]:
        source = KeptOpen.of_thread()
        return {} if source is None else source.trees

    def __getitem__(self, key: str) -> Any:
        return self._own[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if hasattr(value, "typenames"):
            types = _Typenames(value.typenames)
            value.typenames = lambda: types
        self._own[key] = value

    def __delitem__(self, key: str) -> None:
        del self._own[key]

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._own))

    def __len__(self) -> int:
        return len(self._own)

    def __reduce__(self) -> Any:
        return _trees, ()


_TREES = _Trees()


def _trees() -> _Trees:
    return _TREES


def _inflate_with_isal() -> None:
    """Let uproot decompress ZLIB by ISA-L, to the same bytes in 0.6 of the time.

    `uproot.ZLIB.library` (5.7.7) is of compression alone, which stays as it is: files are written as before.
    """
    uproot.compression._decompress_ZLIB.library = "isal"


class OfCollections:
    """Filter of uproot for the names of branches: those of the collections of some branches, with counters.

    A form of all the branches takes as long to make, for each chunk, as 50,000 events to process. With `only`,
    it is those branches alone, and their counters.
    """

    def __init__(self, branches: Iterable[str], *, only: bool = False) -> None:
        names = frozenset(branches)
        self._collections = frozenset(name.partition("_")[0] for name in names)
        self._named = names | {f"n{name}" for name in self._collections}
        self._only = only

    def __call__(self, branch: str) -> bool:
        if branch in self._named:
            return True
        return not self._only and branch.partition("_")[0] in self._collections


def entries(source: KeptOpen, address: str, tree: str) -> int:
    """Return the number of entries of a tree or RNTuple in a file that is open."""

    class Given(Source):
        def __new__(cls, *_: object, **__: object) -> Any:
            return source

    file = uproot.open({address: None}, handler=Given, **CACHES)
    return int(file[tree].num_entries)


CACHES = {"object_cache": _TREES, "array_cache": None}
"""Options of `uproot.open`. No column is read twice in a chunk, so that none is kept."""


def tree_of(events: Any) -> Any:
    """Return the tree that coffea has made the events of.

    Raises ChunkError if it is not of the file that the chunk is of.
    """
    told = events.metadata
    file = _file(events)
    tree = file[told["treename"]]
    if tree.file.source is not file.file.source:
        msg = f"events of another file were read: {tree.file.file_path}"
        raise ChunkError(msg)
    return tree


def header_of(events: Any) -> bytes:
    """Return the first bytes of the file of the events."""
    content: bytes = _file(events).file.begin_chunk.raw_data[:HEADER_BYTES].tobytes()
    return content


def loaded_branches(events: Any) -> dict[str, Any]:
    """Return the branches that coffea has read before anything asked for them."""
    mapping = events.attrs["@events_factory"]._mapping
    part = slice(mapping._start, mapping._stop)
    return {name: array[part] for name, array in (mapping.preloaded_arrays or {}).items()}


def _file(events: Any) -> Any:
    return events.attrs["@events_factory"].file_handle
