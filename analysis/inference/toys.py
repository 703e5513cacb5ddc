"""Toys: pseudo-experiments of a model."""

from __future__ import annotations

import numpy as np

from analysis.inference.likelihood import Array, Likelihood


def drawn(likelihood: Likelihood, truth: Array, rng: np.random.Generator) -> Likelihood:
    """The model with data of one toy, main and auxiliary, drawn at the parameters `truth`.

    Rates that extrapolated variations make negative are none.
    """
    known = likelihood.constraints
    means = truth[known.parameters]
    counts = rng.poisson(np.maximum(means * known.rates, 0.0))
    measured = np.where(known.widths > 0, rng.normal(means, known.widths), counts)
    main = rng.poisson(np.maximum(likelihood.expected(truth), 0.0))
    return likelihood.with_data(np.concatenate([main, measured]))
