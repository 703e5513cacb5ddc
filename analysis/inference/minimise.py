"""The minimum of a likelihood, free or with parameters held, judged by the distance that is left.

Fisher's scoring, damped, with the analytic derivatives of the compiled likelihood, and Minuit with the same
gradient, which takes other steps. Neither's word counts, but the slope that is left where it ended, in units
of the error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import iminuit
import numpy as np

from analysis.common.errors import FitError
from analysis.inference.likelihood import Array, Likelihood, Mask

DISTANCE = 1e-8
"""Height above the minimum, in units of -2 ln L, at which a search has come there: 10⁻⁴ errors away."""
LOOSE = 1e-4
"""The same where no search comes nearer: 10⁻² errors away."""
APART = 0.5
"""Two minima are two if a parameter differs by this much of its prior error."""
SAME_HEIGHT = 0.05
"""Difference of -2 ln L below which two minima, and two fits of one, are taken for the same."""
_STEPS = 400
_SCORING = 20
"""Steps after which the second derivatives themselves are taken: where data are far from the prediction,
those expected lead slowly."""
_SADDLE = 1e-6
"""Second derivatives, in units in which each parameter's own is 1, that are negative for certain."""
_CALLS = 20_000
_STRETCHES = 5
"""Times that a move is made four times as long where that leads further down."""
_NOISE = 1e-13
"""Relative rounding of -2 ln L."""
_DAMPED = 1e-3
FLAT = 1e-7
"""Second derivatives, in units in which each parameter's own is 1, that are none: such a direction is left alone."""


class Found(NamedTuple):
    """Where a search ended."""

    values: Array
    """Shape (parameters,)."""
    twice_nll: float
    distance: float
    """Estimated height above the minimum."""


def minimum(
    likelihood: Likelihood, start: Array | None = None, held: Mapping[int, float] | None = None
) -> Found:
    """The minimum with the parameters `held` (index -> value) fixed.

    The first search that comes there ends the matter: scoring from `start` (the initial values unless
    given), then Minuit, from `start` and from the initial values, with more care each time. Raises
    FitError if none comes there.
    """
    fixed = likelihood.constant.copy()
    begin = (likelihood.initial if start is None else start).copy()
    initial = likelihood.initial.copy()
    for index, value in (held or {}).items():
        fixed[index] = True
        begin[index] = initial[index] = value
    nearest: Found | None = None
    for found in _searches(likelihood, begin, initial, fixed):
        if found.distance < DISTANCE:
            return found
        if nearest is None or found.twice_nll < nearest.twice_nll:
            nearest = found
    if nearest is not None and nearest.distance < LOOSE:
        return nearest
    what = ", ".join(f"{likelihood.names[i]} = {value:.4g}" for i, value in (held or {}).items())
    left = "none" if nearest is None else f"{nearest.distance:.2g}"
    msg = (
        f"the fit{f' with {what}' if what else ''} did not converge: -2 ln L is still {left} above its "
        "minimum"
    )
    raise FitError(msg)


def minima(likelihood: Likelihood, start: Array | None = None) -> list[Found]:
    """The minimum, and others behind it; the lowest first.

    Two minimisers begin at `start`. Where up and down of a variation change a template to the same side,
    its parameter fits as well on either side of zero, and the likelihood can have a minimum on each. So
    the search begins again from the mirror image in every such parameter. Raises FitError if there is none.
    """
    begin = likelihood.initial if start is None else start
    found = [minimum(likelihood, begin)]
    values = found[0].values
    images = [by_minuit(likelihood, begin, likelihood.constant, 0).values]
    heights, axes = principal_axes(likelihood, values)
    for axis in axes.T[heights < -_SADDLE]:
        images += [values + axis, values - axis]
    for index in likelihood.varied:
        image = values.copy()
        image[index] *= -1
        images.append(image)
    for image in images:
        other = scoring(likelihood, image, likelihood.constant)
        lower = other.twice_nll < found[0].twice_nll - SAME_HEIGHT
        elsewhere = any(abs(other.values[i] - values[i]) > APART for i in likelihood.varied)
        known = any(abs(other.twice_nll - one.twice_nll) < SAME_HEIGHT for one in found[1:])
        if other.distance < DISTANCE and (lower or elsewhere) and not known:
            found.append(other)
    return sorted(found, key=lambda one: one.twice_nll)


def scoring(likelihood: Likelihood, start: Array, fixed: Mask) -> Found:
    """Steps of Fisher's scoring within the bounds, damped as Levenberg and Marquardt do."""
    low, high = likelihood.bounds
    values = np.where(fixed, start, np.clip(start, low, high))
    height, damping, distance = likelihood.value(values), 0.0, np.inf
    for count in range(_STEPS):
        slope, second = likelihood.derivatives(values)
        at_end = ((values <= low) & (slope > 0)) | ((values >= high) & (slope < 0))
        free = np.flatnonzero(~fixed & ~at_end)
        second = second[np.ix_(free, free)]
        if count > _SCORING:
            second = _positive(likelihood.curvature(values, free, second))
        step = _step(second, slope[free], 0.0)
        distance = float(0.5 * slope[free] @ step)
        if distance < 1e-4 * DISTANCE:
            break
        accepted = None
        while accepted is None and damping < 1e12:
            move = np.zeros(values.size)
            move[free] = _step(second, slope[free], damping) if damping else step
            accepted = _furthest(likelihood, values, move, height)
            damping = max(10 * damping, _DAMPED) if accepted is None else damping / 10
        if accepted is None:
            break
        damping = damping if damping > _DAMPED else 0.0
        values, height = accepted
    return Found(values, height, distance)


def _furthest(
    likelihood: Likelihood, values: Array, move: Array, height: float
) -> tuple[Array, float] | None:
    """Where the move leads downwards, or some times the move: a valley may be flat for long.

    None where it leads upwards.
    """
    low, high = likelihood.bounds
    accepted = None
    limit = height + _NOISE * abs(height)
    for _ in range(_STRETCHES):
        trial = np.where(move == 0, values, np.clip(values - move, low, high))
        lower = likelihood.value(trial)
        if not lower <= limit:
            break
        accepted, limit, move = (trial, lower), lower, 4 * move
    return accepted


def by_minuit(likelihood: Likelihood, start: Array, fixed: Mask, strategy: int) -> Found:
    """Where Minuit ends, and from there scoring."""
    low, high = likelihood.bounds
    minuit = iminuit.Minuit(likelihood.value, start, grad=likelihood.gradient)
    minuit.limits = list(zip(low, high, strict=True))
    minuit.fixed = list(fixed)
    minuit.errordef = iminuit.Minuit.LEAST_SQUARES
    minuit.strategy = strategy
    minuit.migrad(ncall=_CALLS)
    return scoring(likelihood, np.array(minuit.values), fixed)


def principal_axes(
    likelihood: Likelihood, values: Array, fixed: Mask | None = None
) -> tuple[Array, Array]:
    """Eigenvalues and -vectors of the second derivatives, shapes (free,) and (parameters, free).

    In units in which each parameter's own is 1, the vectors scaled back to those of the parameters. Those
    `fixed` (the constant ones unless given) are left out, and those that a bound holds but the one of interest.
    """
    gradient, expected = likelihood.derivatives(values)
    low, high = likelihood.bounds
    held = ((values <= low) & (gradient > 0)) | ((values >= high) & (gradient < 0))
    held[likelihood.poi] = False
    free = np.flatnonzero(~(likelihood.constant if fixed is None else fixed) & ~held)
    second = likelihood.curvature(values, free, expected[np.ix_(free, free)])
    scale = _scale(second)
    heights, vectors = np.linalg.eigh(second * np.outer(scale, scale))
    axes = np.zeros((values.size, free.size))
    axes[free] = scale[:, None] * vectors
    return heights, axes


def _searches(likelihood: Likelihood, begin: Array, initial: Array, fixed: Mask) -> Iterator[Found]:
    yield scoring(likelihood, begin, fixed)
    for strategy, start in ((1, begin), (2, begin), (2, initial)):
        yield by_minuit(likelihood, start, fixed, strategy)


def _step(second: Array, slope: Array, damping: float) -> Array:
    scale = _scale(second)
    scaled = second * np.outer(scale, scale)
    scaled[np.diag_indices_from(scaled)] += damping + FLAT
    step: Array = scale * np.linalg.solve(scaled, scale * slope)
    return step


def _scale(second: Array) -> Array:
    diagonal = np.diag(second)
    scale: Array = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    return scale


def _positive(second: Array) -> Array:
    """The second derivatives with the size of each eigenvalue: a step leads down, away from a saddle."""
    heights, axes = np.linalg.eigh(second)
    turned: Array = (axes * np.abs(heights)) @ axes.T
    return turned if heights[0] < 0 else second
