"""Toys: pseudo-experiments of a model; limits and the goodness of fit by them, without asymptotics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from pydantic import NonNegativeFloat, NonNegativeInt
from scipy.stats import norm

from analysis.common.errors import FitError
from analysis.common.strict import Strict
from analysis.inference.likelihood import Array, Likelihood
from analysis.inference.minimise import minimum

Mapped = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""As `map`: here, or by several processes."""

BLOCK = 200
"""Toys of one task: what is drawn does not depend on how many processes draw."""
_FEW = 5
"""Toys beyond a value below which they do not say how probable it is."""
_TIE = 1e-6
"""Difference of two values of a test statistic that is rounding."""
_BEYOND = 1.1
"""Factor on the last of the points up to which they say where CLs is crossed."""
_NEAR = 8.0
"""Factor from the wanted CLs within which points say where it is crossed."""


class Toys(NamedTuple):
    """How many toys, from which seed, and who draws and fits them."""

    number: int
    seed: int = 1
    mapped: Mapped = map


class ToyLimit(Strict):
    """CLs limits by toys; statistical errors are those of the toys."""

    toys: int
    """At each strength, with the signal and without."""
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
    strengths: tuple[float, ...]
    """Tested for each toy."""
    toys: int
    seed: np.random.SeedSequence


def drawn(likelihood: Likelihood, truth: Array, rng: np.random.Generator) -> Likelihood:
    """The model with data of one toy, main and auxiliary, drawn at the parameters `truth`.

    Rates that extrapolated variations make negative are none.
    """
    known = likelihood.constraints
    means = truth[known.parameters]
    counts = rng.poisson(np.maximum(means * known.rates, 0.0))
    measured = np.where(known.widths > 0, rng.normal(means, known.widths), counts)
    main = rng.poisson(np.maximum(likelihood.expected(truth), 0.0))
    return likelihood.with_data(np.concatenate([main, measured]))


def limit_by_toys(
    likelihood: Likelihood,
    truths: dict[float, Array],
    observed: Sequence[float],
    level: float,
    bands: Sequence[float],
    toys: Toys,
) -> ToyLimit:
    """Where CLs of toys falls to 1 - `level`, observed and expected without signal.

    `truths` are all parameters at each strength as the data have them, the first at a strength of 0, and
    `observed` the test statistic of the data at the others. Raises FitError where too few toys are as
    extreme as the data.
    """
    strengths = tuple(truths)[1:]
    background, *signals = _by_truth(likelihood, truths, toys)
    failed = int(sum(np.sum(np.isnan(q[:, 0])) for q in (background, *signals)))
    points: dict[float | None, list[tuple[float, float, float]]] = {}
    for i, strength in enumerate(strengths):
        without, having = (q[~np.isnan(q)] for q in (background[:, i], signals[i][:, 0]))
        cuts = {band: float(np.quantile(without, norm.sf(band))) for band in bands}
        for which, cut in ({None: observed[i]} | cuts).items():
            point = _cls(having, without, cut)
            if point is not None:
                points.setdefault(which, []).append((strength, *point))
    found = _crossing(points.get(None, []), 1 - level)
    if found is None:
        msg = "too few toys are as extreme as the data: more are needed (--toys)"
        raise FitError(msg)
    limit, error = found
    crossings = (_crossing(points.get(band, []), 1 - level) for band in bands)
    return ToyLimit(
        toys=toys.number,
        failed=failed,
        observed=limit,
        observed_error=error,
        expected=[None if one is None else one[0] for one in crossings],
    )


def goodness_by_toys(likelihood: Likelihood, values: Array, chi2: float, toys: Toys) -> ToyGoodness:
    """Fit toys that are drawn at the best fit `values`, and compare with the `chi2` of the data."""
    seed = np.random.SeedSequence(toys.seed)
    tasks = _tasks(likelihood, values, (), toys.number, seed)
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


def _by_truth(likelihood: Likelihood, truths: dict[float, Array], toys: Toys) -> list[Array]:
    """The test statistics of toys of each truth, shape (toys, strengths): all, or its own alone."""
    strengths = tuple(truths)[1:]
    tested = [strengths, *((strength,) for strength in strengths)]
    seeds = np.random.SeedSequence(toys.seed).spawn(len(truths))
    tasks = [
        list(_tasks(likelihood, truth, of, toys.number, one))
        for truth, of, one in zip(truths.values(), tested, seeds, strict=True)
    ]
    found = iter(toys.mapped(_statistics, [task for some in tasks for task in some]))
    return [np.concatenate([next(found) for _ in some]) for some in tasks]


def _tasks(
    likelihood: Likelihood,
    truth: Array,
    strengths: tuple[float, ...],
    toys: int,
    seed: np.random.SeedSequence,
) -> Iterator[_Task]:
    for one in seed.spawn(-(-toys // BLOCK)):
        size = min(BLOCK, toys - BLOCK * one.spawn_key[-1])
        yield _Task(likelihood, truth, strengths, size, one)


def _statistics(task: _Task) -> Array:
    """q̃μ of each toy at each strength, NaN where a fit did not converge."""
    rng = np.random.default_rng(task.seed)
    poi = task.likelihood.poi
    positive = task.likelihood.bounded_below(poi, 0.0)
    found = np.full((task.toys, len(task.strengths)), np.nan)
    for i in range(task.toys):
        toy = drawn(positive, task.truth, rng)
        try:
            best = minimum(toy, task.truth)
            for j, strength in enumerate(task.strengths):
                held = partial(minimum, toy, best.values, {poi: strength})
                above = strength > best.values[poi]
                found[i, j] = max(held().twice_nll - best.twice_nll, 0.0) if above else 0.0
        except FitError:
            found[i] = np.nan
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


def _cls(having: Array, without: Array, cut: float) -> tuple[float, float] | None:
    """ln CLs of toys with the signal and without, and its error; None where few are beyond the cut."""
    parts = [(int(np.sum(q >= cut - _TIE)), q.size) for q in (having, without)]
    if min(beyond for beyond, _ in parts) < _FEW:
        return None
    with_signal, background = (beyond / size for beyond, size in parts)
    # One toy more or less, where all are beyond it.
    variance = sum(max(1 - beyond / size, 1 / size) / beyond for beyond, size in parts)
    return math.log(with_signal / background), math.sqrt(variance)


def _crossing(
    points: Sequence[tuple[float, float, float]], target: float
) -> tuple[float, float] | None:
    """Where ln CLs, a parabola of the strength through the points nearby, is that of the target.

    With its error; None where the points do not say it.
    """
    near = [p for p in points if abs(p[1] - math.log(target)) < math.log(_NEAR)]
    if len(near) < 3:
        return None
    strengths, heights, errors = np.transpose(near)
    order = 2 if len(near) > 3 else 1
    fitted, covariance = np.polyfit(
        strengths, heights - math.log(target), order, w=1 / errors, cov="unscaled"
    )
    inside = [
        float(root.real)
        for root in np.roots(fitted)
        if abs(root.imag) < _TIE and strengths[0] <= root.real <= _BEYOND * strengths[-1]
    ]
    if not inside:
        return None
    powers = inside[-1] ** np.arange(order, -1, -1)
    slope = float(np.polyval(np.polyder(fitted), inside[-1]))
    return inside[-1], float(math.sqrt(powers @ covariance @ powers) / abs(slope))
