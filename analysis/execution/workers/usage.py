"""What a process has used of the machine."""

from __future__ import annotations

import gc
import resource
import sys
from functools import cache
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_mb() -> float:
    """The most memory that this process had, in MB."""
    if _STATUS.exists():
        return memory_mb("VmHWM")
    # It has that of the process it was started from too; in bytes on macOS, else in kB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1e6 if sys.platform == "darwin" else 1e3
    )


def memory_mb(key: str) -> float:
    """Of this process, from Linux: `VmRSS` now, `VmHWM` at most."""
    (line,) = [line for line in _STATUS.read_text().splitlines() if line.startswith(key)]
    return float(line.split()[1]) / 1e3


@cache
def keep_what_is_loaded() -> None:
    """Of this process, for good: the garbage collector looks no more at the loaded libraries.

    It did so again and again for the many objects that a file's metadata are: a seventh of the time
    of a small file.
    """
    gc.freeze()
