"""Memory of a process."""

from __future__ import annotations

import gc
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_mb() -> float:
    """Return the peak memory of this process in MB."""
    if _STATUS.exists():
        return memory_mb("VmHWM")
    # It has that of the process it was started from too; in bytes on macOS, else in kB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1e6 if sys.platform == "darwin" else 1e3
    )


def memory_mb(key: str) -> float:
    """Return the memory of this process in MB, from Linux: `VmRSS` now, `VmHWM` at most."""
    (line,) = [line for line in _STATUS.read_text().splitlines() if line.startswith(key)]
    return float(line.split()[1]) / 1e3


@cache
def keep_what_is_loaded() -> None:
    """Exclude loaded libraries from garbage collection, for as long as the process lives.

    The many objects of a file's metadata start collections, each of which takes as long as 100,000 events.
    """
    gc.freeze()


@contextmanager
def kept_what_is_loaded() -> Iterator[None]:
    """Do the same for as long as the block lasts: what it makes is collected."""
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
