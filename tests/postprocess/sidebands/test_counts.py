"""Sideband counts: numbers by hand, real J/psi, exact for linear backgrounds, biased for curved ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hist import Hist
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import norm

from analysis.common.errors import SidebandError
from analysis.postprocess.sidebands.counts import (
    SidebandRegions,
    SidebandResult,
    estimate,
    significance,
)
from analysis.postprocess.windows import Count, Window, count, count_values

JPSI = SidebandRegions(lower=Window(2.8, 3.0), signal=Window(3.0, 3.2), upper=Window(3.2, 3.4))


def filled(values: Any, bins: int = 30, low: float = 2.6, high: float = 3.5) -> Hist:
    return Hist.new.Reg(bins, low, high).Weight().fill(values)


@pytest.mark.shared
def test_jpsi_in_collision_data(dimuon_mass: Any) -> None:
    """3256, 441 and 206 in the three regions."""
    result = estimate(dimuon_mass, JPSI)
    assert result.in_window == 3256
    assert result.background == pytest.approx((441 + 206) / 2)
    assert result.signal == pytest.approx(2932.5)
    assert result.signal_error == pytest.approx(58.46, abs=0.01)


def test_different_widths_by_hand() -> None:
    """Densities 20 and 10 per unit, window of 0.5 at a third of the way: 7.5 and 8.33 events."""
    regions = SidebandRegions(lower=Window(0, 1), signal=Window(1, 1.5), upper=Window(2, 4))
    values = [0.5] * 20 + [1.2] * 50 + [3.0] * 20
    average, linear = estimate(values, regions), estimate(values, regions, "linear")
    assert average.background == pytest.approx(0.5 * (20 + 10) / 2)
    assert average.background_error == pytest.approx(np.sqrt(0.25**2 * 20 + 0.125**2 * 20))
    share = (1.25 - 0.5) / (3 - 0.5)
    assert linear.background == pytest.approx(0.5 * (20 * (1 - share) + 10 * share))
    assert linear.signal == pytest.approx(50 - linear.background)
    assert linear.signal_error == pytest.approx(np.hypot(np.sqrt(50), linear.background_error))


@given(st.floats(0, 10), st.floats(-0.4, 0.4), st.floats(0.05, 0.5), st.floats(0.05, 0.5))
def test_linear_interpolation_is_exact_for_a_linear_background(
    level: float, slope: float, lower: float, upper: float
) -> None:
    """Fine bins filled with the integral of level + slope × x, any band widths; no fluctuation."""
    regions = SidebandRegions(
        lower=Window(0, lower), signal=Window(0.6, 1.1), upper=Window(1.2, 1.2 + upper)
    )
    edges = np.unique(
        [w for window in (regions.lower, regions.signal, regions.upper) for w in window]
    )
    histogram = Hist.new.Var(edges).Weight()
    content = level * edges + 5 * edges + slope * edges**2 / 2
    histogram.view()["value"] = np.diff(content)
    result = estimate(histogram, regions, "linear")
    assert result.signal == pytest.approx(0, abs=1e-9 * (1 + level))


def test_a_curved_background_biases_linear_interpolation() -> None:
    """exp(-3 x) is below its chord: the background comes out too high, as the integrals say."""
    regions = SidebandRegions(lower=Window(0, 0.5), signal=Window(0.5, 1), upper=Window(1, 1.5))
    edges = np.array([0, 0.5, 1, 1.5])
    histogram = Hist.new.Var(edges).Weight()
    histogram.view()["value"] = 1e4 * -np.diff(np.exp(-3 * edges))
    histogram.view()["variance"] = histogram.view()["value"]
    result = estimate(histogram, regions, "linear")
    truth = histogram.values()[1]
    assert result.background > 1.3 * truth
    assert result.signal < -5 * result.signal_error


def test_pulls_of_pseudo_experiments() -> None:
    """200 signal events on a linear background: pull mean 0 and width 1."""
    rng = np.random.default_rng(7)
    pulls = []
    for _ in range(1000):
        n_signal, n_background = rng.poisson(200), rng.poisson(1500)
        tried = rng.random(3 * n_background)
        kept = tried[rng.random(3 * n_background) < 1 - 0.5 * tried][:n_background]
        background = 2.6 + 0.9 * kept
        values = np.concatenate([rng.normal(3.1, 0.02, n_signal), background])
        result = estimate(values, JPSI, "linear")
        pulls.append((result.signal - 200) / result.signal_error)
    assert abs(np.mean(pulls)) < 0.1
    assert abs(np.std(pulls) - 1) < 0.1


def test_weights_and_histogram_agree_with_counting() -> None:
    rng = np.random.default_rng(3)
    values, weights = rng.uniform(2.6, 3.5, 500), rng.uniform(0.5, 2, 500)
    regions = SidebandRegions(
        lower=Window(2.69, 2.96), signal=Window(2.96, 3.2), upper=Window(3.2, 3.41)
    )
    weighted = estimate(values, regions, weights=weights)
    histogram = Hist.new.Reg(30, 2.6, 3.5).Weight().fill(values, weight=weights)
    binned = estimate(histogram, regions)
    assert binned.signal == pytest.approx(weighted.signal)
    assert binned.signal_error == pytest.approx(weighted.signal_error)


def test_leakage_is_the_part_of_the_signal_in_the_bands() -> None:
    sigma = 0.1
    result = estimate([3.1] * 100, JPSI, signal_cdf=norm(3.1, sigma).cdf)
    inside = norm.cdf(1) - norm.cdf(-1)
    in_a_band = norm.cdf(3) - norm.cdf(1)
    assert result.leakage == pytest.approx(in_a_band / inside)
    assert "leak into the bands" in str(result)


@pytest.mark.parametrize(
    ("on", "off", "tau", "expected"),
    [
        (4, 5, 5.0, 1.95), (9, 17.83, 4.69, 1.99), (50, 55, 2.0, 3.02), (67, 15, 0.5, 3.04),
        (200, 10, 0.1, 2.38), (498_426, 493_434, 1.0, 5.01),
    ],
)  # fmt: skip
@pytest.mark.parametrize("weight", [1.0, 0.2])
def test_significance_of_counts(
    on: float, off: float, tau: float, expected: float, weight: float
) -> None:
    """Profile likelihood in table 1 of Cousins, Linnemann and Tucker; weights change nothing."""
    window = Count(weight * on, weight**2 * on)
    background = Count(weight * off / tau, weight**2 * off / tau**2)
    assert significance(window, background, 1 / tau) == pytest.approx(expected, abs=0.01)


def test_significance_at_the_ends() -> None:
    """Nothing in the bands: 2 n ln(1 + τ); as much as expected: none; less: negative; no variance: None."""
    one = Count(10.0, 5.0)
    assert significance(Count(8, 8), Count(0, 0), 0.5) == pytest.approx((16 * np.log(3)) ** 0.5)
    assert significance(Count(10, 10), one, 0.5) == pytest.approx(0, abs=1e-6)
    deficit = significance(Count(0, 0), one, 0.5)
    assert deficit == pytest.approx(-((2 * 20 * np.log(1.5)) ** 0.5))
    assert significance(Count(10, 0), one, 0.5) is None
    assert significance(Count(10, 10), Count(5, 0), 0.5) is None


def test_an_estimate_has_the_significance_of_its_counts() -> None:
    result = estimate([2.9] * 25 + [3.1] * 50 + [3.3] * 30, JPSI)
    assert result.significance == pytest.approx(3.02, abs=0.01)


def masses(low: float = 2.6, high: float = 3.5, n: int = 2000) -> Any:
    """A peak over a falling background, of which a selection has kept a range."""
    rng = np.random.default_rng(3)
    below = 2.6 - np.log(1 - rng.random(n) * (1 - np.exp(-1.5)))
    values = np.concatenate([rng.normal(3.1, 0.03, n // 2), below])
    return values[(values > low) & (values < high)]


@pytest.mark.parametrize("histogrammed", [False, True])
@pytest.mark.parametrize(
    ("low", "high", "gap"),
    [
        (2.6, 3.2, "3.2 to 3.4 in the upper band"),
        (3.0, 3.5, "2.8 to 3 in the lower band"),
        (2.6, 3.3, "3.3 to 3.4 in the upper band"),
        (2.88, 3.5, "2.8 to 2.88 in the lower band"),
    ],
)
def test_data_that_end_in_a_band_give_no_estimate(
    low: float, high: float, gap: str, histogrammed: bool
) -> None:
    """950 ± 36 events came out where 800 were put in."""
    values = masses(low, high)
    content = filled(values, bins=45) if histogrammed else values
    with pytest.raises(SidebandError, match=f"no events from {gap} .*, where about .* expected"):
        estimate(content, JPSI)


def test_data_that_reach_the_ends_of_the_bands_or_nearly_give_one() -> None:
    estimate(masses(2.8, 3.4), JPSI)
    estimate(masses(2.81, 3.39), JPSI)


def test_a_band_that_may_be_empty_by_chance_is_told() -> None:
    few = estimate([2.9] * 12 + [3.1] * 50, JPSI)
    assert few.background == 6
    assert str(few).endswith("no events in 3.2 to 3.4")
    assert "no events in 2.8 to 3, no events in" in str(estimate([3.1] * 50, JPSI))


def test_light_weights_are_few_events() -> None:
    """200 events of a hundredth are 200 events, and two of a hundred are two."""
    for n, weight, enough in ((200, 0.01, True), (2, 100.0, False)):
        values = [2.9] * n + [3.1] * 50
        weights = [weight] * n + [1.0] * 50
        if enough:
            with pytest.raises(SidebandError, match="about 200 are expected"):
                estimate(values, JPSI, weights=weights)
        else:
            assert estimate(values, JPSI, weights=weights).background == 100


def test_a_scaled_histogram_without_sums_of_squares_has_no_errors() -> None:
    """Its contents are no whole numbers; those of counts are their variances."""
    counts, weighted = Hist.new.Reg(45, 2.6, 3.5).Double(), filled(masses(), bins=45)
    counts.fill(masses())
    assert estimate(counts, JPSI) == estimate(weighted, JPSI)
    assert estimate(weighted * 0.37, JPSI).signal_error == pytest.approx(
        0.37 * estimate(counts, JPSI).signal_error
    )
    for factor in (0.37, 2.7):
        with pytest.raises(SidebandError, match="weighted or scaled: fill it with the sums of"):
            estimate(counts * factor, JPSI)


def test_a_result_prints_and_is_read_back() -> None:
    result = estimate([2.9] * 4 + [3.1] * 50 + [3.3] * 2, JPSI)
    assert str(result) == (
        "47.0 ± 7.2 signal events in 3 to 3.2 over 3.0 ± 1.2 background "
        "(average of 2.8 to 3 and 3.2 to 3.4), 8.8 σ"
    )
    assert SidebandResult.model_validate_json(result.model_dump_json()) == result


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        ({"lower": (2.8, 3.1), "signal": (3.0, 3.2), "upper": (3.2, 3.4)}, "overlap"),
        (
            {"lower": (2.8, 3.0), "signal": (3.2, 3.2), "upper": (3.2, 3.4)},
            "signal region .* empty",
        ),
        ({"lower": (3.2, 3.4), "signal": (3.0, 3.2), "upper": (2.8, 3.0)}, "out of order"),
    ],
)
def test_regions_that_make_no_sense(regions: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SidebandRegions.model_validate(regions)


@pytest.mark.parametrize(
    ("window", "message"),
    [
        (Window(2.5, 3.0), "begins below the axis"),
        (Window(3.2, 3.6), "ends above the axis"),
        (Window(2.61, 3.2), r"cuts the bin from 2.6 to 2.63: move it to an edge"),
    ],
)
def test_windows_that_a_histogram_cannot_count(window: Window, message: str) -> None:
    with pytest.raises(SidebandError, match=message):
        count(filled([3.0]), window)


def test_values_that_give_no_estimate() -> None:
    with pytest.raises(SidebandError, match="1 of 2 values are not finite"):
        estimate([3.0, float("nan")], JPSI)
    negative = filled([3.0])
    negative.view()["value"][5] = -1
    with pytest.raises(SidebandError, match="negative bins"):
        count(negative, Window(2.6, 3.5))
    means = Hist.new.Reg(30, 2.6, 3.5).Mean().fill([3.0], sample=[1])
    with pytest.raises(SidebandError, match="holds means"):
        count(means, Window(2.6, 3.5))
    unknown = Hist.new.Reg(30, 2.6, 3.5).Double().fill([3.0], weight=[2])
    with pytest.raises(SidebandError, match="no variances"):
        count(unknown, Window(2.6, 3.5))


@pytest.mark.parametrize(
    ("variance", "message"),
    [
        (np.nan, "bins that are not finite"),
        (-4.0, "bins of negative variance"),
    ],
)
def test_a_variance_that_is_none_gives_no_error(variance: float, message: str) -> None:
    content = filled([2.9, 3.1, 3.1, 3.3], bins=36)
    content.view()["variance"][content.axes[0].index(3.1)] = variance
    with pytest.raises(SidebandError, match=message):
        estimate(content, JPSI)


@pytest.mark.parametrize(
    ("weights", "message"),
    [([1.0, np.inf], "1 of 2 values are not finite"), ([1.0], "1 weights for 2 values")],
)
def test_weights_that_give_no_estimate(weights: list[float], message: str) -> None:
    with pytest.raises(SidebandError, match=message):
        estimate([2.9, 3.1], JPSI, weights=weights)


def test_a_histogram_of_two_axes_is_refused() -> None:
    plane = Hist.new.Reg(30, 2.6, 3.5).Reg(2, 0, 2).Weight().fill([3.1], [1])
    with pytest.raises(SidebandError, match="has 2 axes, not one"):
        estimate(plane, JPSI)


def test_a_signal_elsewhere_has_no_leakage() -> None:
    with pytest.raises(SidebandError, match="the signal has no part in the window"):
        estimate([3.1] * 100, JPSI, signal_cdf=norm(9.0, 0.01).cdf)


def test_an_edge_belongs_to_the_window_above_it() -> None:
    assert count_values([3.0, 3.2, 3.2], Window(3.0, 3.2)).value == 1
    assert count_values([3.0, 3.2, 3.2], Window(3.2, 3.4)).value == 2
