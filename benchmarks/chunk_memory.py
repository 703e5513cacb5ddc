"""Whether the memory of a worker stays what it is: many chunks of the default size, one after the other.

    python benchmarks/chunk_memory.py --data FOLDER [--chunks 500] [--events 600000] [--files 5]

The files are those of `speed.py`; they are read again as further datasets until there are enough chunks.
Resident memory after a tenth of the chunks, after each further tenth, and the most that there was.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).parents[1]))

import awkward as ak

from analysis.datasets.catalogue import Catalogue
from analysis.execution.runner import run
from analysis.execution.settings import CHUNK_EVENTS, Execution
from analysis.execution.workers import usage
from analysis.processor import TtbarAnalysis
from benchmarks import speed_inputs

logger = logging.getLogger("speed")

PARTS = 10


class _Watched(TtbarAnalysis):
    """Notes the memory of its process after every chunk."""

    megabytes: ClassVar[list[float]] = []
    """Of the class: the processor comes to the worker as a copy, here in the same process."""

    def process(self, events: ak.Array) -> dict[str, Any]:
        output = super().process(events)
        if isinstance(events, ak.Array):  # not those made up to try the functions with
            self.megabytes.append(usage.memory_mb("VmRSS"))
        return output


def main(arguments: list[str] | None = None) -> list[float]:
    """Megabytes after each tenth of the chunks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder for the files, kept")
    parser.add_argument("--chunks", type=int, default=500)
    parser.add_argument("--chunk-size", type=int, default=CHUNK_EVENTS)
    parser.add_argument("--events", type=int, default=600_000, help="in a file")
    parser.add_argument("--files", type=int, default=5)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    files = speed_inputs.catalogue(options.data, options.files, options.events)
    a_round = options.files * math.ceil(options.events / options.chunk_size)
    catalogue = _repeated(files, math.ceil(options.chunks / a_round))
    _Watched.megabytes.clear()
    execution = Execution(chunk_size=options.chunk_size)
    run(_Watched(), catalogue, execution=execution).ledger.require_complete()
    n = len(_Watched.megabytes)
    places = [round(n * part / PARTS) - 1 for part in range(1, PARTS + 1)]
    found = [_Watched.megabytes[place] for place in places]
    steps = ", ".join(f"{mb:.0f} after {at + 1}" for at, mb in zip(places, found, strict=True))
    logger.info("%d chunks of %d events; MB: %s", n, options.chunk_size, steps)
    logger.info("at most %.0f MB", usage.memory_mb("VmHWM"))
    return found


def _repeated(catalogue: Catalogue, times: int) -> Catalogue:
    (dataset,) = catalogue.datasets.values()
    first = {"ttbar__nominal": dataset}
    others = {
        f"again{i}__nominal": dataset.model_copy(update={"process": f"again{i}"})
        for i in range(1, times)
    }
    return catalogue.model_copy(update={"datasets": first | others})


if __name__ == "__main__":
    # By its name, so that its class is sent by name too, not as a copy.
    from benchmarks import chunk_memory

    chunk_memory.main()
