"""What the benchmarks say of the machine, and the memory of processes."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psutil

LOOK_EVERY_S = 0.5


def machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} cores, {platform.system()}, Python {platform.python_version()}"


def measure_apart(script: str, case: str, catalogue: Path, keep: Path) -> Any:
    """Let a benchmark measure a case in a process of its own, and keep its histograms there."""
    command = [sys.executable, script, "--case", case, "--catalogue", str(catalogue)]
    done = subprocess.run(
        [*command, "--keep", str(keep)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    if done.returncode:
        msg = f"{case}: {done.stderr}"
        raise RuntimeError(msg)
    return json.loads(done.stdout.splitlines()[-1])


class Children:
    """Looks now and then at the memory of the worker processes: the largest that was seen.

    Those that a fork server makes are not counted for this process by the system.
    """

    def __init__(self) -> None:
        self.peak_mb = 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        here = psutil.Process()
        while not self._end.wait(LOOK_EVERY_S):
            for child in here.children(recursive=True):
                with suppress(psutil.Error):
                    self.peak_mb = max(self.peak_mb, child.memory_info().rss / 1e6)
