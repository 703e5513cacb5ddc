"""Windows of an axis and what a histogram or a list of values holds in them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from hist import Hist
from numpy.typing import ArrayLike, NDArray

from analysis.common.errors import AnalysisError, SidebandError


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


class Bins(NamedTuple):
    """Bins of a histogram, without flow."""

    edges: NDArray[np.float64]
    values: NDArray[np.float64]
    variances: NDArray[np.float64]


def finite(values: ArrayLike) -> NDArray[np.float64]:
    """The values as an array; raises SidebandError if one is not finite."""
    array = np.asarray(values, dtype=np.float64)
    if not np.all(np.isfinite(array)):
        msg = f"{np.sum(~np.isfinite(array))} of {array.size} values are not finite"
        raise SidebandError(msg)
    return array


def edge_index(
    edges: NDArray[Any], value: float, what: str, error: type[AnalysisError] = AnalysisError
) -> int:
    """Index of the edge at `value`; raises `error`, naming `what`, if it cuts a bin or is outside."""
    nearest = int(np.argmin(np.abs(edges - value)))
    if math.isclose(edges[nearest], value, rel_tol=1e-9, abs_tol=1e-12):
        return nearest
    if not edges[0] < value < edges[-1]:
        msg = f"{what} is outside of the axis ({edges[0]:g} to {edges[-1]:g})"
        raise error(msg)
    below = int(np.searchsorted(edges, value)) - 1
    msg = f"{what} cuts the bin from {edges[below]:g} to {edges[below + 1]:g}: move it to an edge"
    raise error(msg)


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
