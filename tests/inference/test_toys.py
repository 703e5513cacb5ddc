"""Closure of the fit in toys, with bounds from the statistical error of the toys themselves."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.inference.likelihood import Likelihood
from analysis.inference.toys import pulls, toy_data
from tests.inference.models import sample, shapes


def test_a_toy_fluctuates_events_and_auxiliary_measurements_around_the_truth() -> None:
    likelihood = Likelihood(shapes())
    truth = likelihood.initial.copy()
    truth[likelihood.poi] = 2.0
    truth[likelihood.names.index("Luminosity")] = 0.5
    rng = np.random.default_rng(1)
    toys = np.array([toy_data(likelihood, truth, rng) for _ in range(2000)])
    expected = np.asarray(likelihood.model.expected_data(truth))
    main = likelihood.main.size
    # Three parameters of width 1, and six bins: √(1² + 2²) of 220 events, and so on.
    errors = [5**0.5 / 220, 5**0.5 / 160, 2**0.5 / 80]
    errors += [5**0.5 / 440, 5**0.5 / 320, 2**0.5 / 160]
    order = likelihood.model.config.auxdata_order
    widths = np.concatenate(
        [
            errors[:3] if n == "staterror_A" else errors[3:] if n == "staterror_B" else [1]
            for n in order
        ]
    )
    spread = np.concatenate([np.sqrt(expected[:main]), widths])
    assert np.mean(toys, axis=0) == pytest.approx(expected, abs=5 * np.max(spread) / 2000**0.5)
    assert np.std(toys, axis=0) == pytest.approx(spread, rel=5 / 4000**0.5)


@pytest.mark.full
def test_the_fit_closes() -> None:
    """200 toys of a model of every kind of modifier: mean 0, width 1 within three of their errors."""
    spec = shapes()
    for channel in ("A", "B"):
        for name in ("signal", "background"):
            one = sample(spec, name, channel)
            one["data"] = [10 * x for x in one["data"]]
            for modifier in one["modifiers"]:
                if modifier["type"] == "staterror":
                    modifier["data"] = [20 * x for x in modifier["data"]]
                if modifier["type"] == "histosys":
                    modifier["data"] = {
                        key: [10 * x for x in values] for key, values in modifier["data"].items()
                    }
    found = pulls(Likelihood(spec), 200, seed=2015)
    assert found.failed == 0
    mean, mean_error = found.mean
    width, width_error = found.width
    assert abs(mean) < 3 * mean_error
    assert abs(width - 1) < 3 * width_error
    assert width_error < 0.06
