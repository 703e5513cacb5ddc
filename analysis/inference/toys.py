"""Toys: pseudo-experiments of a model, and how the fit does in them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from cabinetry.model_utils import prefit_uncertainties
from numpy.typing import NDArray

from analysis.common.errors import FitError
from analysis.inference.fit import minos
from analysis.inference.likelihood import Likelihood

Array = NDArray[np.float64]


class Pulls(NamedTuple):
    """Pulls of the parameter of interest."""

    values: Array
    """One for each toy that was fitted."""
    failed: int
    """Toys whose fit did not converge, or that have no MINOS error on the side of the truth."""

    @property
    def mean(self) -> tuple[float, float]:
        """Mean and its statistical error."""
        return float(np.mean(self.values)), self.width[0] / self.values.size**0.5

    @property
    def width(self) -> tuple[float, float]:
        """Standard deviation and its statistical error."""
        width = float(np.std(self.values, ddof=1))
        return width, width / (2 * self.values.size) ** 0.5

    def __str__(self) -> str:
        return (
            f"{self.values.size} toys, {self.failed} failed: pull mean "
            f"{self.mean[0]:.3f} ± {self.mean[1]:.3f}, width {self.width[0]:.3f} ± {self.width[1]:.3f}"
        )


def toy_data(likelihood: Likelihood, truth: Array, rng: np.random.Generator) -> Array:
    """Main and auxiliary data of one toy.

    Both are drawn from the model at `truth`: events of each bin from a Poisson distribution, and
    auxiliary measurements from their own, Gaussian here for every model of the project.
    """
    model = likelihood.model
    expected = np.asarray(model.expected_data(truth))
    main, auxiliary = np.split(expected, [likelihood.main.size])
    prior = prefit_uncertainties(model)
    widths = [prior[model.config.par_slice(name)] for name in model.config.auxdata_order]
    fluctuated = rng.normal(auxiliary, np.concatenate([np.zeros(0), *widths]))
    return np.concatenate([rng.poisson(main), fluctuated])


def pulls(likelihood: Likelihood, toys: int, seed: int, truth: Array | None = None) -> Pulls:
    """(fitted - true) / error of each toy, the error being that of MINOS on the side of the truth.

    `truth` are all parameters, the initial ones unless they are given.
    """
    truth = likelihood.initial if truth is None else truth
    rng = np.random.default_rng(seed)
    name, true = likelihood.names[likelihood.poi], truth[likelihood.poi]
    found, failed = [], 0
    for _ in range(toys):
        toy = likelihood.with_data(toy_data(likelihood, truth, rng))
        try:
            minuit = toy.minima()[0]
        except FitError:
            failed += 1
            continue
        distance = float(minuit.values[name]) - true
        error = minos(minuit, name)[1 if distance > 0 else 0]
        if error is None:
            failed += 1
        else:
            found.append(distance / error)
    return Pulls(np.array(found), failed)
