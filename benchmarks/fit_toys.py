"""Closure of the fit: pulls of the strength in toys of its own model.

    python benchmarks/fit_toys.py results/workspace.json [200]

Every toy draws the events and the auxiliary measurements from the model at its nominal parameters.
Mean 0 and width 1 of the pull say that the fit is unbiased and its errors are right.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

import numpy as np
from cabinetry.model_utils import prefit_uncertainties

from analysis.inference.errors import FitError
from analysis.inference.likelihood import Likelihood
from analysis.inference.workspace import load

SEED = 2015

logger = logging.getLogger("toys")


def pulls(likelihood: Likelihood, toys: int, seed: int = SEED) -> tuple[np.ndarray, int]:
    """Pull of the strength in each toy, with the MINOS error on the side of the truth; failures."""
    rng = np.random.default_rng(seed)
    model, truth = likelihood.model, likelihood.initial
    expected = np.asarray(model.expected_data(truth))
    n_main = sum(model.config.channel_nbins.values())
    # All auxiliary measurements of our models are Gaussian, of the width of the prior.
    prior = prefit_uncertainties(model)
    widths = np.concatenate(
        [prior[model.config.par_slice(name)] for name in model.config.auxdata_order]
    )
    found, failed = [], 0
    for _ in range(toys):
        data = [*rng.poisson(expected[:n_main]), *rng.normal(expected[n_main:], widths)]
        try:
            minuit = likelihood.with_data([float(x) for x in data]).minimum()
            minuit.hesse()
            poi = likelihood.names[likelihood.poi]
            minuit.minos(poi)
            merror = minuit.merrors[poi]
        except FitError:
            failed += 1
            continue
        distance = minuit.values[poi] - truth[likelihood.poi]
        found.append(distance / (-merror.lower if distance > 0 else merror.upper))
    return np.array(found), failed


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    toys = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    begin = time.perf_counter()
    found, failed = pulls(Likelihood(load(Path(sys.argv[1]))), toys)
    error = found.std(ddof=1)
    logger.info(
        "%d toys in %.0f s, %d did not converge: pull mean %.3f ± %.3f, width %.3f ± %.3f",
        toys, time.perf_counter() - begin, failed, found.mean(), error / len(found) ** 0.5,
        error, error / (2 * len(found)) ** 0.5,
    )  # fmt: skip


if __name__ == "__main__":
    main()
