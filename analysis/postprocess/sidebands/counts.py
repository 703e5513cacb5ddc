"""Background under a peak from the bands beside it: counts.

The simplest estimate from data: the events beside the peak are background, so their density says how
much of it lies under the peak. `average` takes the mean density of the two bands, which is right for
a background that is linear in the mass if the bands are equally far from the window; `linear`
interpolates the density between the centres of the bands, which is right for a linear background
wherever the bands are. Neither is right for a curved one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, Self

import numpy as np
from hist import Hist
from numpy.typing import ArrayLike
from pydantic import model_validator

from analysis.common.errors import SidebandError
from analysis.common.strict import Strict
from analysis.postprocess.windows import Count, Window, count_histogram, finite

Method = Literal["average", "linear"]


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
    """Signal over a background taken from the bands; one standard deviation errors."""

    method: Method
    regions: SidebandRegions
    in_window: float
    background: float
    background_error: float
    signal: float
    signal_error: float
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
        return text if self.leakage is None else f"{text}, {self.leakage:.2%} leak into the bands"


def count_values(values: ArrayLike, window: Window, weights: ArrayLike | None = None) -> Count:
    """Values (and weights) in the window.

    Raises SidebandError for values or weights that are not finite, or not one weight a value.
    """
    array = finite(values)
    inside = (array >= window.low) & (array < window.high)
    if weights is None:
        return Count(float(np.sum(inside)), float(np.sum(inside)))
    weight = finite(weights)
    if weight.shape != array.shape:
        msg = f"{weight.size} weights for {array.size} values"
        raise SidebandError(msg)
    chosen = weight[inside]
    return Count(float(np.sum(chosen)), float(np.sum(chosen**2)))


def estimate(
    content: Hist | ArrayLike,
    regions: SidebandRegions,
    method: Method = "average",
    *,
    weights: ArrayLike | None = None,
    signal_cdf: Callable[[float], float] | None = None,
) -> SidebandResult:
    """Signal in the window of `regions`, from a histogram or from unbinned values.

    `signal_cdf` is the cumulative distribution of the signal alone: with it the leakage is reported.
    Raises SidebandError for content that cannot be counted, and for a signal outside of the window.
    """

    def count(window: Window) -> Count:
        if isinstance(content, Hist):
            return count_histogram(content, window)
        return count_values(content, window, weights)

    lower, window, upper = count(regions.lower), count(regions.signal), count(regions.upper)
    from_lower, from_upper = coefficients(regions, method)
    background = from_lower * lower.value + from_upper * upper.value
    variance = from_lower**2 * lower.variance + from_upper**2 * upper.variance
    return SidebandResult(
        method=method,
        regions=regions,
        in_window=window.value,
        background=background,
        background_error=math.sqrt(variance),
        signal=window.value - background,
        signal_error=math.sqrt(window.variance + variance),
        leakage=None if signal_cdf is None else _leakage(regions, method, signal_cdf),
    )


def coefficients(regions: SidebandRegions, method: Method) -> tuple[float, float]:
    """Background in the window for one event in the lower and one in the upper band."""
    lower, signal, upper = regions.lower, regions.signal, regions.upper
    share = 0.5
    if method == "linear":
        share = (signal.centre - lower.centre) / (upper.centre - lower.centre)
    return signal.width / lower.width * (1 - share), signal.width / upper.width * share


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
