"""Estimate the background in a signal region from three control regions: the ABCD method.

Two variables that are independent for the background divide the plane into four regions::

              y signal    y control
    x signal     A            B
    x control    C            D

Independence means A/B = C/D for the background, so that it has B·C/D events in A, the signal region.
What is not this background (signal, prompt leptons) is subtracted from B, C and D first. The method and
its conditions are described in PRD 103 (2021) 035021 (arXiv:2007.14400), section II, and EPJC 81 (2021)
643 (arXiv:1906.10831).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from hist import Hist
from numpy.typing import NDArray

from analysis.common.errors import AbcdError
from analysis.common.strict import Strict
from analysis.postprocess.windows import Count, Window, contents, edge_index

SIGNIFICANT = 3.0
"""Standard deviations of a correlation, or of a κ, that is believed."""
TOLERATED = 0.1
"""Bias of the estimate, |κ - 1|, that is allowed."""


class Sides(NamedTuple):
    """The two intervals of one variable. One that ends at infinity includes the overflow."""

    signal: Window
    control: Window


class Yields(NamedTuple):
    """Sum of weights in each region, and its variance."""

    a: Count
    b: Count
    c: Count
    d: Count


NOTHING = Yields(*[Count(0.0, 0.0)] * 4)


class Prediction(Strict):
    """Background in A from B, C and D."""

    observed: Yields
    contamination: Yields
    """Yields that were subtracted from `observed`."""
    background: float
    background_error: float
    """Statistical error to first order."""

    def __str__(self) -> str:
        return f"{self.background:.2f} ± {self.background_error:.2f} background events in A"


class Toys(Strict):
    """The estimate in pseudo-experiments: median, and the central 68.3 %."""

    median: float
    low: float
    high: float
    failed: float
    """Part of the pseudo-experiments without an estimate (nothing left in B, C or D)."""

    def __str__(self) -> str:
        up, down = self.high - self.median, self.median - self.low
        return f"{self.median:.2f} +{up:.2f} -{down:.2f} ({self.failed:.1%} of the toys fail)"


class Closure(Strict):
    """The estimate against the content of A."""

    prediction: Prediction
    found: float
    found_error: float
    pull: float
    """(found - predicted) in standard deviations of the difference."""

    def __str__(self) -> str:
        return f"{self.prediction}, {self.found:.2f} ± {self.found_error:.2f} found: {self.pull:+.2f} σ"


class Independence(Strict):
    """Test of the independence of two variables."""

    correlation: float
    correlation_error: float
    kappa: float | None
    """Double ratio A·D/(B·C), one for independent variables; None if a region is empty."""
    kappa_error: float | None

    @property
    def allowed(self) -> bool:
        """False if a significant dependence biases the estimate by more than is tolerated."""
        significant = abs(self.correlation) > SIGNIFICANT * self.correlation_error
        if self.kappa is None or self.kappa_error is None:
            return not significant
        bias = abs(self.kappa - 1)
        return bias <= TOLERATED or not (significant or bias > SIGNIFICANT * self.kappa_error)

    @property
    def tested(self) -> bool:
        """Whether a bias of the tolerated size would have been seen at one standard deviation."""
        return self.kappa_error is not None and self.kappa_error <= TOLERATED

    def __str__(self) -> str:
        kappa = "not known"
        if self.kappa is not None:
            kappa = f"{self.kappa:.2f} ± {self.kappa_error:.2f}"
        verdict = "method not allowed"
        if self.allowed:
            verdict = "method allowed" if self.tested else "too few events to tell"
        return (
            f"correlation {self.correlation:+.3f} ± {self.correlation_error:.3f}, "
            f"kappa {kappa}: {verdict}"
        )


def count_plane(plane: Hist, x: Sides, y: Sides) -> Yields:
    """Count the contents of a two-dimensional histogram in the four regions.

    Raises AbcdError for an interval that is empty, leaves the axis or cuts a bin, overlaps with the
    other of its variable, and for a histogram without counts or variances.
    """
    values, variances = _contents(plane)
    rows, columns = (
        [_slice(axis.edges, window, axis.name) for window in _disjoint(sides, axis.name)]
        for axis, sides in zip(plane.axes, (x, y), strict=True)
    )
    return Yields(
        *(
            Count(float(np.sum(values[row, column])), float(np.sum(variances[row, column])))
            for row in rows
            for column in columns
        )
    )


def predict(observed: Yields, contamination: Yields = NOTHING) -> Prediction:
    """Compute B·C/D of `observed` less `contamination`, without looking at A.

    Relative variances of B, C and D add up, those of the contamination included. Raises AbcdError
    for a region that is empty, or not positive after subtraction, and for values that are not finite.
    """
    b, c, d = remaining(observed, contamination)
    background = b.value * c.value / d.value
    relative = sum(count.variance / count.value**2 for count in (b, c, d))
    return Prediction(
        observed=observed,
        contamination=contamination,
        background=background,
        background_error=background * math.sqrt(relative),
    )


def remaining(observed: Yields, contamination: Yields = NOTHING) -> tuple[Count, Count, Count]:
    """Subtract `contamination` from B, C and D of `observed`; raises AbcdError as `predict`."""
    b, c, d = (
        _subtracted(name, getattr(observed, name), getattr(contamination, name)) for name in "bcd"
    )
    return b, c, d


def predict_with_toys(
    observed: Yields,
    generator: np.random.Generator,
    contamination: Yields = NOTHING,
    n_toys: int = 10_000,
) -> Toys:
    """Repeat the estimate with each region fluctuated: Poisson counts, a normal contamination.

    A weighted sum fluctuates as the Poisson count with the same relative variance. Raises AbcdError as
    `predict`, and if fewer than half of the pseudo-experiments give an estimate.
    """
    predict(observed, contamination)
    b, c, d = (
        _fluctuated(getattr(observed, name), n_toys, generator)
        - generator.normal(
            getattr(contamination, name).value,
            math.sqrt(getattr(contamination, name).variance),
            n_toys,
        )
        for name in "bcd"
    )
    possible = (b > 0) & (c > 0) & (d > 0)
    if np.mean(possible) < 0.5:
        msg = f"only {np.mean(possible):.0%} of the toys leave background in B, C and D"
        raise AbcdError(msg)
    low, median, high = np.quantile((b * c)[possible] / d[possible], [0.15865, 0.5, 0.84135])
    return Toys(median=median, low=low, high=high, failed=float(np.mean(~possible)))


def closure(observed: Yields, contamination: Yields = NOTHING) -> Closure:
    """Compare the estimate with the content of A, for simulation or a validation region.

    Raises AbcdError as `predict`, and for yields that all have no variance.
    """
    prediction = predict(observed, contamination)
    found = observed.a.value - contamination.a.value
    variance = observed.a.variance + contamination.a.variance
    if not (math.isfinite(found) and math.isfinite(variance)):
        msg = "region A is not finite"
        raise AbcdError(msg)
    if variance < 0:
        msg = "region A has a negative variance"
        raise AbcdError(msg)
    difference = math.sqrt(variance + prediction.background_error**2)
    if not difference > 0:
        msg = "no region has a variance: there is no error to compare the estimate with"
        raise AbcdError(msg)
    return Closure(
        prediction=prediction,
        found=found,
        found_error=math.sqrt(variance),
        pull=(found - prediction.background) / difference,
    )


def independence(plane: Hist, x: Sides, y: Sides) -> Independence:
    """Test the independence of two variables on events of the background alone, as of simulation.

    The correlation is Pearson's of the bins' centres (overflow counts as the last bin), with the error
    (1-r²)/√(n-1), n the effective number of events. Raises AbcdError as `count_plane`, and for fewer
    than three effective events or all events in one row or column.
    """
    yields = count_plane(plane, x, y)
    values, variances = _contents(plane)
    total = float(np.sum(values))
    effective = total**2 / float(np.sum(variances)) if total > 0 else 0.0
    if effective < 3:
        msg = f"{effective:.1f} effective events: too few for a correlation"
        raise AbcdError(msg)
    grid = np.meshgrid(*[_centres(axis.edges) for axis in plane.axes], indexing="ij")
    deviation = [values_of - np.sum(values * values_of) / total for values_of in grid]
    spread = [float(np.sum(values * part**2)) for part in deviation]
    if min(spread) <= 0:
        msg = "all events are in one row or column: no correlation can be computed"
        raise AbcdError(msg)
    correlation = float(np.sum(values * deviation[0] * deviation[1])) / math.sqrt(
        spread[0] * spread[1]
    )
    kappa, kappa_error = _kappa(yields)
    return Independence(
        correlation=correlation,
        correlation_error=(1 - correlation**2) / math.sqrt(effective - 1),
        kappa=kappa,
        kappa_error=kappa_error,
    )


def _kappa(yields: Yields) -> tuple[float | None, float | None]:
    if any(count.value <= 0 for count in yields):
        return None, None
    a, b, c, d = (count.value for count in yields)
    kappa = a * d / (b * c)
    relative = sum(count.variance / count.value**2 for count in yields)
    return kappa, kappa * math.sqrt(relative)


def _subtracted(name: str, observed: Count, contamination: Count) -> Count:
    region = name.upper()
    numbers = (*observed, *contamination)
    if not all(math.isfinite(number) for number in numbers):
        msg = f"region {region} is not finite"
        raise AbcdError(msg)
    if min(observed.variance, contamination.variance) < 0:
        msg = f"region {region} has a negative variance"
        raise AbcdError(msg)
    if observed.value <= 0:
        msg = f"region {region} is empty: no background can be estimated from it"
        raise AbcdError(msg)
    left = observed.value - contamination.value
    if left <= 0:
        msg = (
            f"region {region} has {observed.value:.4g} events and {contamination.value:.4g} to "
            "subtract: no background is left"
        )
        raise AbcdError(msg)
    return Count(left, observed.variance + contamination.variance)


def _fluctuated(count: Count, n_toys: int, generator: np.random.Generator) -> NDArray[np.float64]:
    scale = count.variance / count.value
    if scale == 0:
        return np.full(n_toys, count.value)
    return np.asarray(scale * generator.poisson(count.value / scale, n_toys))


def _contents(plane: Hist) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return values and variances, the overflow added to the last bin; the underflow must be empty."""
    if plane.ndim != 2:
        msg = f"the histogram has {plane.ndim} dimensions, not two"
        raise AbcdError(msg)
    values, variances = contents(plane, AbcdError, flow=True)
    return _folded(values, plane), _folded(variances, plane)


def _folded(contents: NDArray[np.float64], plane: Hist) -> NDArray[np.float64]:
    folded = np.array(contents, dtype=np.float64)
    for i, axis in enumerate(plane.axes):
        folded = np.moveaxis(folded, i, 0)
        if axis.traits.overflow:
            folded[-2] += folded[-1]
            folded = folded[:-1]
        if axis.traits.underflow:
            if np.any(folded[0]):
                msg = f"there are events below the axis {axis.name!r}"
                raise AbcdError(msg)
            folded = folded[1:]
        folded = np.moveaxis(folded, 0, i)
    if not np.all(np.isfinite(folded)):
        msg = "the histogram has bins that are not finite"
        raise AbcdError(msg)
    return folded


def _disjoint(sides: Sides, name: str) -> Sides:
    for window in sides:
        if not window.low < window.high:
            msg = f"{name} from {window.low:g} to {window.high:g} is empty"
            raise AbcdError(msg)
    first, second = sorted(sides)
    if first.high > second.low:
        msg = f"signal and control side of {name} overlap"
        raise AbcdError(msg)
    return sides


def _slice(edges: NDArray[np.float64], window: Window, name: str) -> slice:
    """Select the bins of a window; a window without an end includes the overflow."""
    what = f"{name} from {window.low:g} to {window.high:g}"
    first = edge_index(edges, window.low, what, AbcdError)
    if math.isinf(window.high):
        return slice(first, len(edges) - 1)
    last = edge_index(edges, window.high, what, AbcdError)
    if last == len(edges) - 1:
        msg = f"{what} ends with the axis, whose overflow counts: give it no end"
        raise AbcdError(msg)
    return slice(first, last)


def _centres(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    return (edges[1:] + edges[:-1]) / 2
