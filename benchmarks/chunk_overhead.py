"""What a chunk costs beyond its work, and what the client's memory does: many chunks of next to nothing.

    python benchmarks/chunk_overhead.py [--chunks 10000] [--executors iterative,futures,dask]
    python benchmarks/chunk_overhead.py --executors dask --soak 30

A chunk is one event with one branch, of small files. Time a chunk (against `iterative`), and resident
memory of the main process before and after, without checkpoints and with them; with `--soak` again and
again for so many minutes.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from analysis.datasets.catalogue import Catalogue
from analysis.execution.runner import run
from analysis.execution.settings import Execution
from analysis.execution.workers import usage
from tests.execution.processors import Counting
from tests.execution.small import EVENTS, make_files


def memory() -> tuple[float, float]:
    """Resident memory of this process now, and at its most, in MB."""
    return usage.memory_mb("VmRSS"), usage.memory_mb("VmHWM")


def measure(executor: str, catalogue: Catalogue, chunk_size: int, *, checkpoints: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "checkpoints" if checkpoints else None
        before, _ = memory()
        started = time.monotonic()
        execution = Execution(executor, 2, chunk_size)
        result = run(Counting(), catalogue, execution=execution, checkpoints=kept)
        seconds = time.monotonic() - started
        after, most = memory()
    assert result.ledger.complete
    assert result.ledger.chunks is not None
    n = result.ledger.chunks.planned
    print(  # noqa: T201 - a command
        f"{executor:10} {'saved' if checkpoints else 'not saved':10} {n} chunks, "
        f"{1000 * seconds / n:.2f} ms each; {before:.0f} MB before, {after:.0f} MB after, "
        f"{most:.0f} MB at most",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=10_000)
    parser.add_argument("--executors", default="iterative,futures,dask")
    parser.add_argument("--soak", type=float, default=0, metavar="MINUTES")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        names = [f"file{i}.root" for i in range(max(4, arguments.chunks // EVENTS))]
        catalogue = make_files(Path(folder), names)
        few = catalogue_with(catalogue, 2)
        for executor in arguments.executors.split(","):
            # What is imported and started is not to be counted.
            measure(executor, few, EVENTS, checkpoints=True)
            end = time.monotonic() + 60 * arguments.soak
            for checkpoints in itertools.cycle((False, True)):
                measure(executor, catalogue, 1, checkpoints=checkpoints)
                if checkpoints and time.monotonic() > end:
                    break


def catalogue_with(catalogue: Catalogue, files: int) -> Catalogue:
    datasets = {
        name: dataset.model_copy(update={"files": dict(list(dataset.files.items())[:files])})
        for name, dataset in catalogue.datasets.items()
    }
    return catalogue.model_copy(update={"datasets": datasets})


if __name__ == "__main__":
    main()
