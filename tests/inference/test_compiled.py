"""The compiled likelihood against pyhf's own, with every kind of modifier."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from analysis.common.errors import WorkspaceError
from analysis.inference import compiled
from analysis.inference.likelihood import Likelihood
from tests.inference.conftest import value_of_pyhf
from tests.inference.models import modifier, sample, shapes


def every_modifier() -> dict[str, Any]:
    """`shapes` with the kinds that the project does not write, and errors shared by channels."""
    spec = shapes()
    sample(spec, "background", "A")["modifiers"] += [
        {"type": "shapesys", "name": "fakes", "data": [20.0, 0.0, 10.0]},
        {"type": "lumi", "name": "lumi", "data": None},
    ]
    for channel in ("A", "B"):
        sample(spec, "background", channel)["modifiers"].append(
            {"type": "shapefactor", "name": "free shape", "data": None}
        )
        for name in ("signal", "background"):
            for m in sample(spec, name, channel)["modifiers"]:
                if m["type"] == "staterror":
                    m["name"] = "staterror of both"
    spec["measurements"][0]["config"]["parameters"] = [
        {"name": "lumi", "auxdata": [1.0], "sigmas": [0.02], "bounds": [[0.5, 1.5]], "inits": [1.0]}
    ]
    return spec


LIKELIHOOD = Likelihood(every_modifier())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.0, 1.0))
@example(4294967296, 1.0)  # an auxiliary count of zero at a negative rate
def test_it_is_pyhfs(seed: int, scale: float) -> None:
    likelihood = LIKELIHOOD
    rng = np.random.default_rng(seed)
    # Beyond one standard deviation, where interpolation ends, and up to rates below zero.
    reach = np.where(likelihood.initial == 1.0, 0.4, 3.0)
    point = likelihood.initial + scale * reach * rng.normal(size=likelihood.initial.size)
    data = rng.poisson(80, likelihood.main.size)
    likelihood = likelihood.with_data([*data, *rng.poisson(1.5, likelihood.auxiliary.size)])
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = value_of_pyhf(likelihood, point)
    assert_same_or_finite(likelihood, point, expected)


def assert_same_or_finite(likelihood: Likelihood, point: Any, expected: float) -> None:
    """Where a rate is so small or negative that pyhf's value is none or meaningless, there is one."""
    value = likelihood.value(point)
    rates, counts = poisson_rates(likelihood, point)
    if np.any(rates < compiled.LEAST_RATE * counts):
        assert math.isfinite(value)
    else:
        assert value == pytest.approx(expected, rel=1e-10)


def poisson_rates(likelihood: Likelihood, point: Any) -> tuple[Any, Any]:
    """Expected and observed events of bins and of auxiliary measurements that are counts."""
    known = compiled.constraints(likelihood.model)
    is_count = known.widths == 0
    main, auxiliary = np.split(likelihood.model.expected_data(point), [likelihood.main.size])
    rates = np.concatenate([main, auxiliary[is_count]])
    return rates, np.concatenate([likelihood.main, likelihood.auxiliary[is_count]])


def test_the_curve_of_a_bin_goes_on_below_zero_smoothly_and_upwards() -> None:
    for n in (0.5, 10.0, 1e5):
        edge = compiled.LEAST_RATE * n
        step = 1e-7 * edge
        left, right = (compiled._poisson(n, edge + side * step) for side in (-1, 1))
        assert left == pytest.approx(right, rel=1e-6)
        slope = (compiled._poisson(n, edge - step) - compiled._poisson(n, edge - 2 * step)) / step
        assert slope == pytest.approx(1 - n / edge, rel=1e-3)
        heights = [compiled._poisson(n, rate) for rate in (edge, 0.0, -edge, -n, -10 * n)]
        assert heights == sorted(heights)
        assert math.isfinite(heights[-1])


def test_the_curve_of_an_empty_bin_is_the_rate_and_ends_smoothly_at_none() -> None:
    edge = compiled.LEAST_RATE
    assert [compiled._poisson(0.0, rate) for rate in (-1.0, -edge, edge, 2.0)] == [0, 0, edge, 2]
    for rate in (-0.5 * edge, 0.0, 0.9 * edge):
        step = 1e-3 * edge
        rise = compiled._poisson(0.0, rate + step) - compiled._poisson(0.0, rate - step)
        assert compiled._poisson_slope(0.0, rate)[0] == pytest.approx(rise / (2 * step), rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.0, 1.0))
def test_the_gradient_is_that_of_the_value(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    reach = np.where(LIKELIHOOD.initial == 1.0, 0.4, 3.0)
    point = LIKELIHOOD.initial + scale * reach * rng.normal(size=LIKELIHOOD.initial.size)
    # A factor of zero hides nothing.
    point[rng.integers(point.size)] = 0.0
    data = rng.poisson(80, LIKELIHOOD.main.size)
    likelihood = LIKELIHOOD.with_data([*data, *rng.poisson(1.5, LIKELIHOOD.auxiliary.size)])
    gradient, information = likelihood.derivatives(point)
    for index, step in enumerate(1e-5 * np.eye(point.size)):
        rise = likelihood.value(point + step) - likelihood.value(point - step)
        size = abs(gradient[index]) + 1e-3 * likelihood.value(point)
        assert gradient[index] == pytest.approx(rise / 2e-5, abs=1e-4 * size)
    assert np.min(np.linalg.eigvalsh(information)) > -1e-9 * np.max(information)


def test_second_derivatives_are_those_expected_where_data_are_as_predicted() -> None:
    """Products of a strength and a normalisation have none besides."""
    point = LIKELIHOOD.initial
    asimov = LIKELIHOOD.with_data(LIKELIHOOD.model.expected_data(point))
    _, expected = asimov.derivatives(point)
    free = np.flatnonzero(~asimov.constant)
    expected = expected[np.ix_(free, free)]
    found = asimov.curvature(point, free, expected)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_it_has_every_kind_of_modifier() -> None:
    kinds = {kind for _, kind in LIKELIHOOD.model.config.modifiers}
    assert kinds == {
        "normfactor", "lumi", "shapefactor", "staterror", "shapesys", "normsys", "histosys"
    }  # fmt: skip


@pytest.mark.parametrize("alpha", [-1.7, -1.0, -0.4, 0.0, 0.6, 1.0, 2.5])
def test_a_normalisation_is_interpolated_as_histfactory_says(alpha: float) -> None:
    spec = shapes()
    likelihood = Likelihood(spec)
    point = likelihood.initial.copy()
    point[likelihood.names.index("Cross section")] = alpha
    moved = likelihood.value(point)
    # Outside ±1 by hand: 1.2ˣ and 0.8⁻ˣ on the background; between them pyhf is the judge.
    if abs(alpha) >= 1:
        factor = 1.2**alpha if alpha > 0 else 0.8**-alpha
        change = 0.0
        for scale in (1.0, 2.0):
            for s, b in ((20.0, 200.0), (60.0, 100.0), (30.0, 50.0)):
                n, rate = scale * (s + b), scale * (s + factor * b)
                change += 2 * (rate - n - n * math.log(rate / n))
        assert moved - likelihood.value(likelihood.initial) == pytest.approx(change + alpha**2)
    assert moved == pytest.approx(value_of_pyhf(likelihood, point), rel=1e-12)


def test_small_steps_are_not_lost_in_rounding() -> None:
    """In 10⁶ events a step of 10⁻³ standard deviations changes -2 ln L by 10⁻⁶."""
    spec = shapes()
    for channel in ("A", "B"):
        for name in ("signal", "background"):
            one = sample(spec, name, channel)
            one["data"] = [1e4 * x for x in one["data"]]
            one["modifiers"] = [m for m in one["modifiers"] if m["type"] == "normfactor"]
    for observation in spec["observations"]:
        observation["data"] = [1e4 * x for x in observation["data"]]
    likelihood = Likelihood(spec)
    information = sum(
        1e4 * f * s**2 / (s + b) for f in (1, 2) for s, b in ((20, 200), (60, 100), (30, 50))
    )
    step = 1e-3 / math.sqrt(information)
    change = likelihood.value(np.array([1 + step])) - likelihood.value(np.array([1.0]))
    assert change == pytest.approx(1e-6, rel=1e-3)


@pytest.mark.filterwarnings("ignore:divide by zero|invalid value:RuntimeWarning")
def test_a_factor_that_cannot_be_interpolated_is_refused() -> None:
    spec = shapes()
    modifier(spec, "normsys")["data"].update(hi=0.0)
    with pytest.raises(WorkspaceError, match=r"Luminosity: normalisation factors 0 and 0\.97"):
        Likelihood(spec)


@pytest.mark.shared
def test_it_is_pyhfs_for_the_published_workspace(shared: Path) -> None:
    spec = json.loads((shared / "reference" / "ttbar_2015_workspace.json").read_text())
    likelihood = Likelihood(spec)
    rng = np.random.default_rng(1)
    for _ in range(50):
        reach = np.where(likelihood.initial == 1.0, 0.05, 1.0)
        point = likelihood.initial + reach * rng.normal(size=likelihood.initial.size)
        with np.errstate(invalid="ignore"):
            expected = value_of_pyhf(likelihood, point)
        assert_same_or_finite(likelihood, point, expected)
