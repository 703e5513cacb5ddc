"""Fits of a peak over a background: the bands alone, or the whole range with a peak shape.

Extended maximum likelihood, of unbinned values or of a histogram (weighted ones included), with
`iminuit`: errors from HESSE, asymmetric ones from MINOS. A fit that did not converge raises FitError
and gives no number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from hist import Hist
from iminuit.cost import ExtendedBinnedNLL, ExtendedUnbinnedNLL
from numpy.typing import ArrayLike

from analysis.common.errors import FitError, did_you_mean
from analysis.common.strict import Strict
from analysis.postprocess.sidebands.counts import SidebandRegions, coefficients
from analysis.postprocess.sidebands.goodness import FittedBins, Goodness, goodness, improvement
from analysis.postprocess.sidebands.minimise import Cost, Measured, Minimum
from analysis.postprocess.sidebands.shapes import (
    MAX_ORDER,
    POLYNOMIALS,
    SIGNALS,
    Array,
    Parameter,
    PeakStart,
    Shape,
    background_shape,
    signal_shape,
)
from analysis.postprocess.windows import Window, binned, count, finite

UNBINNED_PULL_BINS = 60
"""Bins in which the goodness of an unbinned fit is judged and drawn."""

MAX_UNBINNED = 20_000
"""A peak over more values than these is fitted in `FINE_BINS` bins: the same result, much sooner."""

FINE_BINS = 2000

LEAST_INSIDE = 0.5
"""Part of a fitted peak that is in its window at least."""

MOST_EMPTY = 0.05
"""Part of its range in which a fitted polynomial may be below zero, where it is cut off."""

_TINY = 1e-12
"""Least expectation, as a part of all events, whose logarithm is taken."""

F_TEST_P_VALUE = 0.05
"""A polynomial gets another order only if the improvement is as unlikely as this by chance."""


class _Fit(Strict):
    """Fields of all fits."""

    background_shape: str
    order: int | None
    """Order of a polynomial background."""
    parameters: dict[str, Measured]
    correlation: tuple[tuple[float, ...], ...]
    """Correlation of the parameters, in their order; zero for parameters held at a value."""
    at_limit: tuple[str, ...]
    """Parameters that stopped at a limit and were held there, for the errors of the others."""
    undetermined: tuple[str, ...] = ()
    """Parameters that the data do not determine, held for the same reason."""
    goodness: Goodness
    bins: FittedBins

    def _remarks(self) -> str:
        text = f"; {self.goodness}"
        if self.at_limit:
            text += f"; at a limit: {', '.join(self.at_limit)}"
        if self.undetermined:
            text += f"; not determined by the data: {', '.join(self.undetermined)}"
        return text

    @property
    def _background_name(self) -> str:
        return (
            self.background_shape if self.order is None else f"{self.background_shape}{self.order}"
        )


class PeakFit(_Fit):
    """A peak and a background fitted to the whole range, with their yields in the range."""

    fit_range: Window
    signal_shape: str
    significance: float | None
    """Local significance in standard deviations: the square root of the rise of -2 ln L without the
    peak, negative for a deficit (Wilks, Ann. Math. Stat. 9 (1938) 60). That the peak was looked for in
    other places is not corrected for. None for a signal that is fixed."""

    @property
    def signal(self) -> Measured:
        return self.parameters["signal"]

    @property
    def background(self) -> Measured:
        return self.parameters["background"]

    def curve(self, x: ArrayLike) -> tuple[Array, Array]:
        """Compute the events per unit of x: of signal and background, and of background alone."""
        model, values = self._model()
        places = np.asarray(x, dtype=np.float64)
        background = model.density(places, 0.0, *values[1:])[1]
        return model.density(places, *values)[1], background

    def signal_cdf(self, x: float) -> float:
        """Compute the part of the fitted peak below x; the peak is normalised to the fit range."""
        model, values = self._model()
        place = np.array([np.clip(x, *self.fit_range)])
        return float(model.cumulative(place, 1.0, 0.0, *values[2:])[0])

    def _model(self) -> tuple[_PeakModel, list[float]]:
        values = [parameter.value for parameter in self.parameters.values()]
        start = PeakStart(self.parameters["position"].value, self.parameters["width"].value)
        # Not by `signal_shape`: a position may have stopped at the end of the range.
        peak = SIGNALS[self.signal_shape](start, self.fit_range)
        background = background_shape(self.background_shape, self.fit_range, self.order)
        return _PeakModel(peak, background, self.fit_range), values

    def __str__(self) -> str:
        significance = "" if self.significance is None else f", {self.significance:.1f} σ"
        return (
            f"{self.signal} signal events{significance} at {self.parameters['position']}, width "
            f"{self.parameters['width']}, over {self.background} background in {self.fit_range} "
            f"({self.signal_shape} + {self._background_name}){self._remarks()}"
        )


class SidebandFit(_Fit):
    """A background fitted to the bands alone, and its expectation in the signal window."""

    regions: SidebandRegions
    in_window: float
    signal: Measured

    @property
    def background(self) -> Measured:
        """Expected events in the signal window, their error with that of the shape."""
        return self.parameters["background"]

    def curve(self, x: ArrayLike) -> Array:
        """Compute the background events per unit of x."""
        span = Window(self.regions.lower.low, self.regions.upper.high)
        shape = background_shape(self.background_shape, span, self.order)
        values = [parameter.value for parameter in self.parameters.values()]
        model = _BandModel(shape, span, self.regions)
        return model.density(np.asarray(x, dtype=np.float64), *values)[1]

    def __str__(self) -> str:
        return (
            f"{self.signal} signal events in {self.regions.signal} over {self.background} "
            f"background ({self._background_name} fitted to {self.regions.lower} and "
            f"{self.regions.upper}){self._remarks()}"
        )


class _PeakModel(NamedTuple):
    """signal × peak + background × shape, both normalised to the range."""

    peak: Shape
    shape: Shape
    span: Window

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (*self.peak.parameters, *self.shape.parameters)

    def density(self, x: Array, *p: float) -> tuple[float, Array]:
        peak, background = self._split(p)
        density = p[0] * self.peak.density(x, self.span, peak) / _whole(self.peak, self.span, peak)
        density += (
            p[1]
            * self.shape.density(x, self.span, background)
            / _whole(self.shape, self.span, background)
        )
        return p[0] + p[1], density

    def cumulative(self, x: Array, *p: float) -> Array:
        peak, background = self._split(p)
        places = np.append(x, self.span.high)
        signal = self.peak.integral(places, self.span, peak)
        below = self.shape.integral(places, self.span, background)
        result: Array = p[0] * signal[:-1] / signal[-1] + p[1] * below[:-1] / below[-1]
        return result

    def _split(self, p: Sequence[float]) -> tuple[Array, Array]:
        end = 2 + len(self.peak.parameters)
        return np.array(p[2:end]), np.array(p[end:])


class _BandModel(NamedTuple):
    """A background normalised to the signal window, seen in the bands.

    With the yield in the window as a parameter, its error holds the covariance of the shape.
    """

    shape: Shape
    span: Window
    regions: SidebandRegions

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return self.shape.parameters

    def density(self, x: Array, *p: float) -> tuple[float, Array]:
        scale, shape = self._scale(p), np.array(p[1:])
        bands = self._over(self.regions.lower, shape) + self._over(self.regions.upper, shape)
        return scale * bands, scale * self.shape.density(x, self.span, shape)

    def cumulative(self, x: Array, *p: float) -> Array:
        return self._scale(p) * self.shape.integral(x, self.span, np.array(p[1:]))

    def _scale(self, p: Sequence[float]) -> float:
        in_window = self._over(self.regions.signal, np.array(p[1:]))
        # On its way a fit may try a shape that is cut off at zero in all of the window.
        return p[0] / max(in_window, _TINY * self.span.width)

    def _over(self, window: Window, shape: Array) -> float:
        low, high = self.shape.integral(np.array(window), self.span, shape)
        return float(high - low)


class _NotNegative(NamedTuple):
    """A model whose density is cut off where a negative peak takes more than there is.

    The likelihood of a density below zero has no bound where there are no events: a peak as negative
    as you like would describe them best. `grid` is where that is looked for without bins.
    """

    model: _PeakModel | _BandModel
    grid: Array

    def density(self, x: Array, *p: float) -> tuple[float, Array]:
        total, density = self.model.density(x, *p)
        if p[0] >= 0:
            return total, density
        cumulative = self.cumulative(self.grid, *p)
        least = _TINY * (abs(p[0]) + p[1]) / (self.grid[-1] - self.grid[0])
        return float(cumulative[-1] - cumulative[0]), np.maximum(density, least)

    def cumulative(self, x: Array, *p: float) -> Array:
        cumulative = self.model.cumulative(x, *p)
        if p[0] >= 0:
            return cumulative
        parts = np.maximum(np.diff(cumulative), _TINY * (abs(p[0]) + p[1]))
        return np.concatenate([[0.0], np.cumsum(parts)])


def fit_peak(
    content: Hist | ArrayLike,
    fit_range: Window,
    start: PeakStart,
    *,
    signal: str = "crystal_ball",
    background: str = "exponential",
    order: int | None = None,
    fixed: Mapping[str, float] | None = None,
    minos: Sequence[str] = ("signal",),
) -> PeakFit:
    """Fit a peak and a background to a histogram or to unbinned values in `fit_range`.

    `signal` and `background` name shapes of `analysis.postprocess.sidebands.shapes`; a polynomial without
    `order` gets the one that an F-test stops at. `fixed` holds parameters at values, `minos` names
    those that get a MINOS interval too. Raises FitError, or SidebandError for the content.
    """
    peak = signal_shape(signal, start, fit_range)
    sample = _sample(content, [fit_range])

    def fit(order: int | None) -> PeakFit:
        model = _PeakModel(peak, background_shape(background, fit_range, order), fit_range)
        total = float(np.sum(sample.bins.values))
        yields = [
            Parameter("signal", 0.3 * total, (-math.inf, math.inf)),
            Parameter("background", 0.7 * total, (0.0, math.inf)),
        ]
        minimum, fitted = _fit(model, yields, sample, fixed or {}, minos)
        return PeakFit(
            significance=None if "signal" in (fixed or {}) else _significance(minimum, peak),
            fit_range=fit_range,
            signal_shape=signal,
            background_shape=background,
            order=order,
            **fitted,
        )

    return _with_order(fit, background, order)


def in_window(fitted: PeakFit, window: Window) -> PeakFit:
    """Return the fit. Raise FitError if its curve is no peak in the window, as happens for few events."""
    position = fitted.parameters["position"].value
    inside = fitted.signal_cdf(window.high) - fitted.signal_cdf(window.low)
    if fitted.signal.value > 0 and window.low < position < window.high and inside >= LEAST_INSIDE:
        return fitted
    msg = (
        f"the fitted curve, {fitted.signal} events at {position:.4g} GeV with {inside:.0%} inside of "
        f"{window} GeV, is not the peak"
    )
    raise FitError(msg)


def fit_sidebands(
    content: Hist | ArrayLike,
    regions: SidebandRegions,
    *,
    background: str = "exponential",
    order: int | None = None,
) -> SidebandFit:
    """Fit a background to the two bands alone, and subtract what it expects in the window.

    Arguments and errors as of `fit_peak`.
    """
    span = Window(regions.lower.low, regions.upper.high)
    sample = _sample(content, [regions.lower, regions.upper])
    window, *bands = (
        count(content, region) for region in (regions.signal, regions.lower, regions.upper)
    )
    shares = coefficients(regions, "average")
    guess = sum(share * band.value for share, band in zip(shares, bands, strict=True))

    def fit(order: int | None) -> SidebandFit:
        model = _BandModel(background_shape(background, span, order), span, regions)
        in_window = Parameter("background", max(guess, 1.0), (0.0, math.inf))
        _, fitted = _fit(model, [in_window], sample, {}, ("background",))
        expected = fitted["parameters"]["background"]
        signal = Measured(
            value=window.value - expected.value,
            error=math.hypot(math.sqrt(window.variance), expected.error),
        )
        return SidebandFit(
            regions=regions,
            in_window=window.value,
            signal=signal,
            background_shape=background,
            order=order,
            **fitted,
        )

    return _with_order(fit, background, order)


_F = TypeVar("_F", bound=_Fit)


def _with_order(fit: Callable[[int | None], _F], background: str, order: int | None) -> _F:
    """Fit that order; without one, find the lowest order that the next does not clearly improve.

    Orders without a result are passed over.
    """
    if order is not None or background not in POLYNOMIALS:
        return fit(order)
    best: _F | None = None
    failures: list[FitError] = []
    for higher in range(1, MAX_ORDER + 1):
        try:
            candidate = fit(higher)
        except FitError as error:
            failures.append(error)
            continue
        if best is not None and _improvement(best, candidate) > F_TEST_P_VALUE:
            return best
        best = candidate
    if best is None:
        raise failures[0]
    return best


def _improvement(simpler: _Fit, richer: _Fit) -> float:
    return improvement((simpler.bins, simpler.goodness), (richer.bins, richer.goodness))


class _Sample(NamedTuple):
    """The content of the fitted windows, with its `values` if it is not binned."""

    windows: list[Window]
    bins: FittedBins
    values: Array | None


def _sample(content: Hist | ArrayLike, windows: list[Window]) -> _Sample:
    """Select the content of the windows.

    Raises SidebandError for a content that cannot be fitted, FitError for an empty one and for bins of
    a content without variance.
    """
    values = None
    if not isinstance(content, Hist):
        values = finite(content)
        values = np.concatenate(
            [values[(values >= low) & (values < high)] for low, high in windows]
        )
    parts = [binned(content, window, UNBINNED_PULL_BINS // len(windows)) for window in windows]
    columns = {
        "low": [part.edges[:-1] for part in parts],
        "high": [part.edges[1:] for part in parts],
        "values": [part.values for part in parts],
        "variances": [part.variances for part in parts],
        "expected": [np.zeros_like(part.values) for part in parts],
    }
    bins = FittedBins(**{name: tuple(np.concatenate(column)) for name, column in columns.items()})
    places = " and ".join(map(str, windows))
    if not np.sum(bins.values) > 0:
        msg = f"nothing to fit in {places}: all bins are empty"
        raise FitError(msg)
    if np.any((np.array(bins.values) > 0) & (np.array(bins.variances) == 0)):
        msg = f"bins in {places} have a content without variance: a fit cannot weigh them"
        raise FitError(msg)
    return _Sample(windows, bins, values)


def _fit(
    model: _PeakModel | _BandModel,
    yields: list[Parameter],
    sample: _Sample,
    fixed: Mapping[str, float],
    minos: Sequence[str],
) -> tuple[Minimum, dict[str, Any]]:
    """Minimise, and collect the fields of a fit record: parameters, correlation, goodness, bins."""
    parameters = {parameter.name: parameter for parameter in (*yields, *model.parameters)}
    for name in (*fixed, *minos):
        if name not in parameters:
            msg = f"the model has no parameter {name!r}: {did_you_mean(name, parameters)}"
            raise FitError(msg)
    _require_points(sample, len(parameters) - len(fixed))
    minimum = Minimum(_cost(model, sample, list(parameters)), parameters, fixed)
    _require_density(model, minimum.values, sample)
    errors = minimum.errors((*minos, yields[0].name))
    bins = _with_expected(sample.bins, model, minimum.values)
    return minimum, {
        **errors._asdict(),
        "goodness": goodness(bins, len(parameters) - len(fixed)),
        "bins": bins,
    }


def _significance(minimum: Minimum, peak: Shape) -> float:
    """Compare with no signal, for a peak of the fitted place and shape."""
    shape = {p.name: minimum.value(p.name) for p in peak.parameters}
    rise = minimum.rise({**shape, "signal": 0.0})
    return math.copysign(math.sqrt(max(rise, 0.0)), minimum.value("signal"))


def _require_density(
    model: _PeakModel | _BandModel, values: Sequence[float], sample: _Sample
) -> None:
    """Raise FitError for a model that is not a density of events."""
    bins = _with_expected(sample.bins, model, values)
    if min(bins.expected) < -1e-6 * sum(bins.values):
        msg = "the fitted peak is negative, by more than there is: there is no such peak to fit"
        raise FitError(msg)
    shape = np.array(values[-len(model.shape.parameters) :])
    density = model.shape.density(np.linspace(*model.span, FINE_BINS), model.span, shape)
    if np.mean(density <= 0) > MOST_EMPTY:
        msg = (
            f"the fitted {model.shape.name} is negative in {np.mean(density <= 0):.0%} of {model.span}: "
            "try bernstein, which never is, or another order"
        )
        raise FitError(msg)


def _require_points(sample: _Sample, n_parameters: int) -> None:
    points = int(np.count_nonzero(sample.bins.values))
    if sample.values is not None:
        points = len(sample.values)
    if points <= n_parameters:
        kind = "bins with entries" if sample.values is None else "values"
        msg = f"{points} {kind} are too few for a fit of {n_parameters} parameters"
        raise FitError(msg)


def _cost(fitted: _PeakModel | _BandModel, sample: _Sample, names: list[str]) -> Cost:
    model = _NotNegative(fitted, np.linspace(*sample.windows[0], FINE_BINS // 4 + 1))
    if sample.values is not None:
        if len(sample.values) <= MAX_UNBINNED or len(sample.windows) > 1:
            return ExtendedUnbinnedNLL(sample.values, model.density, name=names)
        counts, edges = np.histogram(sample.values, FINE_BINS, range=sample.windows[0])
        return ExtendedBinnedNLL(counts, edges, model.cumulative, name=names)
    bins = sample.bins
    counts, variances = np.array(bins.values), np.array(bins.variances)
    content = (
        counts if np.allclose(counts, variances, atol=0) else np.stack([counts, variances], axis=-1)
    )
    edges = np.unique([*bins.low, *bins.high])
    if len(edges) == len(counts) + 1:
        return ExtendedBinnedNLL(content, edges, model.cumulative, name=names)
    # A bin without content between the bands, which the mask takes out again.
    gap = int(np.searchsorted(edges, sample.windows[0].high * (1 - 1e-12)))
    cost = ExtendedBinnedNLL(
        np.insert(content, gap, 0, axis=0), edges, model.cumulative, name=names
    )
    cost.mask = np.arange(len(counts) + 1) != gap
    return cost


def _with_expected(
    bins: FittedBins, model: _PeakModel | _BandModel, values: Sequence[float]
) -> FittedBins:
    low, high = np.array(bins.low), np.array(bins.high)
    expected = model.cumulative(high, *values) - model.cumulative(low, *values)
    return bins.model_copy(update={"expected": tuple(expected)})


def _whole(shape: Shape, span: Window, p: Array) -> float:
    return float(shape.integral(np.array([span.high]), span, p)[0])
