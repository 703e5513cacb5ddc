"""Files that stay open from one chunk to the next.

coffea opens a file for every chunk and closes it after. uproot keeps the tree that it has read from a
file for as long as that is open, and to read one with hundreds of branches is most of the time that
opening takes. So here a file is closed only when its process opens another one.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any, ClassVar, Self

import uproot
from uproot.source.fsspec import FSSpecSource

MAX_TREES = 4
"""In a process at a time; only those of open files are used."""


class KeptOpen(FSSpecSource):
    """One source for all who open the same file in this process; uproot's own in all else.

    It is closed when another file is opened and nobody uses it, or when an error ended its use. A thread
    uses one file at a time: opening the next one ends the use of those before, also of a file that could
    not be opened to the end. A file that was written anew in between is read anew: uproot knows the trees
    by the file's identifier.
    """

    _sources: ClassVar[dict[Any, KeptOpen]] = {}
    _lock: ClassVar[Any] = threading.RLock()
    _users: set[int]
    """Threads."""
    _counted: int

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
                source = super().__new__(cls)
                source._users, source._counted = set(), 0
                FSSpecSource.__init__(source, file_path, **options)
                cls._sources[key] = source
            cls._sources[key]._users.add(me)
            return cls._sources[key]

    def __init__(self, file_path: str, **options: Any) -> None:
        """Nothing: that it is open already is the point."""

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
        """Nothing: uproot calls it once more for a file whose `with` has ended, some time after."""

    def _close(self) -> None:
        super().__exit__(None, None, None)

    @property
    def num_requested_bytes(self) -> int:
        """Since it was last asked for: the chunks of a file add it up."""
        new = int(self._num_requested_bytes - self._counted)
        self._counted = int(self._num_requested_bytes)
        return new


class _Trees(uproot.cache.LRUCache):
    """The trees of this process: pickled, it stands for those of the process that it comes to."""

    def __reduce__(self) -> Any:
        return _trees, ()


_TREES = _Trees(MAX_TREES)


def _trees() -> _Trees:
    return _TREES


CACHES = {"object_cache": _TREES, "array_cache": None}
"""For `uproot.open`. No column is read twice in a chunk, so that none is worth keeping."""
