"""Functions for processes that draw, without anything that takes time to import."""

from __future__ import annotations

import os
import time
from pathlib import Path


def wait(mark: Path) -> None:
    mark.touch()
    time.sleep(1)


def wait_named(folder: Path) -> None:
    """Wait, with the number of this process as the name of a file."""
    wait(folder / str(os.getpid()))
