"""Pre-selected ttbar events per core-second, and where the time goes.

Usage: python benchmarks/simulation_rate.py [generated events, default 1000]
"""

from __future__ import annotations

import sys
import time

import numpy as np

from analysis.datasets import ntuples
from analysis.simulation import layout
from analysis.simulation.config import DetectorConfig
from analysis.simulation.generator import generate, silenced
from analysis.simulation.particles import truth
from analysis.simulation.processes import BY_NAME
from analysis.simulation.response import respond


def main(count: int) -> None:
    """Time the three steps of one block, in processor time."""
    process, detector = BY_NAME["ttbar__nominal"], DetectorConfig()
    rng = np.random.Generator(np.random.Philox(1))
    marks = [time.process_time()]
    record, counts = generate(process, count, seed=1)
    marks.append(time.process_time())
    with silenced():
        columns = truth(record, detector)
    marks.append(time.process_time())
    selected = ntuples.size(layout.branches(respond(columns, rng, detector)))
    marks.append(time.process_time())
    steps = np.diff(marks)
    total = steps.sum()
    for name, seconds in zip(("Pythia", "particles and jets", "detector"), steps, strict=True):
        sys.stdout.write(f"{name:20} {1e3 * seconds / count:7.2f} ms/event\n")
    sys.stdout.write(
        f"{selected} pre-selected of {counts.tried} ttbar events in {total:.1f} s: "
        f"{selected / total:.0f} per core-second\n"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
