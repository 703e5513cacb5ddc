"""ABCD: numbers by hand, closure of independent variables, a correlation that is flagged, the fit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyhf
import pytest
from hist import Hist
from hypothesis import given
from hypothesis import strategies as st

from analysis.common.errors import AbcdError
from analysis.postprocess.abcd.likelihood import POI, fit_background, workspace
from analysis.postprocess.abcd.method import (
    NOTHING,
    Prediction,
    Sides,
    Yields,
    closure,
    count_plane,
    independence,
    predict,
    predict_with_toys,
)
from analysis.postprocess.windows import Count, Window

# pyhf 0.7 validates with a class that newer jsonschema deprecate.
pytestmark = pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning")

X = Sides(signal=Window(0, 0.2), control=Window(0.4, math.inf))
Y = Sides(signal=Window(0.5, math.inf), control=Window(0, 0.5))


def counts(*values: float) -> Yields:
    return Yields(*(Count(value, value) for value in values))


def plane(x: Any, y: Any, storage: str = "Weight") -> Hist:
    histogram = Hist.new.Reg(10, 0, 1, name="x").Reg(10, 0, 1, name="y")
    return getattr(histogram, storage)().fill(x, y)


def test_prediction_by_hand() -> None:
    result = predict(counts(7, 100, 50, 200))
    assert result.background == pytest.approx(25)
    assert result.background_error == pytest.approx(25 * math.sqrt(0.01 + 0.02 + 0.005))
    assert str(result) == "25.00 ± 4.68 background events in A"
    assert Prediction.model_validate_json(result.model_dump_json()) == result


def test_contamination_by_hand() -> None:
    """(100-20)(60-10)/(200-0) = 20; the variances of what is subtracted add to those of the counts."""
    prompt = Yields(Count(5, 1), Count(20, 4), Count(10, 9), Count(0, 0))
    result = predict(counts(30, 100, 60, 200), prompt)
    assert result.background == pytest.approx(20)
    relative = 104 / 80**2 + 69 / 50**2 + 200 / 200**2
    assert result.background_error == pytest.approx(20 * math.sqrt(relative))
    test = closure(counts(30, 100, 60, 200), prompt)
    assert test.found == 25
    assert test.pull == pytest.approx(5 / math.sqrt(31 + result.background_error**2))


def test_regions_of_a_plane_by_hand() -> None:
    """One event each in A, B, B, C (overflow of both), D, and one in the gap between the sides."""
    histogram = plane([0.1, 0.1, 0.15, 5.0, 0.9, 0.3], [0.7, 0.2, 0.3, 9.0, 0.1, 0.1])
    assert count_plane(histogram, X, Y) == counts(1, 2, 1, 1)


@given(st.lists(st.floats(1, 1e6), min_size=4, max_size=4))
def test_independent_yields_close_exactly(margins: list[float]) -> None:
    x_signal, x_control, y_signal, y_control = margins
    result = closure(
        counts(
            x_signal * y_signal, x_signal * y_control, x_control * y_signal, x_control * y_control
        )
    )
    assert result.prediction.background == pytest.approx(x_signal * y_signal, rel=1e-9)
    assert abs(result.pull) < 1e-6


def test_pulls_of_ten_thousand_experiments() -> None:
    generator = np.random.default_rng(1)
    prompt = Yields(*[Count(100.0, 0.0)] * 4)
    pulls = []
    for n in generator.poisson(np.array([500.0, 1000, 1000, 2000]) + 100, (10_000, 4)):
        result = predict(counts(*map(float, n)), prompt)
        pulls.append((result.background - 500) / result.background_error)
    assert abs(np.mean(pulls)) < 0.1
    assert np.std(pulls) == pytest.approx(1, abs=0.1)


def test_toys_agree_with_the_propagation() -> None:
    observed = counts(0, 400, 900, 1600)
    prompt = Yields(Count(0, 0), Count(100, 25), Count(0, 0), Count(0, 0))
    analytic = predict(observed, prompt)
    toys = predict_with_toys(observed, np.random.default_rng(2), prompt)
    assert toys.median == pytest.approx(analytic.background, rel=0.01)
    assert (toys.high - toys.low) / 2 == pytest.approx(analytic.background_error, rel=0.03)
    assert toys == predict_with_toys(observed, np.random.default_rng(2), prompt)


def test_toys_of_weighted_yields_have_their_variance() -> None:
    observed = Yields(Count(0, 0), Count(400, 800), Count(1e4, 0), Count(1e4, 0))
    toys = predict_with_toys(observed, np.random.default_rng(3))
    assert (toys.high - toys.low) / 2 == pytest.approx(math.sqrt(800), rel=0.05)


def test_independent_variables_are_allowed() -> None:
    generator = np.random.default_rng(4)
    result = independence(plane(generator.random(50_000), generator.random(50_000)), X, Y)
    assert result.allowed
    assert result.tested
    assert abs(result.correlation) < 3 * result.correlation_error
    assert result.correlation_error == pytest.approx(1 / math.sqrt(50_000), rel=0.01)
    assert result.kappa == pytest.approx(1, abs=0.1)


def test_a_correlation_is_flagged() -> None:
    generator = np.random.default_rng(5)
    x = generator.random(20_000)
    y = np.clip(0.5 * x + 0.5 * generator.random(20_000), 0, 0.999)
    result = independence(plane(x, y), X, Y)
    assert not result.allowed
    assert result.correlation == pytest.approx(0.7, abs=0.02)
    assert "not allowed" in str(result)
    assert abs(closure(count_plane(plane(x, y), X, Y)).pull) > 5


def test_a_dependence_without_a_correlation_is_flagged() -> None:
    """At low x more y than at high x, between them less: their covariances cancel, κ is 1.5."""
    generator = np.random.default_rng(6)
    x = generator.random(40_000)
    high = generator.random(40_000) < np.select([x < 0.2, x < 0.4], [0.6, 0.3], 0.5)
    result = independence(plane(x, np.where(high, 0.75, 0.25)), X, Y)
    assert abs(result.correlation) < 5 * result.correlation_error
    assert result.kappa == pytest.approx(1.5, abs=0.25)
    assert not result.allowed


def test_few_events_prove_nothing() -> None:
    result = independence(plane([0.1, 0.1, 0.5, 0.9], [0.1, 0.8, 0.9, 0.2]), X, Y)
    assert result.allowed
    assert not result.tested
    assert "too few" in str(result)


@pytest.mark.parametrize(
    "contamination",
    [NOTHING, Yields(Count(20, 9), Count(40, 16), Count(30, 25), Count(10, 4))],
)
def test_likelihood_equals_count(contamination: Yields) -> None:
    observed = counts(90, 300, 200, 400)
    counted = predict(observed, contamination)
    fitted = fit_background(observed, contamination)
    assert fitted.background == pytest.approx(counted.background, rel=1e-3)
    assert fitted.background_error == pytest.approx(counted.background_error, rel=0.03)


def test_likelihood_does_not_look_at_a() -> None:
    assert fit_background(counts(5, 300, 200, 400)) == fit_background(counts(900, 300, 200, 400))


def test_workspace_is_a_histfactory_workspace() -> None:
    """With a free signal in A, the expectation of each region is the data."""
    observed = counts(190, 300, 200, 400)
    spec = workspace(observed, signal=Yields(Count(20, 0), *NOTHING[1:]))
    parsed = pyhf.Workspace(spec)
    model = parsed.model()
    assert model.config.poi_name == POI
    assert model.config.channels == ["A", "B", "C", "D"]
    parameters = model.config.suggested_init()
    parameters[model.config.poi_index] = 2
    expected = model.expected_data(parameters, include_auxdata=False)
    np.testing.assert_allclose(expected, [190, 300, 200, 400])
    parameters[model.config.par_map["tau_b"]["slice"].start] = 2
    expected = model.expected_data(parameters, include_auxdata=False)
    np.testing.assert_allclose(expected, [340, 600, 200, 400])


@pytest.mark.parametrize(
    ("observed", "contamination", "said"),
    [
        (counts(1, 0, 1, 1), NOTHING, "region B is empty"),
        (counts(1, 1, 0, 1), NOTHING, "region C is empty"),
        (counts(1, 1, 1, 0), NOTHING, "region D is empty"),
        (counts(1, 1, 1, 5), counts(0, 0, 0, 6), "region D has 5 events and 6 to subtract"),
        (counts(1, math.nan, 1, 1), NOTHING, "region B is not finite"),
        (counts(1, 1, 1, 1), counts(0, 0, math.inf, 0), "region C is not finite"),
        (Yields(*[Count(1, -1)] * 4), NOTHING, "negative variance"),
    ],
)
def test_yields_without_an_estimate(observed: Yields, contamination: Yields, said: str) -> None:
    with pytest.raises(AbcdError, match=said):
        predict(observed, contamination)


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (Sides(Window(0, 0.25), X.control), Y, "cuts the bin from 0.2 to 0.3"),
        (Sides(Window(-1, 0.2), X.control), Y, "outside of the axis"),
        (X, Sides(Window(0.5, 2), Y.control), "outside of the axis"),
        (X, Sides(Window(0.5, 1), Y.control), "overflow counts"),
        (Sides(Window(0.2, 0.2), X.control), Y, "is empty"),
        (Sides(Window(0, 0.5), X.control), Y, "overlap"),
        (Sides(Window(0, math.nan), X.control), Y, "is empty"),
    ],
)
def test_cuts_that_make_no_regions(x: Sides, y: Sides, said: str) -> None:
    with pytest.raises(AbcdError, match=said):
        count_plane(plane([0.1], [0.1]), x, y)


@pytest.mark.parametrize(
    ("histogram", "said"),
    [
        (Hist.new.Reg(10, 0, 1).Weight(), "1 dimensions"),
        (Hist.new.Reg(10, 0, 1).Reg(10, 0, 1).Mean(), "means"),
        (Hist.new.Reg(10, 0, 1).Reg(10, 0, 1).Double().fill([0.1], [0.1], weight=[2]), "variances"),
        (plane([-0.1], [0.1]), "below the axis"),
    ],
)
def test_histograms_without_an_estimate(histogram: Hist, said: str) -> None:
    with pytest.raises(AbcdError, match=said):
        count_plane(histogram, X, Y)


@pytest.mark.parametrize(
    ("a", "others", "message"),
    [(0.0, 0.0, "no region has a variance"), (-1.0, 5.0, "region A has a negative variance")],
)
def test_a_closure_without_an_error_has_no_pull(a: float, others: float, message: str) -> None:
    observed = Yields(Count(10, a), *[Count(10, others)] * 3)
    with pytest.raises(AbcdError, match=message):
        closure(observed)


@pytest.mark.parametrize("what", ["contamination", "signal"])
def test_what_is_negative_has_no_likelihood(what: str) -> None:
    """It was left out of the workspace: 400 events in A where the count has 440."""
    negative = Yields(Count(0, 0), Count(-20, 10), Count(0, 0), Count(0, 0))
    assert predict(counts(500, 200, 100, 50), negative).background == pytest.approx(440)
    with pytest.raises(AbcdError, match=rf"{what} in region B is negative \(-20\)"):
        workspace(counts(500, 200, 100, 50), **{what: negative})


@pytest.mark.parametrize("what", ["contamination", "signal"])
def test_what_is_too_uncertain_has_no_likelihood(what: str) -> None:
    """Its error was taken for 99 %, without a word."""
    uncertain = Yields(Count(0, 0), Count(2, 9), Count(0, 0), Count(0, 0))
    with pytest.raises(AbcdError, match=f"{what} in region B, 2 ± 3, is too uncertain"):
        workspace(counts(500, 200, 100, 50), **{what: uncertain})


def test_weighted_data_have_no_likelihood() -> None:
    with pytest.raises(AbcdError, match="weighted"):
        workspace(Yields(*[Count(10, 5)] * 4))
    with pytest.raises(AbcdError, match="too few"):
        independence(plane([0.1], [0.1]), X, Y)
    with pytest.raises(AbcdError, match="one row"):
        independence(plane([0.1] * 9, np.linspace(0, 0.9, 9)), X, Y)
