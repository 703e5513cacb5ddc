"""What a file costs: many of 200 events, whose opening is most of the work.

    python benchmarks/small_files.py --data FOLDER [--files 100,1000,10000] [--cases "chain all,futures 2"]

The number of files grows tenfold, the time of each should not: clock and processor time a file, and
the most memory that a process had.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import speed, speed_inputs, system

logger = logging.getLogger("speed")

EVENTS = 200


def main(arguments: list[str] | None = None) -> list[str]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder for the files, kept")
    parser.add_argument("--files", default="100,1000,10000")
    parser.add_argument("--cases", default="chain all,futures 2")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "catalogue.json"
        logger.info("%s\n| | files | ms a file | CPU ms a file | peak MB |", system.machine())
        logger.info("|---|--:|--:|--:|--:|")
        for case in options.cases.split(","):
            for files in map(int, options.files.split(",")):
                speed_inputs.catalogue(options.data / "small", files, EVENTS).write(path)
                measured = speed.measure_apart(case, path, Path(temporary))
                rows.append(_row(case, files, measured))
                logger.info("%s", rows[-1])
    return rows


def _row(case: str, files: int, measured: speed.Measurement) -> str:
    each = [1e3 * measured[key] / files for key in ("seconds", "cpu_seconds")]
    peak = max(measured["peak_mb"], measured["peak_mb_of_workers"])
    return f"| {case} | {files:,} | {each[0]:.1f} | {each[1]:.1f} | {peak:.0f} |"


if __name__ == "__main__":
    main()
