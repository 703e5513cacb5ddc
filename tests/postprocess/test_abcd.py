"""ABCD: numbers by hand, closure of independent variables, correlation found, likelihood, toys."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyhf
import pytest
from hist import Hist
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import default_rng

from analysis.postprocess.abcd import (
    AbcdResult,
    Cuts,
    closure,
    correlation,
    estimate,
    validation_cuts,
    workspace,
    yields_of,
)
from analysis.postprocess.sidebands import Count, SidebandError, Window

CUTS = Cuts(Window(0, 1), Window(1, 4), Window(2, 4), Window(0, 2))
"""The first variable passes below 1, the second above 2."""


def counts(**values: float) -> dict[str, Count]:
    return {name: Count(value, value) for name, value in values.items()}


def plane(x: Any, y: Any, weight: Any = None) -> Hist:
    content = Hist.new.Reg(8, 0, 4).Reg(8, 0, 4).Weight()
    return content.fill(x, y, weight=weight)


def independent(seed: int, size: int) -> Hist:
    rng = default_rng(seed)
    return plane(4 * rng.beta(1, 2, size), 4 * rng.beta(2, 3, size))


def test_estimate_by_hand() -> None:
    """20 × 30 / 60 = 10, relative error (1/20 + 1/30 + 1/60)^½ = 0.3162."""
    result = estimate(counts(B=20, C=30, D=60))
    assert result.background == pytest.approx(10)
    assert result.error == pytest.approx(10 * math.sqrt(0.1))
    assert result.observed is None
    assert result.toys is not None
    median, low, high = result.toys
    assert low < median < high
    assert (high - low) / 2 == pytest.approx(result.error, rel=0.1)


def test_toys_of_a_nearly_empty_region_are_none() -> None:
    result = estimate(counts(B=20, C=30, D=2))
    assert result.toys is None
    assert "toys" not in str(result)


def test_contamination_by_hand() -> None:
    """(25 - 5) (30 - 0) / (70 - 10) = 10; variances add up."""
    known = {"A": Count(3, 1), "B": Count(5, 4), "C": Count(0, 0), "D": Count(10, 2)}
    result = estimate(counts(B=25, C=30, D=70), known)
    assert result.background == pytest.approx(10)
    expected = 10 * math.sqrt(29 / 20**2 + 30 / 30**2 + 72 / 60**2)
    assert result.error == pytest.approx(expected)
    assert result.subtracted == {"B": 5, "C": 0, "D": 10}


@given(
    row=st.tuples(st.floats(1, 1e4), st.floats(1, 1e4)),
    column=st.tuples(st.floats(0.01, 10), st.floats(0.01, 10)),
)
def test_product_of_two_variables_closes_exactly(
    row: tuple[float, float], column: tuple[float, float]
) -> None:
    yields = counts(
        A=row[0] * column[0], B=row[1] * column[0], C=row[0] * column[1], D=row[1] * column[1]
    )
    assert closure(yields).pull == pytest.approx(0, abs=1e-9)


def test_yields_of_a_plane() -> None:
    content = plane(
        [0.2, 0.2, 1.2, 3.9, 0.4, 2.0], [2.5, 3.9, 2.0, 0.1, 1.9, 1.0], [1, 2, 3, 4, 5, 6]
    )
    assert yields_of(content, CUTS) == {
        "A": Count(3, 5), "B": Count(3, 9), "C": Count(5, 25), "D": Count(10, 52),
    }  # fmt: skip


def test_independent_variables_close_and_correlated_ones_do_not() -> None:
    content = independent(1, 50_000)
    assert closure(yields_of(content, CUTS)).closes
    assert correlation(content).allowed
    rng = default_rng(2)
    x = 4 * rng.beta(1, 2, 50_000)
    tied = plane(x, np.clip(0.5 * x + 3 * rng.beta(2, 3, x.size), 0, 3.99))
    result = closure(yields_of(tied, CUTS))
    assert not result.closes
    assert "DOES NOT CLOSE" in str(result)
    assert not correlation(tied).allowed
    assert "NOT independent" in str(correlation(tied))


def test_correlation_by_hand() -> None:
    """Four events: x = 0.25, 0.25, 1.75, 1.75 and y = 0.25, 1.75, 1.75, 1.75: r = 1/√3."""
    result = correlation(plane([0.2, 0.2, 1.7, 1.7], [0.2, 1.7, 1.7, 1.7]))
    assert result.coefficient == pytest.approx(1 / math.sqrt(3))
    assert result.error == pytest.approx(1 / math.sqrt(3))


def test_closure_beside_the_signal() -> None:
    cuts = validation_cuts(CUTS, Window(1, 2), Window(1, 2))
    assert cuts == Cuts(Window(1, 2), Window(2, 4), Window(1, 2), Window(0, 1))
    assert closure(yields_of(independent(3, 50_000), cuts)).closes


@pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning")
def test_likelihood_has_the_same_central_value() -> None:
    yields = counts(A=40, B=200, C=90, D=700)
    known = {"A": Count(4, 1), "B": Count(20, 9), "C": Count(6, 2), "D": Count(30, 16)}
    result = estimate(yields, known)
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer())
    model_file = pyhf.Workspace(workspace(yields, known))
    model = model_file.model()
    data = model_file.data(model)
    fitted = dict(zip(model.config.par_names, pyhf.infer.mle.fit(data, model), strict=True))
    background = fitted["n"] * fitted["r"] * fitted["s"]
    assert background == pytest.approx(result.background, rel=1e-3)
    assert fitted["mu"] == pytest.approx(40 - 4 - result.background, rel=1e-3)


def test_toys_cover_the_truth() -> None:
    """1000 experiments of 25 expected in A: pull of what is there against what is expected."""
    rng = default_rng(2015)
    pulls = [
        closure(
            counts(**dict(zip("ABCD", rng.poisson([25, 400, 250, 4000]).tolist(), strict=True)))
        ).pull
        for _ in range(1000)
    ]
    assert abs(np.mean(pulls)) < 0.1
    assert np.std(pulls) == pytest.approx(1, abs=0.1)


def test_result_is_read_back() -> None:
    result = estimate(counts(A=9, B=20, C=30, D=60))
    assert AbcdResult.model_validate_json(result.model_dump_json()) == result
    assert "20.0 × 30.0 / 60.0" in str(result)


FILLED = independent(4, 100)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: estimate(counts(B=1, C=2)), "region D is missing"),
        (lambda: estimate(counts(B=1, C=2, D=0)), "region D is empty"),
        (lambda: estimate({**counts(C=2, D=3), "B": Count(-1, 1)}), "region B is empty"),
        (lambda: estimate(counts(B=1, C=2, D=math.nan)), "no valid yield"),
        (lambda: estimate({**counts(B=1, C=2), "D": Count(1, -1)}), "no valid yield"),
        (
            lambda: estimate(counts(B=1, C=2, D=3), counts(B=0, C=0, D=4)),
            "region D is filled by the contamination",
        ),
        (lambda: closure(counts(B=1, C=2, D=3)), "region A is missing"),
        (lambda: workspace(counts(B=1, C=2, D=3)), "region A is missing"),
        (lambda: yields_of(FILLED, CUTS._replace(first_pass=Window(0, 1.1))), "cuts the bin"),
        (lambda: yields_of(FILLED, CUTS._replace(first_fail=Window(1, 5))), "above the axis"),
        (lambda: yields_of(FILLED, CUTS._replace(second_pass=Window(2, 2))), "is empty"),
        (lambda: yields_of(FILLED[sum, :], CUTS), "two axes, this one has 1"),
        (lambda: correlation(plane([], [])), "empty"),
        (lambda: correlation(plane([1.0], [1.0])), "one row or column"),
        (lambda: correlation(plane([1.0], [1.0], [math.nan])), "not finite"),
        (lambda: validation_cuts(CUTS, Window(1.5, 2), Window(1, 2)), "not one end"),
    ],
)
def test_bad_input_is_one_line(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(SidebandError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
