"""Count events in a window and estimate the background there from the bands beside it.

The simplest estimate from data: the events beside the peak are background, so their density says how
much of it lies under the peak. `average` takes the mean density of the two bands, which is right for
a background that is linear in the mass if the bands are equally far from the window; `linear`
interpolates the density between the centres of the bands, which is right for a linear background
wherever the bands are. Neither is right for a curved one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Literal, Self

import numpy as np
from hist import Hist
from numpy.typing import ArrayLike
from pydantic import model_validator
from scipy.special import xlogy

from analysis.common.errors import SidebandError
from analysis.common.strict import Strict
from analysis.postprocess.windows import Bins, Count, Window, binned, count

Method = Literal["average", "linear"]

MISSED = 20.0
"""Events expected in a stretch of a band that has none, above which there is no estimate."""

_PARTS = 50
"""Equal parts of a band in which values are counted."""

_FILLED = 3
"""Parts or bins of a band with data that make a distribution which can end."""


class SidebandRegions(Strict):
    """A signal window between two bands.

    Raises a validation error for windows that are empty, overlap or are out of order.
    """

    lower: Window
    signal: Window
    upper: Window

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for name in ("lower", "signal", "upper"):
            window = getattr(self, name)
            if not window.width > 0:
                msg = f"the {name} region {window} is empty"
                raise ValueError(msg)
        if self.lower.high > self.signal.low or self.signal.high > self.upper.low:
            regions = ", ".join(map(str, (self.lower, self.signal, self.upper)))
            msg = f"lower band, signal window and upper band overlap or are out of order: {regions}"
            raise ValueError(msg)
        return self


class SidebandResult(Strict):
    """Signal over a background estimated from the bands, with errors of one standard deviation."""

    method: Method
    regions: SidebandRegions
    in_window: float
    background: float
    background_error: float
    signal: float
    signal_error: float
    in_bands: tuple[float, float]
    """Content of the lower and of the upper band."""
    significance: float | None
    """Local significance of the signal in standard deviations; None without variances."""
    leakage: float | None = None
    """Part of the signal that the bands take for background, per signal in the window; None if no
    signal shape was given. The signal is too small by about this part."""

    def __str__(self) -> str:
        text = (
            f"{self.signal:.1f} ± {self.signal_error:.1f} signal events in "
            f"{self.regions.signal} over {self.background:.1f} ± {self.background_error:.1f} "
            f"background ({self.method} of {self.regions.lower} and "
            f"{self.regions.upper})"
        )
        if self.significance is not None:
            text += f", {self.significance:.1f} σ"
        if self.leakage is not None:
            text += f", {self.leakage:.2%} leak into the bands"
        for band, content in zip(
            (self.regions.lower, self.regions.upper), self.in_bands, strict=True
        ):
            if not content:
                text += f", no events in {band}"
        return text


def estimate(
    content: Hist | ArrayLike,
    regions: SidebandRegions,
    method: Method = "average",
    *,
    weights: ArrayLike | None = None,
    signal_cdf: Callable[[float], float] | None = None,
) -> SidebandResult:
    """Estimate the signal in the window of `regions`, from a histogram or from unbinned values.

    `signal_cdf` is the cumulative distribution of the signal alone: with it the leakage is reported.
    Raises SidebandError for content that cannot be counted, and for a signal outside of the window.
    """

    lower, window, upper = (
        count(content, region, weights) for region in (regions.lower, regions.signal, regions.upper)
    )
    _require_data(content, regions, weights)
    from_lower, from_upper = coefficients(regions, method)
    background = from_lower * lower.value + from_upper * upper.value
    variance = from_lower**2 * lower.variance + from_upper**2 * upper.variance
    return SidebandResult(
        method=method,
        regions=regions,
        in_window=window.value,
        background=background,
        background_error=math.sqrt(variance),
        in_bands=(lower.value, upper.value),
        signal=window.value - background,
        signal_error=math.sqrt(window.variance + variance),
        significance=significance(window, Count(background, variance), max(from_lower, from_upper)),
        leakage=None if signal_cdf is None else _leakage(regions, method, signal_cdf),
    )


def significance(window: Count, background: Count, coefficient: float) -> float | None:
    """Compute the local significance of an excess over a background from bands (likelihood ratio).

    T. Li and Y. Ma, Astrophys. J. 272 (1983) 317, equation 17, negative for a deficit. The bands count
    as one that sees τ = background / variance times what the window does, or 1 / `coefficient` if they
    are empty (R. Cousins et al., NIM A 595 (2008) 480, arXiv:physics/0702156, section 3); weighted
    sums count as the Poisson counts with the same relative variance. None for contents without variance.
    """
    weight = window.variance / window.value if window.value else 1.0
    if weight <= 0 or (background.value and background.variance <= 0):
        return None
    tau = weight * background.value / background.variance if background.value else 1 / coefficient
    on = window.value / weight
    off = tau * background.value / weight
    q = xlogy(on, on) + xlogy(off, off) - xlogy(on + off, on + off)
    q += on * math.log1p(tau) + off * math.log1p(1 / tau)
    sign = 1 if window.value >= background.value else -1
    return sign * math.sqrt(max(2 * q, 0.0))


def coefficients(regions: SidebandRegions, method: Method) -> tuple[float, float]:
    """Compute the background in the window for one event in the lower and one in the upper band."""
    lower, signal, upper = regions.lower, regions.signal, regions.upper
    share = 0.5
    if method == "linear":
        share = (signal.centre - lower.centre) / (upper.centre - lower.centre)
    return signal.width / lower.width * (1 - share), signal.width / upper.width * share


def _require_data(
    content: Hist | ArrayLike, regions: SidebandRegions, weights: ArrayLike | None
) -> None:
    """Raise SidebandError where a band has no data and by the density beside should have many."""
    bands = {"lower": regions.lower, "upper": regions.upper}
    bins = [binned(content, band, _PARTS, weights) for band in bands.values()]
    for (name, band), own, other in zip(bands.items(), bins, reversed(bins), strict=True):
        for gap, expected in _gaps(own, other):
            if expected > MISSED:
                msg = (
                    f"no events from {gap} in the {name} band {band}, where about {expected:.0f} are "
                    "expected from the density beside: move the band to where there are data"
                )
                raise SidebandError(msg)


def _gaps(own: Bins, other: Bins) -> Iterator[tuple[Window, float]]:
    """Find stretches without data at the ends of a band, and the effective events expected there.

    Expected are as many as in the stretch of the same width beside, or as the density of the `other` band
    says if all is empty.
    """
    edges, filled = own.edges, np.flatnonzero(own.values > 0)
    if not filled.size:
        yield (
            Window(edges[0], edges[-1]),
            _effective(other) * (edges[-1] - edges[0]) / (other.edges[-1] - other.edges[0]),
        )
        return
    if filled.size < _FILLED:
        return
    low, high = edges[filled[0]], edges[filled[-1] + 1]
    for gap, beside in (
        (Window(edges[0], low), Window(low, 2 * low - edges[0])),
        (Window(high, edges[-1]), Window(2 * high - edges[-1], high)),
    ):
        inside = (own.edges[:-1] >= beside.low) & (own.edges[1:] <= beside.high)
        yield gap, _effective(Bins(own.edges, own.values[inside], own.variances[inside]))


def _effective(bins: Bins) -> float:
    """Compute the number of events that has the relative error of the sum of weights."""
    variance = float(np.sum(bins.variances))
    return float(np.sum(bins.values)) ** 2 / variance if variance > 0 else 0.0


def _leakage(
    regions: SidebandRegions, method: Method, signal_cdf: Callable[[float], float]
) -> float:
    parts = [
        signal_cdf(window.high) - signal_cdf(window.low)
        for window in (regions.lower, regions.signal, regions.upper)
    ]
    if not parts[1] > 0:
        msg = f"the signal has no part in the window {regions.signal}"
        raise SidebandError(msg)
    from_lower, from_upper = coefficients(regions, method)
    return (from_lower * parts[0] + from_upper * parts[2]) / parts[1]
