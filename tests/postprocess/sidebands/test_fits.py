"""Fits of peaks: known truth recovered, real J/psi, unbinned like binned, toys, bad input."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hist import Hist
from numpy.random import Generator, default_rng
from scipy import integrate, special, stats

from analysis.common.errors import FitError, SidebandError
from analysis.postprocess.sidebands import fits
from analysis.postprocess.sidebands.counts import SidebandRegions, estimate
from analysis.postprocess.sidebands.fits import PeakFit, fit_peak, fit_sidebands, in_window
from analysis.postprocess.sidebands.goodness import FittedBins, Goodness, f_test, goodness
from analysis.postprocess.sidebands.minimise import Minimum
from analysis.postprocess.sidebands.shapes import (
    BACKGROUNDS,
    POLYNOMIALS,
    SIGNALS,
    Parameter,
    PeakStart,
    Shape,
    background_shape,
    signal_shape,
)
from analysis.postprocess.windows import Window

RANGE = Window(2.6, 3.6)
START = PeakStart(3.1, 0.04)
REGIONS = SidebandRegions(lower=Window(2.6, 2.9), signal=Window(2.9, 3.3), upper=Window(3.3, 3.6))


def exponential(rng: Generator, size: int, slope: float = 1.2) -> Any:
    """Falls by exp(-slope) over RANGE."""
    u = rng.random(size)
    return RANGE.low - np.log1p(-u * -np.expm1(-slope)) * RANGE.width / slope


def sample(rng: Generator, n_signal: float = 400, n_background: float = 1000) -> Any:
    peak = rng.normal(3.1, 0.03, rng.poisson(n_signal))
    return np.concatenate([peak, exponential(rng, rng.poisson(n_background))])


def filled(values: Any, bins: int = 50, weight: Any = None) -> Hist:
    return Hist.new.Reg(bins, *RANGE).Weight().fill(values, weight=weight)


@pytest.mark.parametrize("width", [1e-3, 0.04])
def test_a_voigt_profile_is_smooth_between_the_points_of_its_grid(width: float) -> None:
    """Second differences of its integral are those of the density: straight lines between points are not."""
    shape = signal_shape("voigt", START, RANGE)
    step = 0.02 * width
    x = 3.1 + width * np.linspace(-3, 3, 301)
    integral = shape.integral(x, RANGE, np.array([3.1, width, width / 2]))
    density = special.voigt_profile(x - 3.1, width, width / 2)
    assert np.diff(integral) / step == pytest.approx((density[1:] + density[:-1]) / 2, rel=1e-3)
    bends = (density[2:] - density[:-2]) / 2
    assert np.diff(integral, 2) / step == pytest.approx(bends, abs=0.01 * np.max(np.abs(bends)))


@pytest.mark.full
@pytest.mark.parametrize("name", [*SIGNALS, *BACKGROUNDS])
def test_integral_is_that_of_the_density(name: str) -> None:
    if name in SIGNALS:
        shape = signal_shape(name, START, RANGE)
    else:
        shape = background_shape(name, RANGE, 3 if name in POLYNOMIALS else None)
    parameters = np.array([0.9 * p.start + 0.05 for p in shape.parameters])
    expected, _ = integrate.quad(
        lambda x: shape.density(np.array([x]), RANGE, parameters)[0], 2.8, 3.3, points=[2.84, 3.1]
    )
    low, high = shape.integral(np.array([2.8, 3.3]), RANGE, parameters)
    assert high - low == pytest.approx(expected, rel=1e-5)
    assert shape.integral(np.array([RANGE.low]), RANGE, parameters)[0] == pytest.approx(
        0, abs=1e-12
    )


@pytest.mark.full
@pytest.mark.parametrize("name", SIGNALS)
def test_the_integral_of_a_narrow_peak_in_a_wide_range(name: str) -> None:
    """Half of it and all of it; a grid as wide as the peak was off by 4 % for a Voigt profile."""
    wide = Window(2, 120)
    shape = signal_shape(name, PeakStart(3.09, 0.03), wide)
    values = np.array([parameter.start for parameter in shape.parameters])
    edges = [wide.low, *(3.09 + 0.03 * np.array([-9, -3, 0, 3, 9])), 10, wide.high]
    parts = [
        integrate.quad(lambda x: shape.density(np.array([x]), wide, values)[0], *pair)[0]
        for pair in itertools.pairwise(edges)
    ]
    found = shape.integral(np.array(edges), wide, values)
    assert found == pytest.approx([0, *np.cumsum(parts)], rel=2e-5)


def test_flat_limits_of_the_closed_forms() -> None:
    x = np.array([2.7, 3.0])
    flat = background_shape("exponential", RANGE).integral(x, RANGE, np.array([0.0]))
    assert flat == pytest.approx(x - RANGE.low)
    inverse = background_shape("power_law", RANGE).integral(x, RANGE, np.array([1.0]))
    assert inverse == pytest.approx(RANGE.low * np.log(x / RANGE.low))


@pytest.mark.parametrize("as_histogram", [pytest.param(False, marks=pytest.mark.full), True])
def test_peak_is_recovered(as_histogram: bool) -> None:
    values = sample(default_rng(1), 4000, 10_000)
    fit = fit_peak(filled(values) if as_histogram else values, RANGE, START, signal="gaussian")
    for name, truth in {
        "signal": 4000,
        "background": 10_000,
        "position": 3.1,
        "width": 0.03,
    }.items():
        measured = fit.parameters[name]
        assert abs(measured.value - truth) < 3 * measured.error
        assert measured.error < 0.05 * truth
    assert fit.goodness.p_value is not None
    assert 0.001 < fit.goodness.p_value < 0.999
    assert fit.signal.minos == pytest.approx((-fit.signal.error, fit.signal.error), rel=0.05)
    assert not fit.at_limit


def test_curve_and_bins_hold_the_fitted_yields() -> None:
    fit = fit_peak(sample(default_rng(2)), RANGE, START, signal="gaussian")
    x = np.linspace(*RANGE, 4001)
    total, background = (integrate.simpson(y, x=x) for y in fit.curve(x))
    assert background == pytest.approx(fit.background.value, rel=1e-5)
    assert total - background == pytest.approx(fit.signal.value, rel=1e-4)
    assert sum(fit.bins.expected) == pytest.approx(total, rel=1e-4)
    assert fit.signal_cdf(3.1) == pytest.approx(0.5, abs=0.1)
    assert (fit.signal_cdf(0.0), fit.signal_cdf(9.0)) == (0.0, pytest.approx(1.0))


@pytest.mark.shared
def test_jpsi_in_collision_data(dimuon_mass: Any) -> None:
    """Unbinned, one-sided Crystal Ball and exponential, 2.6 to 3.5 GeV."""
    fit = fit_peak(dimuon_mass, Window(2.6, 3.5), PeakStart(3.09, 0.03))
    assert fit.signal.value == pytest.approx(3076, abs=2)
    assert fit.signal.error == pytest.approx(68, abs=1)
    assert fit.parameters["position"].value == pytest.approx(3.0933, abs=2e-4)
    assert fit.parameters["position"].error == pytest.approx(0.0008, abs=5e-5)
    assert fit.parameters["width"].value == pytest.approx(0.0325, abs=2e-4)


@pytest.mark.full
@pytest.mark.shared
def test_z_in_collision_data(dimuon_mass: Any) -> None:
    start = PeakStart(91.0, 2.0)
    fit = fit_peak(dimuon_mass, Window(60, 120), start, signal="double_crystal_ball")
    assert fit.parameters["position"].value == pytest.approx(90.93, abs=0.1)
    assert fit.goodness.p_value is not None
    assert fit.goodness.p_value > 0.01


def test_sideband_fit_covers_the_true_background() -> None:
    rng = default_rng(3)
    background = exponential(rng, 20_000)
    values = np.concatenate([background, rng.normal(3.1, 0.03, 3000)])
    true = np.sum((background >= 2.9) & (background < 3.3))
    for content in (values, filled(values)):
        fit = fit_sidebands(content, REGIONS)
        assert abs(fit.background.value - true) < 3 * math.hypot(fit.background.error, true**0.5)
        assert fit.signal.value == fit.in_window - fit.background.value
        x = np.linspace(*REGIONS.signal, 501)
        assert integrate.simpson(fit.curve(x), x=x) == pytest.approx(fit.background.value, rel=1e-6)


def test_bands_need_not_touch_the_window() -> None:
    values = sample(default_rng(4), 0, 20_000)
    apart = SidebandRegions(lower=Window(2.6, 2.8), signal=Window(2.9, 3.3), upper=Window(3.4, 3.6))
    binned, unbinned = fit_sidebands(filled(values), apart), fit_sidebands(values, apart)
    assert binned.background.value == pytest.approx(unbinned.background.value, rel=0.01)
    assert len(binned.bins.values) == 20


def test_signal_error_by_hand() -> None:
    """Poisson error of the window and the error of the extrapolation, which are independent."""
    fit = fit_sidebands(sample(default_rng(5)), REGIONS)
    assert fit.signal.error == pytest.approx(math.hypot(fit.in_window**0.5, fit.background.error))


def test_weights_scale_the_errors() -> None:
    """Of a tenth of the weight each, ten times the events: the same yield, errors 1/√10."""
    rng = default_rng(6)
    values = sample(rng, 20_000, 50_000)
    one = fit_peak(filled(values), RANGE, START, signal="gaussian")
    light = fit_peak(filled(values, weight=0.1), RANGE, START, signal="gaussian")
    assert light.signal.value == pytest.approx(0.1 * one.signal.value, rel=1e-3)
    assert light.signal.error == pytest.approx(0.1 * one.signal.error, rel=0.02)
    assert light.goodness.chi2 == pytest.approx(one.goodness.chi2, rel=0.02)


def test_many_values_are_fitted_in_fine_bins_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = sample(default_rng(13), 8000, 15_000)
    fine = fit_peak(values, RANGE, START, signal="gaussian")
    monkeypatch.setattr("analysis.postprocess.sidebands.fits.MAX_UNBINNED", 10**9)
    unbinned = fit_peak(values, RANGE, START, signal="gaussian")
    assert fine != unbinned
    for name, measured in unbinned.parameters.items():
        assert abs(fine.parameters[name].value - measured.value) < 0.02 * measured.error
        assert fine.parameters[name].error == pytest.approx(measured.error, rel=0.01)


def test_fixed_parameter_stays() -> None:
    fit = fit_peak(sample(default_rng(7)), RANGE, START, signal="voigt", fixed={"gamma": 0.01})
    assert (fit.parameters["gamma"].value, fit.parameters["gamma"].error) == (0.01, 0.0)


def test_parameters_at_a_limit_are_held_there() -> None:
    """Of a background (1 - u)³, steeper than it can be, a Bernstein polynomial has only its first term left: one number."""
    u = 1 - default_rng(12).random(30_000) ** 0.25
    fit = fit_sidebands(RANGE.low + RANGE.width * u, REGIONS, background="bernstein", order=2)
    assert fit.at_limit == ("b1", "b2")
    in_bands = sum(fit.bins.values)
    assert fit.background.error == pytest.approx(fit.background.value / in_bands**0.5, rel=0.01)
    assert "at a limit: b" in str(fit)


@pytest.mark.full
def test_f_test_finds_the_order() -> None:
    """A line is enough for a line; a parabola is not taken for one."""
    rng = default_rng(8)
    u = rng.random(40_000)
    line = RANGE.low + RANGE.width * u[rng.random(u.size) < (1 - 0.5 * u)]
    parabola = RANGE.low + RANGE.width * u[rng.random(u.size) < (0.2 + 3 * (u - 0.5) ** 2)]
    assert fit_sidebands(line, REGIONS, background="chebyshev").order == 1
    assert fit_sidebands(parabola, REGIONS, background="chebyshev").order == 2


@pytest.mark.full
def test_f_test_compares_the_same_bins() -> None:
    """An exponential too steep for order 2, which stopped there with 1261 ± 24 of 261 events: order
    3 expects less in the upper band, whose bins then made fewer groups.
    """
    u = -np.log1p(-default_rng(5).random(3000) * -np.expm1(-8.0)) / 8.0
    fit = fit_sidebands(filled(RANGE.low + u), REGIONS, background="bernstein")
    assert fit.order is not None
    assert fit.order > 4
    assert abs(fit.background.value - 261) < 100


@pytest.mark.full
def test_an_order_that_gives_no_number_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a parabola: order 2 by itself, order 3 where that fails."""
    u = default_rng(8).random(40_000)
    parabola = (
        RANGE.low + RANGE.width * u[default_rng(9).random(u.size) < (0.2 + 3 * (u - 0.5) ** 2)]
    )
    shape = fits.background_shape

    def without_the_second(name: str, window: Window, order: int | None) -> Shape:
        if order == 2:
            msg = "the fit did not converge"
            raise FitError(msg)
        return shape(name, window, order)

    monkeypatch.setattr(fits, "background_shape", without_the_second)
    assert fit_sidebands(parabola, REGIONS, background="chebyshev").order == 3


@pytest.mark.parametrize("seed", range(3))
def test_a_polynomial_that_is_negative_gives_no_number(seed: int) -> None:
    """A line under (1 - u)⁴, which leaves the upper bins empty."""
    u = 1 - default_rng(seed).random(30_000) ** 0.2
    content = filled(RANGE.low + RANGE.width * u)
    with pytest.raises(FitError, match=r"fitted chebyshev is negative in \d+% of 2\.6 to 3\.6"):
        fit_sidebands(content, REGIONS, background="chebyshev", order=1)


@pytest.mark.full
@pytest.mark.parametrize("order", [2, 4])
def test_a_polynomial_may_be_cut_off_at_zero_in_the_whole_window(order: int) -> None:
    """On its way to the minimum: a number with its error, or none."""
    u = -np.log1p(-default_rng(0).random(3000) * -np.expm1(-6.0)) / 6.0
    with contextlib.suppress(FitError):
        fit = fit_sidebands(filled(RANGE.low + u), REGIONS, background="chebyshev", order=order)
        assert fit.background.error > 0.5 * fit.background.value / 3000**0.5
        assert min(fit.bins.expected) >= 0


def test_f_test_by_hand() -> None:
    """F = (20 - 10) / 1 / (10 / 10) = 10 with 1 and 10 degrees of freedom: p = 0.0101."""
    simpler, richer = (Goodness(chi2=c, ndf=n, p_value=None) for c, n in ((20, 11), (10, 10)))
    assert f_test(simpler, richer) == pytest.approx(0.01011, abs=1e-5)
    assert f_test(richer, richer) == 1.0


def test_goodness_by_hand() -> None:
    """Bins of 2 and 4 expected are merged, the last 3 join the group before: χ² = 1/6 + 4/13."""
    bins = FittedBins(
        low=(0, 1, 2, 3),
        high=(1, 2, 3, 4),
        values=(3, 4, 12, 3),
        variances=(3, 4, 12, 3),
        expected=(2, 4, 10, 3),
    )
    result = goodness(bins, 1)
    assert result.chi2 == pytest.approx(1 / 6 + 4 / 13)
    assert result.ndf == 1
    assert bins.pulls == pytest.approx([1 / 2**0.5, 0, 2 / 10**0.5, 0])
    assert goodness(bins, 2).p_value is None


def test_result_is_read_back() -> None:
    for fit in (
        fit_peak(sample(default_rng(9)), RANGE, START, signal="gaussian"),
        fit_sidebands(sample(default_rng(9)), REGIONS, background="bernstein", order=2),
    ):
        assert type(fit).model_validate_json(fit.model_dump_json()) == fit
        assert str(fit.goodness) in str(fit)


def steep(seed: int, n_signal: float, n_background: float, decay: float = 1.0) -> Hist:
    """A peak at 4 over an exponential that leaves the upper bins empty."""
    rng = default_rng(seed)
    peak = rng.normal(4, 0.3, rng.poisson(n_signal))
    background = rng.exponential(decay, rng.poisson(n_background))
    return Hist.new.Reg(60, 0, 10).Weight().fill(np.concatenate([peak, background]))


@pytest.mark.parametrize("seed", range(12))
def test_a_peak_over_empty_bins_does_not_become_negative_without_end(seed: int) -> None:
    """The likelihood of less than nothing in an empty bin has no bound: -2e8 events came out."""
    content = steep(seed, 60, 300)
    fit = fit_peak(content, Window(0, 10), PeakStart(4, 0.3), signal="gaussian", minos=())
    assert abs(fit.signal.value - 60) < 5 * fit.signal.error < 150
    assert min(fit.bins.expected) >= 0


@pytest.mark.parametrize("seed", range(3))
def test_a_peak_more_negative_than_there_is_gives_no_number(seed: int) -> None:
    """100 events a bin and a hole wider than the peak, which is deepest at -1.5 times what there is."""
    values = default_rng(seed).uniform(0, 10, 5000)
    content = Hist.new.Reg(50, 0, 10).Weight().fill(values[abs(values - 4) > 0.5])
    with pytest.raises(FitError):
        fit_peak(
            content, Window(0, 10), PeakStart(4, 0.4), signal="gaussian",
            fixed={"position": 4, "width": 0.4},
        )  # fmt: skip


def peak_over_exponential(seed: int) -> Hist:
    rng = default_rng(seed)
    values = np.concatenate([rng.normal(4, 0.3, 300), rng.exponential(1.5, 2000)])
    return Hist.new.Reg(100, 0, 10).Weight().fill(values)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(3))
def test_tails_that_the_data_do_not_determine_leave_the_errors_right(seed: int) -> None:
    """Tails that begin at six standard deviations: a Gaussian, whatever their power is."""
    content, start = peak_over_exponential(seed), PeakStart(4, 0.3)
    far = {"tail_start_low": 6.0, "tail_start_high": 6.0}
    fit = fit_peak(content, Window(0, 10), start, signal="double_crystal_ball", fixed=far)
    simple = fit_peak(content, Window(0, 10), start, signal="gaussian")
    assert set(fit.undetermined) | set(fit.at_limit) == {"tail_power_low", "tail_power_high"}
    assert "tail_power_low" in str(fit)
    for name, measured in simple.parameters.items():
        assert abs(fit.parameters[name].value - measured.value) < 0.05 * measured.error
        assert fit.parameters[name].error == pytest.approx(measured.error, rel=0.05)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(3))
def test_free_tails_widen_the_errors_and_do_not_narrow_them(seed: int) -> None:
    """Minuit's covariance was that of 292 ± 2 signal events where a Gaussian has 289 ± 22."""
    content, start = peak_over_exponential(seed), PeakStart(4, 0.3)
    fit = fit_peak(content, Window(0, 10), start, signal="double_crystal_ball")
    simple = fit_peak(content, Window(0, 10), start, signal="gaussian")
    for name in ("signal", "background"):
        assert fit.parameters[name].error > 0.95 * simple.parameters[name].error
    assert abs(fit.signal.value - 300) < 3 * fit.signal.error


def deviance(fit: PeakFit) -> float:
    """-2 ln L of the fitted bins against what is in them."""
    found, expected = np.array(fit.bins.values), np.array(fit.bins.expected)
    return float(2 * np.sum(expected - found + special.xlogy(found, found / expected)))


@pytest.mark.parametrize("seed", range(4))
def test_the_error_of_a_yield_is_the_profiles_where_a_parameter_is_at_its_limit(seed: int) -> None:
    """Of (1 - u)² Bernstein's coefficients are zero, their limit: in half of the fits they stop there."""
    rng = default_rng(seed)
    below = RANGE.low + RANGE.width * (1 - rng.random(2000) ** (1 / 3))
    content = filled(np.concatenate([rng.normal(3.1, 0.03, 800), below]))

    def fitted(**fixed: float) -> PeakFit:
        return fit_peak(
            content, RANGE, START, signal="gaussian", background="bernstein", order=2, fixed=fixed
        )

    fit = fitted()
    assert fit.signal.minos is not None
    low, high = fit.signal.minos
    assert fit.signal.error == pytest.approx((high - low) / 2)
    for distance in (low, high):
        rise = deviance(fitted(signal=fit.signal.value + distance)) - deviance(fit)
        assert rise == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("seed", range(4))
def test_a_second_gaussian_that_is_not_there_widens_the_error(seed: int) -> None:
    """One Gaussian as two: held at their limits, the shares made the error that of one alone."""
    rng = default_rng(seed)
    content = filled(np.concatenate([rng.normal(3.1, 0.03, 800), exponential(rng, 2000)]))
    two, one = (
        fit_peak(content, RANGE, START, signal=name) for name in ("double_gaussian", "gaussian")
    )
    assert two.signal.error > 0.97 * one.signal.error
    assert abs(two.signal.value - 800) < 4 * two.signal.error


def test_an_interval_ends_at_a_limit() -> None:
    """A Bernstein polynomial with one free coefficient, of a background that wants it below zero."""
    u = 1 - default_rng(12).random(3000) ** 0.25
    content = RANGE.low + RANGE.width * u
    fit = fit_peak(
        content, RANGE, START, signal="gaussian", background="bernstein", order=1,
        fixed={"signal": 0, "position": 3.1, "width": 0.03}, minos=("b1",),
    )  # fmt: skip
    assert fit.at_limit == ("b1",)
    b1 = fit.parameters["b1"]
    assert b1.minos is not None
    assert b1.minos[0] == pytest.approx(0, abs=0.01)
    assert 0 < b1.minos[1] < 0.1
    assert fit.significance is None


@pytest.mark.parametrize("sign", [1, -1])
def test_significance_of_a_peak_by_hand(sign: int) -> None:
    """Of a peak of known place and shape over a flat background, expected numbers without noise."""
    edges = np.linspace(*RANGE, 51)
    peak = sign * 150 * np.diff(stats.norm(3.1, 0.03).cdf(edges))
    content = Hist.new.Var(edges).Weight()
    content.view()["value"] = content.view()["variance"] = 50 + peak
    known = {"position": 3.1, "width": 0.03, "slope": 0.0}
    fit = fit_peak(content, RANGE, START, signal="gaussian", fixed=known)
    flat = (2500 + sign * 150) / 50
    rise = 2 * np.sum(special.xlogy(50 + peak, (50 + peak) / flat))
    assert fit.significance == pytest.approx(sign * rise**0.5, rel=1e-3)
    assert f", {fit.significance:.1f} σ at " in str(fit)


def test_a_negative_peak_is_none() -> None:
    """Half of the background is missing where the peak should be."""
    values = default_rng(1).uniform(*RANGE, 8000)
    missing = (abs(values - 3.1) < 0.05) & (default_rng(2).random(8000) < 0.5)
    known = {"position": 3.1, "width": 0.03}
    fit = fit_peak(filled(values[~missing]), RANGE, START, signal="gaussian", fixed=known)
    assert fit.significance is not None
    assert fit.significance < -5
    with pytest.raises(FitError, match=r"-\d+ ± \d+ .* is not the peak"):
        in_window(fit, Window(3.0, 3.2))


def test_a_peak_at_the_end_of_the_range_can_be_drawn() -> None:
    fit = fit_peak(sample(default_rng(3)), RANGE, START, signal="gaussian")
    there = fit.parameters["position"].model_copy(update={"value": RANGE.low})
    fit = fit.model_copy(update={"parameters": fit.parameters | {"position": there}})
    assert fit.signal_cdf(RANGE.high) == pytest.approx(1)


def pulls(run: Callable[[Any], tuple[float, float]], truth: float, **yields: float) -> Any:
    rng = default_rng(2015)
    results = [run(filled(sample(rng, **yields))) for _ in range(200)]
    return np.array([(value - truth) / error for value, error in results])


@pytest.mark.full
def test_toys_of_the_peak_fit() -> None:
    """200 here, 1000 and all methods in benchmarks/toys.py."""

    def run(content: Hist) -> tuple[float, float]:
        fit = fit_peak(content, RANGE, START, signal="gaussian", minos=())
        return fit.signal.value, fit.signal.error

    result = pulls(run, 400)
    assert abs(np.mean(result)) < 0.25
    assert np.std(result) == pytest.approx(1, abs=0.2)


@pytest.mark.full
def test_toys_of_the_sideband_fit() -> None:
    def run(content: Hist) -> tuple[float, float]:
        fit = fit_sidebands(content, REGIONS)
        return fit.signal.value, fit.signal.error

    result = pulls(run, 400)
    assert abs(np.mean(result)) < 0.25
    assert np.std(result) == pytest.approx(1, abs=0.2)


def test_linear_interpolation_is_biased_under_a_curved_background() -> None:
    """A steep exponential is convex: a line between the bands lies above it, the fit does not."""
    rng = default_rng(10)
    background = filled(exponential(rng, 200_000, slope=5.0))
    truth = float(np.sum(background.values()[15:35]))
    linear = estimate(background, REGIONS, "linear")
    fitted = fit_sidebands(background, REGIONS)
    assert linear.background - truth > 20 * linear.background_error
    assert abs(fitted.background.value - truth) < 3 * math.hypot(
        fitted.background.error, truth**0.5
    )


HISTOGRAM = filled(sample(default_rng(11)))
WITHOUT_VARIANCE = HISTOGRAM.copy()
WITHOUT_VARIANCE.view()["variance"][25] = 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_peak(HISTOGRAM, RANGE, START, signal="gausian"), "did you mean 'gaussian'"),
        (lambda: fit_peak(HISTOGRAM, RANGE, START, background="expo"), "'exponential'"),
        (lambda: fit_peak(HISTOGRAM, RANGE, PeakStart(9.0, 0.1)), "must be inside"),
        (lambda: fit_peak(HISTOGRAM, RANGE, START, fixed={"witdh": 1}), "'width'"),
        (lambda: fit_peak(HISTOGRAM, RANGE, START, minos=("mass",)), "no parameter 'mass'"),
        (lambda: fit_peak(HISTOGRAM, RANGE, START, order=2), "exponential has no order"),
        (
            lambda: fit_peak(HISTOGRAM, RANGE, START, background="chebyshev", order=99),
            "between 1 and 8",
        ),
        (lambda: fit_peak(HISTOGRAM, Window(2.61, 3.6), START), "cuts the bin"),
        (lambda: fit_peak(HISTOGRAM, Window(2.0, 3.6), START), "begins below the axis"),
        (lambda: fit_peak(WITHOUT_VARIANCE, RANGE, START), "a content without variance"),
        (lambda: fit_peak(filled([]), RANGE, START), "all bins are empty"),
        (lambda: fit_peak(filled([3.1] * 9), RANGE, START), "1 bins with entries are too few"),
        (lambda: fit_peak([3.1, 3.2], RANGE, START), "2 values are too few"),
        (lambda: fit_peak([3.1, np.nan], RANGE, START), "not finite"),
        (lambda: fit_peak(filled([3.1], weight=[-2.0]), RANGE, START), "negative bins"),
        (lambda: fit_peak(filled([3.1], weight=[np.nan]), RANGE, START), "not finite"),
        (lambda: fit_sidebands([3.1] * 20, REGIONS), "nothing to fit in 2.6 to 2.9 and 3.3 to 3.6"),
        (
            lambda: fit_peak(
                np.linspace(-1, 1, 50), Window(-1, 1), PeakStart(0, 0.1), background="power_law"
            ),
            "above zero",
        ),
    ],
)
def test_bad_input_is_one_line(call: Callable[[], Any], message: str) -> None:
    with pytest.raises((FitError, SidebandError), match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.full
def test_fit_that_does_not_converge_gives_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.postprocess.sidebands.minimise._CALLS", 1)
    with pytest.raises(FitError, match="did not converge"):
        fit_peak(HISTOGRAM, RANGE, START, signal="double_crystal_ball")


def test_a_minimum_that_the_profile_finds_lower_is_taken() -> None:
    """Two valleys: MIGRAD ends in the higher one, the interval of the other parameter leads on."""
    parameters = {"x": Parameter("x", 1.0, (-3, 3)), "y": Parameter("y", 0.0, (-9, 9))}
    cost: Any = TwoValleys()
    minimum = Minimum(cost, parameters, {})
    assert minimum.value("x") == pytest.approx(1, abs=0.2)
    errors = minimum.errors(("x", "y"))
    assert minimum.value("x") == pytest.approx(-1, abs=0.2)
    assert errors.parameters["y"].value == pytest.approx(0, abs=0.01)


class TwoValleys:
    """(x² - 1)² with the lower valley at x = -1; y beside it."""

    errordef = 1.0

    def __call__(self, x: float, y: float) -> float:
        return 0.4 * (x * x - 1) ** 2 + 0.1 * x + y * y
