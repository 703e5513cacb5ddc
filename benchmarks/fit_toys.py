"""Closure of the fit: pulls of the strength in toys of its own model, and coverage of its interval.

    python benchmarks/fit_toys.py results/workspace.json [200 [SEED]]

Mean 0, width 1 and 68 % say that the fit is unbiased and its errors are right; the statistical errors
of all are given.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from analysis.common.errors import FitError
from analysis.inference.fit import minimum_and_interval
from analysis.inference.likelihood import Array, Likelihood
from analysis.inference.toys import drawn
from analysis.inference.workspace import load

SEED = 2015

logger = logging.getLogger("toys")


class Pulls(NamedTuple):
    """Pulls of the parameter of interest: (fitted - true) / error on the side of the truth."""

    values: Array
    """One for each toy that was fitted."""
    failed: int
    """Toys whose fit did not converge, or that have no error on the side of the truth."""

    @property
    def mean(self) -> tuple[float, float]:
        """Mean and its statistical error."""
        return float(np.mean(self.values)), self.width[0] / self.values.size**0.5

    @property
    def width(self) -> tuple[float, float]:
        """Standard deviation and its statistical error."""
        width = float(np.std(self.values, ddof=1))
        return width, width / (2 * self.values.size) ** 0.5

    @property
    def coverage(self) -> tuple[float, float]:
        """Part of the toys whose interval has the truth, and its statistical error."""
        part = float(np.mean(np.abs(self.values) < 1))
        return part, (part * (1 - part) / self.values.size) ** 0.5

    def __str__(self) -> str:
        parts = (
            f"{name} {x:.3f} ± {error:.3f}"
            for name, (x, error) in (
                ("mean", self.mean), ("width", self.width), ("coverage", self.coverage)
            )
        )  # fmt: skip
        return f"{self.values.size} toys, {self.failed} failed: pull {', '.join(parts)}"


def pulls(likelihood: Likelihood, toys: int, seed: int, truth: Array | None = None) -> Pulls:
    """Pulls of toys at the parameters `truth`, the initial ones unless they are given."""
    truth = likelihood.initial if truth is None else truth
    rng = np.random.default_rng(seed)
    found, failed = [], 0
    for _ in range(toys):
        toy = drawn(likelihood, truth, rng)
        try:
            best, *ends = minimum_and_interval(toy)
        except FitError:
            failed += 1
            continue
        distance = float(best.values[toy.poi] - truth[toy.poi])
        error = ends[1 if distance > 0 else 0]
        if error is None:
            failed += 1
        else:
            found.append(distance / error)
    return Pulls(np.array(found), failed)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("pyhf").setLevel(logging.WARNING)
    toys, seed = (int(x) for x in (sys.argv[2:] + ["200", str(SEED)][len(sys.argv) - 2 :])[:2])
    begin = time.process_time()
    found = pulls(Likelihood(load(Path(sys.argv[1]))), toys, seed)
    logger.info("%s (%.0f s of processor time)", found, time.process_time() - begin)


if __name__ == "__main__":
    main()
