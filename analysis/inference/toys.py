"""Toys: pseudo-experiments of a model; limits and the goodness of fit by them, without asymptotics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from pydantic import NonNegativeFloat, NonNegativeInt
from scipy.optimize import brentq
from scipy.special import logsumexp, ndtr, ndtri, xlogy
from scipy.stats import norm

from analysis.common.errors import FitError
from analysis.common.strict import Strict
from analysis.inference.likelihood import Array, Likelihood, Mask
from analysis.inference.minimise import minimum

Mapped = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""As `map`: here, or by several processes."""

BLOCK = 200
"""Toys of one task: what is drawn does not depend on how many processes draw."""
_FEW = 5
"""Toys beyond a value below which they do not say how probable it is."""
_TIE = 1e-6
"""Difference of two values of a test statistic that is rounding."""


class Toys(NamedTuple):
    """How many toys, from which seed, and who draws and fits them."""

    number: int
    seed: int = 1
    mapped: Mapped = map


class ToyLimit(Strict):
    """CLs limits by toys; statistical errors are those of the toys."""

    toys: int
    """A third of them without signal, one near the observed limit, one near those of the bands."""
    failed: NonNegativeInt
    """Toys whose fits did not converge."""
    observed: float
    observed_error: NonNegativeFloat
    expected: list[float | None]
    """Without signal: as those of the asymptotic limit; None where too few toys are as extreme."""


class ToyGoodness(Strict):
    """The part of toys at the best fit whose χ² is as large as that of the data."""

    toys: int
    failed: NonNegativeInt
    p_value: float
    p_value_error: NonNegativeFloat


class _Task(NamedTuple):
    likelihood: Likelihood
    truth: Array
    toys: int
    seed: np.random.SeedSequence


class _LimitTask(NamedTuple):
    draw: _Task
    strengths: tuple[float, ...]
    """Tested for each toy."""
    truths: Array
    """Shape (truths, parameters): whose probabilities of the toys are wanted."""
    held: Mask
    """Auxiliary data that stay as observed."""


class _Tested(NamedTuple):
    """Toys of several truths, together as of their mixture."""

    statistics: Array
    """q̃μ, shape (toys, strengths)."""
    weights: Array
    """Probability at each truth over that of the mixture, shape (toys, truths)."""
    failed: int


def means(likelihood: Likelihood, truth: Array) -> Array:
    """Compute expected main and auxiliary data at `truth`; rates that extrapolated variations make
    negative are none."""
    known = likelihood.constraints
    measured = truth[known.parameters]
    counts = np.maximum(measured * known.rates, 0.0)
    auxiliary = np.where(known.widths > 0, measured, counts)
    return np.concatenate([np.maximum(likelihood.expected(truth), 0.0), auxiliary])


def drawn(likelihood: Likelihood, truth: Array, rng: np.random.Generator) -> Likelihood:
    """The model with data of one toy, main and auxiliary, drawn at the parameters `truth`."""
    expected, widths = means(likelihood, truth), _widths(likelihood)
    counts = rng.poisson(np.where(widths > 0, 0.0, expected))
    return likelihood.with_data(np.where(widths > 0, rng.normal(expected, widths), counts))


def drawn_about(
    likelihood: Likelihood, truth: Array, held: Mask, rng: np.random.Generator
) -> tuple[Likelihood, Array]:
    """Draw a toy whose auxiliary data `held` are as observed, and their free parameters about these.

    Of each of these parameters the probability is that of its auxiliary measurement, within its bounds: a normal
    distribution, or for a count n a Gamma distribution of shape n, whose mean is what was measured (R. D.
    Cousins and V. L. Highland, NIM A 320 (1992) 331). Returns the toy and all its parameters.
    """
    values, known = truth.copy(), likelihood.constraints
    free = held & ~likelihood.constant[known.parameters]
    for gaussian in (True, False):
        some = free & ((known.widths > 0) == gaussian)
        parameters, observed = known.parameters[some], likelihood.auxiliary[some]
        if gaussian:
            widths = known.widths[some]
            ends = [ndtr((bound[parameters] - observed) / widths) for bound in likelihood.bounds]
            values[parameters] = observed + widths * ndtri(rng.uniform(*ends))
        else:
            values[parameters] = rng.gamma(observed, 1 / known.rates[some])
    toy = drawn(likelihood, values, rng)
    auxiliary = np.where(held, likelihood.auxiliary, toy.auxiliary)
    return toy.with_data(np.concatenate([toy.main, auxiliary])), values


def _widths(likelihood: Likelihood) -> Array:
    """Widths of main and auxiliary data; 0 for counts."""
    return np.concatenate([np.zeros(likelihood.main.size), likelihood.constraints.widths])


def _logarithms(toy: Likelihood, expected: Array) -> Array:
    """Compute ln of the probability of the data at each truth, but for what is the same for all."""
    data, widths = np.concatenate([toy.main, toy.auxiliary]), _widths(toy)
    gaussian = widths > 0
    distances = (data - expected)[:, gaussian] / widths[gaussian]
    rates = expected[:, ~gaussian]
    logarithms: Array = np.sum(xlogy(data[~gaussian], rates) - rates, axis=1)
    logarithms -= np.sum(distances**2, axis=1) / 2
    return logarithms


def limit_by_toys(
    likelihood: Likelihood,
    truths: Mapping[float, Array],
    observed: Mapping[float, float],
    near: Mapping[float | None, Sequence[float]],
    held: Mask,
    level: float,
    toys: Toys,
) -> ToyLimit:
    """Where CLs of toys falls to 1 - `level`, observed and expected without signal.

    `truths` are all parameters at each strength as the data have them, the first at a strength of 0;
    `observed` is the test statistic of the data at the others; `near` has strengths on either side of the
    observed limit (None) and of that of each band, in standard deviations. Auxiliary data are drawn about the
    truth, but those `held`, for which their parameters are (`drawn_about`). Every toy counts for every truth,
    by its probability there over that of the mixture which all toys are drawn from (multiple importance
    sampling, E. Veach and L. Guibas, 1995). Raises FitError where too few toys are as extreme as the data.
    """
    tested = _tested(likelihood, truths, near[None], held, toys)
    places = {strength: i for i, strength in enumerate(observed)}

    def limit(band: float | None) -> tuple[float, float] | None:
        points = []
        for strength in near[band]:
            q, without = tested.statistics[:, places[strength]], tested.weights[:, 0]
            cut = observed[strength] if band is None else _quantile(q, without, norm.sf(band))
            having = tested.weights[:, places[strength] + 1]
            beyond = q >= cut - _TIE
            points.append(_point(strength, having * beyond, without * beyond))
        return _crossing([point for point in points if point is not None], 1 - level)

    found = limit(None)
    if found is None:
        msg = "too few toys are as extreme as the data: more are needed (--toys)"
        raise FitError(msg)
    crossings = [limit(band) for band in near if band is not None]
    return ToyLimit(
        toys=toys.number,
        failed=tested.failed,
        observed=found[0],
        observed_error=found[1],
        expected=[None if one is None else one[0] for one in crossings],
    )


def goodness_by_toys(likelihood: Likelihood, values: Array, chi2: float, toys: Toys) -> ToyGoodness:
    """Fit toys that are drawn at the best fit `values`, and compare with the `chi2` of the data."""
    seed = np.random.SeedSequence(toys.seed)
    tasks = _tasks(likelihood, values, toys.number, seed)
    found = np.concatenate([np.zeros(0), *toys.mapped(_chi2, list(tasks))])
    known = found[~np.isnan(found)]
    if not known.size:
        msg = "no toy could be fitted"
        raise FitError(msg)
    p_value = float(np.mean(known >= chi2 - _TIE))
    # One of the toys more or less: a part of none has an error too.
    error = math.sqrt(max(p_value * (1 - p_value), 1 / known.size) / known.size)
    failed = toys.number - known.size
    return ToyGoodness(toys=toys.number, failed=failed, p_value=p_value, p_value_error=error)


def _tested(
    likelihood: Likelihood,
    truths: Mapping[float, Array],
    near: Sequence[float],
    held: Mask,
    toys: Toys,
) -> _Tested:
    """Draw toys of each truth, and test each at all strengths.

    A third of them without signal, one at strengths `near` the observed limit, one at the others.
    """
    strengths = tuple(truths)[1:]
    sizes = [
        1 if x == 0 else len(near) if x in near else len(strengths) - len(near) for x in truths
    ]
    numbers = [math.ceil(toys.number / 3 / size) for size in sizes]
    seeds = np.random.SeedSequence(toys.seed).spawn(len(truths))
    wanted = np.array(list(truths.values()))
    tasks = [
        _LimitTask(task, strengths, wanted, held)
        for truth, number, seed in zip(truths.values(), numbers, seeds, strict=True)
        for task in _tasks(likelihood, truth, number, seed)
    ]
    found = [np.concatenate(parts) for parts in zip(*toys.mapped(_statistics, tasks), strict=True)]
    fitted = ~np.isnan(found[0][:, 0])
    statistics, logarithms = (part[fitted] for part in found)
    mixture = logsumexp(logarithms, b=np.array(numbers) / sum(numbers), axis=1, keepdims=True)
    return _Tested(statistics, np.exp(logarithms - mixture), int(np.sum(~fitted)))


def _tasks(
    likelihood: Likelihood, truth: Array, toys: int, seed: np.random.SeedSequence
) -> Iterator[_Task]:
    for one in seed.spawn(-(-toys // BLOCK)):
        size = min(BLOCK, toys - BLOCK * one.spawn_key[-1])
        yield _Task(likelihood, truth, size, one)


def _statistics(task: _LimitTask) -> tuple[Array, Array]:
    """q̃μ of each toy at each strength, NaN where a fit did not converge; ln of its probabilities."""
    likelihood, truth, toys, seed = task.draw
    rng = np.random.default_rng(seed)
    positive = likelihood.bounded_below(likelihood.poi, 0.0)
    same = likelihood.constraints.parameters[task.held]
    truths = task.truths.copy()
    found = np.zeros((toys, len(task.strengths)))
    logarithms = np.zeros((toys, len(truths)))
    known: dict[bytes, Array] = {}  # Toys of few events are often the same.
    for i in range(toys):
        toy, values = drawn_about(positive, truth, task.held, rng)
        truths[:, same] = values[same]
        logarithms[i] = _logarithms(toy, np.array([means(toy, one) for one in truths]))
        data = np.concatenate([toy.main, toy.auxiliary]).tobytes()
        if data not in known:
            known[data] = _statistics_of(toy, truth, task.strengths)
        found[i] = known[data]
    return found, logarithms


def _statistics_of(toy: Likelihood, start: Array, strengths: Sequence[float]) -> Array:
    found = np.zeros(len(strengths))
    try:
        best = minimum(toy, start)
        for i, strength in enumerate(strengths):
            if strength > best.values[toy.poi]:
                held = minimum(toy, best.values, {toy.poi: strength})
                found[i] = max(held.twice_nll - best.twice_nll, 0.0)
    except FitError:
        found[:] = np.nan
    return found


def _chi2(task: _Task) -> Array:
    """χ² of each toy, NaN where a fit did not converge."""
    rng = np.random.default_rng(task.seed)
    found = np.full(task.toys, np.nan)
    for i in range(task.toys):
        toy = drawn(task.likelihood, task.truth, rng)
        try:
            found[i] = minimum(toy, task.truth).twice_nll - toy.saturated
        except FitError:
            continue
    return found


class _Point(NamedTuple):
    """CLs at a strength."""

    strength: float
    height: float
    """ln CLs."""
    changes: Array
    """What each toy adds to it."""


def _quantile(q: Array, weights: Array, part: float) -> float:
    """Find the value below which this part of all weights is."""
    order = np.argsort(q)
    below = np.cumsum(weights[order])
    return float(q[order[np.searchsorted(below, part * below[-1])]])


def _point(strength: float, having: Array, without: Array) -> _Point | None:
    """Compute ln CLs of the weights of toys beyond a cut; None where these are few."""
    sums = [float(np.sum(weights)) for weights in (having, without)]
    if any(sum_**2 < _FEW * np.sum(w**2) for sum_, w in zip(sums, (having, without), strict=True)):
        return None
    with_signal, background = sums
    if not min(sums) > 0:
        return None
    changes = having / with_signal - without / background
    return _Point(strength, math.log(with_signal / background), changes)


def _crossing(points: Sequence[_Point], target: float) -> tuple[float, float] | None:
    """Where ln CLs, a parabola through the three points nearby, is that of the target.

    With its error; None where the points do not say it.
    """
    strengths = np.array([point.strength for point in points])
    heights = np.array([point.height for point in points]) - math.log(target)
    below = np.flatnonzero(heights < 0)
    if not below.size or below[0] == 0 or len(points) < 3:
        return None
    first = int(below[0])
    near = slice(max(first - 2, 0), max(first - 2, 0) + 3)
    inverse = np.linalg.inv(np.vander(strengths[near], 3))
    parabola = inverse @ heights[near]
    limit = float(brentq(partial(np.polyval, parabola), *strengths[first - 1 : first + 1]))
    shares = limit ** np.arange(2, -1, -1) @ inverse
    changes = shares @ np.array([point.changes for point in points[near]])
    slope = float(np.polyval(np.polyder(parabola), limit))
    return limit, float(np.linalg.norm(changes) / abs(slope))
