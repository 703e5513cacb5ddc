"""Closure of the fit in toys, with bounds from the statistical error of the toys themselves."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.inference.fit import fit
from analysis.inference.likelihood import Likelihood
from analysis.inference.toys import Toys, drawn, goodness_by_toys
from benchmarks.fit_toys import pulls
from tests.inference.models import counting, sample, shapes
from tests.inference.models import modifier as modifier_of


def test_a_toy_fluctuates_events_and_auxiliary_measurements_around_the_truth() -> None:
    likelihood = Likelihood(shapes())
    truth = likelihood.initial.copy()
    truth[likelihood.poi] = 2.0
    truth[likelihood.names.index("Luminosity")] = 0.5
    rng = np.random.default_rng(1)
    found = [drawn(likelihood, truth, rng) for _ in range(2000)]
    toys = np.array([[*toy.main, *toy.auxiliary] for toy in found])
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


def test_auxiliary_counts_of_a_toy_are_counts() -> None:
    spec = shapes()
    modifier_of(spec, "staterror").update(type="shapesys", name="fakes", data=[4.0, 6.0, 15.0])
    likelihood = Likelihood(spec)
    place = likelihood.model.config.par_slice("fakes")
    counts = np.isin(likelihood.constraints.parameters, range(place.start, place.stop))
    rng = np.random.default_rng(1)
    toys = np.array(
        [drawn(likelihood, likelihood.initial, rng).auxiliary[counts] for _ in range(2000)]
    )
    # (events / error)²: 25, 100 and 4 of each.
    expected = np.array([25.0, 100.0, 4.0])
    assert np.all(toys == np.round(toys))
    assert np.mean(toys, axis=0) == pytest.approx(expected, abs=5 * 10 / 2000**0.5)
    assert np.var(toys, axis=0) == pytest.approx(expected, rel=0.2)


def test_the_goodness_of_fit_by_toys_is_that_of_chi2_for_many_events() -> None:
    """And its toys do not hang on how many processes draw them."""
    spec = counting(130.0)
    spec["observations"][0]["data"] = [130.0]
    spec["channels"].append(
        {"name": "other", "samples": [{"name": "background", "data": [400.0], "modifiers": []}]}
    )
    spec["observations"].append({"name": "other", "data": [430.0]})
    best = fit(spec)
    goodness = best.result.goodness
    assert goodness.p_value == pytest.approx(0.138, abs=0.005)
    found = [
        goodness_by_toys(best.likelihood, best.values, goodness.chi2, Toys(1000, seed=2, mapped=by))
        for by in (map, lambda function, items: [function(x) for x in reversed([*items])][::-1])
    ]
    assert found[0] == found[1]
    assert found[0].p_value == pytest.approx(0.138, abs=4 * found[0].p_value_error)


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
    coverage, coverage_error = found.coverage
    assert abs(coverage - 0.683) < 3 * coverage_error
    assert width_error < 0.06
