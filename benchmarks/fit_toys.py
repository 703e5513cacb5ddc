"""Closure of the fit: pulls of the strength in toys of its own model.

    python benchmarks/fit_toys.py results/workspace.json [200 [SEED]]

Mean 0 and width 1 of the pull say that the fit is unbiased and its errors are right; the statistical
errors of both are given.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

from analysis.inference.likelihood import Likelihood
from analysis.inference.toys import pulls
from analysis.inference.workspace import load

SEED = 2015

logger = logging.getLogger("toys")


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("pyhf").setLevel(logging.WARNING)
    toys, seed = (int(x) for x in (sys.argv[2:] + ["200", str(SEED)][len(sys.argv) - 2 :])[:2])
    begin = time.process_time()
    found = pulls(Likelihood(load(Path(sys.argv[1]))), toys, seed)
    logger.info("%s (%.0f s of processor time)", found, time.process_time() - begin)


if __name__ == "__main__":
    main()
