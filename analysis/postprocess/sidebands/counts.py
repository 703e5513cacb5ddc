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
from typing import Literal, NamedTuple, Self

import numpy as np
from hist import Hist
from numpy.typing import ArrayLike, NDArray
from pydantic import model_validator

from analysis.common.errors import AnalysisError
from analysis.common.strict import Strict
from analysis.postprocess.windows import edge_index

Method = Literal["average", "linear"]


class SidebandError(AnalysisError):
    """Regions or values that give no background estimate."""


class Window(NamedTuple):
    """An interval of the mass, the lower edge included, the upper one not."""

    low: float
    high: float

    @property
    def width(self) -> float:
        return self.high - self.low

    @property
    def centre(self) -> float:
        return (self.low + self.high) / 2

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


class Count(NamedTuple):
    """Sum of weights in a window, and its variance."""

    value: float
    variance: float


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


def finite(values: ArrayLike) -> NDArray[np.float64]:
    """The values as an array; raises SidebandError if one is not finite."""
    array = np.asarray(values, dtype=np.float64)
    if not np.all(np.isfinite(array)):
        msg = f"{np.sum(~np.isfinite(array))} of {array.size} values are not finite"
        raise SidebandError(msg)
    return array


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


class Bins(NamedTuple):
    """Bins of a histogram, without flow."""

    edges: NDArray[np.float64]
    values: NDArray[np.float64]
    variances: NDArray[np.float64]


def bins_in(histogram: Hist, window: Window) -> Bins:
    """The bins of a one-dimensional histogram that make up the window.

    Raises SidebandError if the window leaves the axis or cuts a bin, for bins that are negative or
    not finite, in content or variance, and for a histogram without counts or variances, or of more
    than one axis.
    """
    if histogram.ndim != 1:
        msg = f"the histogram has {histogram.ndim} axes, not one"
        raise SidebandError(msg)
    if histogram.kind != "COUNT":
        msg = "the histogram holds means, not counts"
        raise SidebandError(msg)
    edges = histogram.axes[0].edges
    if window.low < edges[0] and not math.isclose(window.low, edges[0]):
        msg = f"region {window} begins below the axis ({edges[0]:g} to {edges[-1]:g})"
        raise SidebandError(msg)
    if window.high > edges[-1] and not math.isclose(window.high, edges[-1]):
        msg = f"region {window} ends above the axis ({edges[0]:g} to {edges[-1]:g})"
        raise SidebandError(msg)
    what = f"region {window}"
    first, last = (edge_index(edges, value, what, SidebandError) for value in window)
    variances = histogram.variances()
    if variances is None:
        msg = "the histogram has no variances: fill it with weighted storage"
        raise SidebandError(msg)
    values, variances = histogram.values()[first:last], variances[first:last]
    if not np.all(np.isfinite(values) & np.isfinite(variances)):
        msg = f"region {window} has bins that are not finite"
        raise SidebandError(msg)
    if np.any(values < 0):
        msg = f"region {window} has negative bins: no counts to estimate a background from"
        raise SidebandError(msg)
    if np.any(variances < 0):
        msg = f"region {window} has bins of negative variance: they have no error"
        raise SidebandError(msg)
    return Bins(edges[first : last + 1], values, variances)


def count_histogram(histogram: Hist, window: Window) -> Count:
    """Contents of a one-dimensional histogram in the window; raises as `bins_in`."""
    bins = bins_in(histogram, window)
    return Count(float(np.sum(bins.values)), float(np.sum(bins.variances)))


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
