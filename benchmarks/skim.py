"""How much faster a run from a skim is, by the fraction of events that it keeps.

    python benchmarks/skim.py --data FOLDER [--mean-jets 7.5,3,2] [--events 600000] [--files 3]

For each mean number of jets: files as those of `speed.py`, a skim of them, and the chain with everything
on both, repeats alternating, each in a process of its own; once warm (the work alone, processor time)
and once as the command `run.py process` (with its start, processor time and clock). Medians.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).parents[1]
sys.path.insert(0, str(PROJECT))

from analysis.datasets.catalogue import Catalogue
from analysis.execution.settings import Execution
from analysis.skim import make_skim
from benchmarks import speed, speed_inputs, system

logger = logging.getLogger("speed")

CASE = "chain all"
HEADER = (
    "| mean jets | events | kept | MB | skim MB | work: CPU s | from skim | ratio "
    "| command: CPU s | from skim | ratio | clock s | from skim | ratio |\n"
    f"|{'--:|' * 14}"
)


def main(arguments: list[str] | None = None) -> list[str]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder for the files, kept")
    parser.add_argument("--mean-jets", default="7.5,3,2")
    parser.add_argument("--events", type=int, default=600_000, help="in a file")
    parser.add_argument("--files", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    rows = []
    for mean_jets in map(float, options.mean_jets.split(",")):
        folder = speed_inputs.folder_of(options.data, mean_jets)
        full = speed_inputs.catalogue(folder, options.files, options.events, mean_jets)
        rows.append(_row(mean_jets, full, folder / "skim", options.repeats))
    logger.info("%s\n%s\n%s", system.machine(), HEADER, "\n".join(rows))
    return rows


def _row(mean_jets: float, full: Catalogue, folder: Path, repeats: int) -> str:
    skim = make_skim(full, folder, execution=Execution()).catalogue
    times: dict[str, list[tuple[float, ...]]] = {"full": [], "skim": []}
    with tempfile.TemporaryDirectory() as temporary:
        paths = {"full": Path(temporary) / "full.json", "skim": folder / "ntuples.json"}
        full.write(paths["full"])
        for _ in range(repeats):
            for name, path in paths.items():
                work = speed.measure_apart(CASE, path, Path(temporary))["cpu_seconds"]
                times[name].append((work, *_command(path, Path(temporary) / name)))
    medians = [[statistics.median(column) for column in zip(*times[n], strict=True)] for n in times]
    cells = [f"{mean_jets:g}", f"{full.events:,}", f"{skim.events / full.events:.1%}"]
    cells += [f"{_megabytes(catalogue):.0f}" for catalogue in (full, skim)]
    for slow, fast in zip(*medians, strict=True):
        cells += [f"{slow:.2f}", f"{fast:.2f}", f"**{slow / fast:.1f}**"]
    return f"| {' | '.join(cells)} |"


def _command(catalogue: Path, output: Path) -> tuple[float, float]:
    """Processor time and clock of `run.py process`, in seconds; nothing of an earlier one is kept."""
    command = [sys.executable, "run.py", "process", "--quiet", "--executor", "iterative"]
    command += ["--catalogue", str(catalogue), "--output", str(output)]
    before, begin = os.times(), time.perf_counter()
    subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)
    after, end = os.times(), time.perf_counter()
    cpu = after.children_user - before.children_user + after.children_system
    return cpu - before.children_system, end - begin


def _megabytes(catalogue: Catalogue) -> float:
    files = [file for name in catalogue.datasets for file in catalogue.files_of(name)]
    return sum(Path(file.url).stat().st_size for file in files) / 1e6


if __name__ == "__main__":
    main()
