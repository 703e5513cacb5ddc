"""Background from two variables: the ABCD method.

    second variable
      ^   B | A        A: where the signal is wanted, and the background asked for
      |   --+--        B: first variable fails, C: second variable fails, D: both fail
      |   D | C
      +------------> first variable

If the two variables are independent for the background, A / B = C / D, so A = B C / D. Contamination
by other processes, known from simulation, is subtracted from B, C and D first.
See CMS Open Data Guide, analysis/backgrounds, ABCD method.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from hist import Hist
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from analysis.postprocess.sidebands import Count, SidebandError, Window, window_slice
from analysis.validation import Strict

CONTROL = ("B", "C", "D")
REGIONS = ("A", *CONTROL)

MAX_DEVIATION = 3.0
"""Standard deviations that the closure or the correlation may be off before the result is marked."""


MIN_FILLED = 0.99
"""Part of the pseudo-experiments that must have something in D."""


class AbcdError(SidebandError):
    """Yields or regions that give no estimate."""


Yields = Mapping[str, Count]
"""Region -> yield, of `REGIONS` (`A` may be missing where it is not asked for)."""


class Cuts(NamedTuple):
    """Windows of the two axes: passing is the signal's side. They need not touch each other."""

    first_pass: Window
    first_fail: Window
    second_pass: Window
    second_fail: Window


class AbcdResult(Strict):
    """Background expected in A; one standard deviation errors."""

    background: float
    error: float
    """Propagated."""
    toys: tuple[float, float, float] | None
    """Median, and the ends of the central 68 %, of pseudo-experiments of the control regions; None if
    D is so small that many of them have none there."""
    observed: Count | None
    """In A, if it was given: everything that is there, signal included."""
    control: dict[str, Count]
    """B, C and D after subtraction."""
    subtracted: dict[str, float]

    def __str__(self) -> str:
        toys = ""
        if self.toys is not None:
            low, high = self.toys[1] - self.background, self.toys[2] - self.background
            toys = f" (toys {low:+.1f} {high:+.1f})"
        b, c, d = (f"{self.control[name].value:.1f}" for name in CONTROL)
        return (
            f"{self.background:.1f} ± {self.error:.1f}{toys} background events in A = B C / D = "
            f"{b} × {c} / {d}"
        )


class Closure(Strict):
    """Estimate against the known content of A, or of a validation region."""

    expected: float
    expected_error: float
    observed: float
    observed_error: float

    @property
    def pull(self) -> float:
        """(observed - expected) / error of the difference."""
        error = math.hypot(self.expected_error, self.observed_error)
        return (self.observed - self.expected) / error if error > 0 else 0.0

    @property
    def closes(self) -> bool:
        return abs(self.pull) < MAX_DEVIATION

    def __str__(self) -> str:
        word = "closes" if self.closes else "DOES NOT CLOSE"
        return (
            f"{word}: {self.observed:.1f} ± {self.observed_error:.1f} observed, "
            f"{self.expected:.1f} ± {self.expected_error:.1f} expected ({self.pull:+.1f} σ)"
        )


class Correlation(Strict):
    """Linear correlation of the two variables; the method asks for none."""

    coefficient: float
    error: float

    @property
    def allowed(self) -> bool:
        return abs(self.coefficient) < MAX_DEVIATION * self.error

    def __str__(self) -> str:
        text = f"correlation {self.coefficient:+.3f} ± {self.error:.3f}"
        return text if self.allowed else f"{text}: the variables are NOT independent"


def yields_of(histogram: Hist, cuts: Cuts) -> dict[str, Count]:
    """The yields of the four regions of a two-dimensional weighted histogram.

    Raises SidebandError for cuts that leave an axis or cut a bin, and without variances.
    """
    _require_plane(histogram)
    x, y = (axis.edges for axis in histogram.axes)
    first = [window_slice(x, window) for window in (cuts.first_pass, cuts.first_fail)]
    second = [window_slice(y, window) for window in (cuts.second_pass, cuts.second_fail)]
    where = {
        "A": (first[0], second[0]),
        "B": (first[1], second[0]),
        "C": (first[0], second[1]),
        "D": (first[1], second[1]),
    }
    values, variances = histogram.values(), histogram.variances()
    return {
        name: Count(float(np.sum(values[place])), float(np.sum(variances[place])))
        for name, place in where.items()
    }


def estimate(
    yields: Yields,
    contamination: Yields | None = None,
    *,
    n_toys: int = 10_000,
    rng: Generator | None = None,
) -> AbcdResult:
    """Background in A from B, C and D.

    `contamination` is what other processes, the signal among them, put there. The propagated error
    is |A| (σ_B²/B² + σ_C²/C² + σ_D²/D²)^½; the toys draw each region anew (weighted ones as scaled
    Poisson numbers) and do not need the errors to be small. Raises AbcdError for a missing or empty
    region, for one that contamination fills, and for numbers that are none.
    """
    control = {name: _subtract(name, yields, contamination) for name in CONTROL}
    background, error = _product(control)
    return AbcdResult(
        background=background,
        error=error,
        toys=_toys(yields, contamination, n_toys, rng or default_rng(2015)),
        observed=yields.get("A"),
        control=control,
        subtracted={
            name: 0.0 if contamination is None else contamination[name].value for name in CONTROL
        },
    )


def closure(yields: Yields, contamination: Yields | None = None) -> Closure:
    """The estimate against A, where A holds background only but for the contamination."""
    expected, error = _product({name: _subtract(name, yields, contamination) for name in CONTROL})
    _require(yields, "A")
    known = Count(0.0, 0.0) if contamination is None else contamination["A"]
    observed = yields["A"]
    return Closure(
        expected=expected,
        expected_error=error,
        observed=observed.value - known.value,
        observed_error=math.sqrt(observed.variance + known.variance),
    )


def validation_cuts(cuts: Cuts, first: Window, second: Window) -> Cuts:
    """Cuts of a closure test without the signal: the ends `first`, `second` of the failing windows
    play passing. Raises AbcdError if they are not at an end of them.
    """
    rest_first = _rest(cuts.first_fail, first)
    rest_second = _rest(cuts.second_fail, second)
    return Cuts(first, rest_first, second, rest_second)


def correlation(histogram: Hist) -> Correlation:
    """Pearson's coefficient of the binned variables, of a histogram of background.

    The error is that of no correlation, 1 / √(N - 1) with N the effective number of events.
    """
    _require_plane(histogram)
    weights = histogram.values()
    total = float(np.sum(weights))
    if not total > 0:
        msg = "the histogram is empty: no correlation"
        raise AbcdError(msg)
    x, y = (axis.centers for axis in histogram.axes)
    mean_x, mean_y = (np.sum(weights.sum(axis=i) * v) / total for i, v in ((1, x), (0, y)))
    dx, dy = x - mean_x, y - mean_y
    spread = math.sqrt(np.sum(weights.sum(axis=1) * dx**2) * np.sum(weights.sum(axis=0) * dy**2))
    if spread == 0:
        msg = "all events are in one row or column: no correlation"
        raise AbcdError(msg)
    effective = total**2 / float(np.sum(histogram.variances()))
    return Correlation(
        coefficient=float(dx @ weights @ dy) / spread, error=1 / math.sqrt(max(effective - 1, 1.0))
    )


def workspace(yields: Yields, contamination: Yields | None = None) -> dict[str, Any]:
    """The likelihood version: a pyhf workspace with the channels A, B, C and D.

    The background is n in D, n r in B, n s in C and n r s in A: three free factors, so B, C and D fix
    them, and A measures the signal `mu`, in events. The contamination is taken as known to its
    statistical error.
    """
    for name in REGIONS:
        _require(yields, name)
    factors = {"A": ("n", "r", "s"), "B": ("n", "r"), "C": ("n", "s"), "D": ("n",)}
    b, c, d = (_subtract(name, yields, contamination).value for name in CONTROL)
    most = 1e3 * max(yields["A"].value, 1.0)
    parameters = [{"name": "mu", "inits": [1.0], "bounds": [[-most, most]]}] + [
        {"name": name, "inits": [value], "bounds": [[0.0, 1e3 * value]]}
        for name, value in (("n", d), ("r", b / d), ("s", c / d))
    ]
    channels = [
        {"name": name, "samples": _samples(name, factors[name], contamination)} for name in REGIONS
    ]
    return {
        "channels": channels,
        "observations": [{"name": name, "data": [yields[name].value]} for name in REGIONS],
        "measurements": [{"name": "abcd", "config": {"poi": "mu", "parameters": parameters}}],
        "version": "1.0.0",
    }


def _samples(
    name: str, factors: tuple[str, ...], contamination: Yields | None
) -> list[dict[str, Any]]:
    free = [{"name": factor, "type": "normfactor", "data": None} for factor in factors]
    samples = [{"name": "background", "data": [1.0], "modifiers": free}]
    if name == "A":
        signal = {"name": "mu", "type": "normfactor", "data": None}
        samples.append({"name": "signal", "data": [1.0], "modifiers": [signal]})
    if contamination is not None and contamination[name].value > 0:
        value, variance = contamination[name]
        error = {"name": f"staterror_{name}", "type": "staterror", "data": [math.sqrt(variance)]}
        modifiers = [error] if variance > 0 else []
        samples.append({"name": "contamination", "data": [value], "modifiers": modifiers})
    return samples


def _product(control: Yields) -> tuple[float, float]:
    """B C / D and its propagated error."""
    b, c, d = (control[name] for name in CONTROL)
    background = b.value * c.value / d.value
    relative = math.sqrt(sum(region.variance / region.value**2 for region in (b, c, d)))
    return background, background * relative


def _subtract(name: str, yields: Yields, contamination: Yields | None) -> Count:
    _require(yields, name)
    value, variance = yields[name]
    if contamination is not None:
        _require(contamination, name)
        value -= contamination[name].value
        variance += contamination[name].variance
    if not value > 0:
        what = "is empty" if contamination is None else "is filled by the contamination"
        msg = f"region {name} {what} ({value:g} left): no estimate"
        raise AbcdError(msg)
    return Count(value, variance)


def _require(yields: Yields, name: str) -> None:
    if name not in yields:
        msg = f"region {name} is missing: there is {', '.join(yields) or 'none'}"
        raise AbcdError(msg)
    value, variance = yields[name]
    if not (math.isfinite(value) and math.isfinite(variance) and variance >= 0):
        msg = f"region {name} has no valid yield: {value} with variance {variance}"
        raise AbcdError(msg)


def _toys(
    yields: Yields, contamination: Yields | None, n_toys: int, rng: Generator
) -> tuple[float, float, float] | None:
    drawn: dict[str, NDArray[np.float64]] = {}
    for name in CONTROL:
        value = _poisson(yields[name], n_toys, rng)
        if contamination is not None:
            value = value - _poisson(contamination[name], n_toys, rng)
        drawn[name] = value
    filled = drawn["D"] > 0
    if np.mean(filled) < MIN_FILLED:
        return None
    results = drawn["B"][filled] * drawn["C"][filled] / drawn["D"][filled]
    low, median, high = np.quantile(results, [0.1587, 0.5, 0.8413])
    return float(median), float(low), float(high)


def _poisson(count: Count, size: int, rng: Generator) -> NDArray[np.float64]:
    """Poisson numbers times the mean weight, with the mean and variance of the count."""
    if count.value <= 0 or count.variance <= 0:
        return np.full(size, count.value)
    weight = count.variance / count.value
    return np.asarray(rng.poisson(count.value / weight, size) * weight, dtype=np.float64)


def _require_plane(histogram: Hist) -> None:
    if histogram.ndim != 2:
        msg = f"the method needs a histogram of two axes, this one has {histogram.ndim}"
        raise AbcdError(msg)
    if histogram.variances() is None:
        msg = "the histogram has no variances: fill it with weighted storage"
        raise AbcdError(msg)
    if not np.all(np.isfinite(histogram.values())):
        msg = "the histogram has bins that are not finite"
        raise AbcdError(msg)


def _rest(fail: Window, part: Window) -> Window:
    if part.low == fail.low and part.high < fail.high:
        return Window(part.high, fail.high)
    if part.high == fail.high and part.low > fail.low:
        return Window(fail.low, part.low)
    msg = f"{part} is not one end of the failing window {fail}"
    raise AbcdError(msg)
