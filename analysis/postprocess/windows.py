"""Windows of an axis, and the content of histograms and lists of values in them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from hist import Hist
from hist.storage import Weight
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
    """Convert the values to an array. Raise SidebandError if one is not finite."""
    array = np.asarray(values, dtype=np.float64)
    if not np.all(np.isfinite(array)):
        msg = f"{np.sum(~np.isfinite(array))} of {array.size} values are not finite"
        raise SidebandError(msg)
    return array


def edge_index(
    edges: NDArray[Any], value: float, what: str, error: type[AnalysisError] = AnalysisError
) -> int:
    """Find the edge at `value`. Raise `error`, naming `what`, if it cuts a bin or is outside."""
    nearest = int(np.argmin(np.abs(edges - value)))
    if math.isclose(edges[nearest], value, rel_tol=1e-9, abs_tol=1e-12):
        return nearest
    if not edges[0] < value < edges[-1]:
        msg = f"{what} is outside of the axis ({edges[0]:g} to {edges[-1]:g})"
        raise error(msg)
    below = int(np.searchsorted(edges, value)) - 1
    msg = f"{what} cuts the bin from {edges[below]:g} to {edges[below + 1]:g}: move it to an edge"
    raise error(msg)


def contents(
    histogram: Hist, error: type[AnalysisError] = SidebandError, *, flow: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the values and variances of a histogram's bins.

    Raises `error` for means, and for sums of weights without sums of their squares: contents that are
    no whole numbers are not counts, and their own size is not their variance.
    """
    if histogram.kind != "COUNT":
        msg = "the histogram holds means, not counts"
        raise error(msg)
    values, variances = histogram.values(flow=flow), histogram.variances(flow=flow)
    weighted = histogram.storage_type is Weight
    if variances is None or not (weighted or np.all(values == np.rint(values))):
        msg = (
            "the histogram has no variances, and its contents are weighted or scaled: fill it with the "
            "sums of squares of the weights (weighted storage, Sumw2)"
        )
        raise error(msg)
    return values, variances


def bins_in(histogram: Hist, window: Window) -> Bins:
    """Select the bins of a one-dimensional histogram that make up the window.

    Raises SidebandError if the window leaves the axis or cuts a bin, for bins that are negative or
    not finite, in content or variance, and for a histogram without counts or variances, or of more
    than one axis.
    """
    if histogram.ndim != 1:
        msg = f"the histogram has {histogram.ndim} axes, not one"
        raise SidebandError(msg)
    values, variances = contents(histogram)
    edges = histogram.axes[0].edges
    if window.low < edges[0] and not math.isclose(window.low, edges[0]):
        msg = f"region {window} begins below the axis ({edges[0]:g} to {edges[-1]:g})"
        raise SidebandError(msg)
    if window.high > edges[-1] and not math.isclose(window.high, edges[-1]):
        msg = f"region {window} ends above the axis ({edges[0]:g} to {edges[-1]:g})"
        raise SidebandError(msg)
    what = f"region {window}"
    first, last = (edge_index(edges, value, what, SidebandError) for value in window)
    values, variances = values[first:last], variances[first:last]
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


def binned(
    content: Hist | ArrayLike, window: Window, parts: int, weights: ArrayLike | None = None
) -> Bins:
    """Select the bins of a histogram in the window, or bin values, with weights, in equal `parts` of it.

    Raises SidebandError as `bins_in`, and for values that are not finite.
    """
    if isinstance(content, Hist):
        return bins_in(content, window)
    values = finite(content)
    given = np.ones_like(values) if weights is None else finite(weights)
    inside = (values >= window.low) & (values < window.high)
    edges = np.linspace(*window, parts + 1)
    sums = [np.histogram(values[inside], edges, weights=given[inside] ** n)[0] for n in (1, 2)]
    return Bins(edges, *sums)


def count_values(values: ArrayLike, window: Window, weights: ArrayLike | None = None) -> Count:
    """Count values, or sum their weights, in the window.

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


def count(content: Hist | ArrayLike, window: Window, weights: ArrayLike | None = None) -> Count:
    """Count the content of a histogram, or values with their weights, in the window.

    Raises SidebandError as `bins_in` and `count_values`.
    """
    if not isinstance(content, Hist):
        return count_values(content, window, weights)
    bins = bins_in(content, window)
    return Count(float(np.sum(bins.values)), float(np.sum(bins.variances)))
