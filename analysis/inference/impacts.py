"""What the uncertainty is made of: impacts of parameters, groups of them, the likelihood's shape."""

from __future__ import annotations

import math

import numpy as np
from cabinetry import model_utils
from numpy.typing import NDArray

from analysis.common.errors import FitError
from analysis.common.strict import Strict
from analysis.inference.fit import Array, BestFit

STATISTICAL = "statistical"
SYSTEMATIC = "systematic"
LUMINOSITY = "luminosity"
OTHER = "other"

GROUPS: dict[str, tuple[str, ...]] = {
    LUMINOSITY: ("lumi",),
    "simulation statistics": ("staterror",),
    "ttbar modelling": ("me variation", "ps variation", "ttbar scale"),
    "jet energy": ("jet energy",),
    "b tagging": ("b-tag",),
    "backgrounds": ("w+jets scale", "cross section"),
}
"""Group -> how the names of its parameters begin, without case; the rest is `other`."""


class Impact(Strict):
    """Change of the parameter of interest when one parameter is moved and held, others refitted."""

    name: str
    prefit_up: float
    """Moved by the error of its prior."""
    prefit_down: float
    postfit_up: float
    """Moved by its error after the fit."""
    postfit_down: float

    @property
    def size(self) -> float:
        return max(abs(self.postfit_up), abs(self.postfit_down))


class Scan(Strict):
    """-2 Δ ln L of the parameter of interest, all others refitted."""

    values: list[float]
    twice_delta_nll: list[float]


def ranking(best: BestFit) -> list[Impact]:
    """Impact of every constrained parameter, largest first.

    Those of the simulation's statistics, one a bin, are left out; `breakdown` has their sum. Raises
    FitError if a conditional fit does not converge.
    """
    prior = model_utils.prefit_uncertainties(best.likelihood.model)
    impacts = []
    for index in _scalar_constrained(best):
        moves = (prior[index], -prior[index], best.errors[index], -best.errors[index])
        changes = [_change(best, index, float(move)) for move in moves]
        keys = ("prefit_up", "prefit_down", "postfit_up", "postfit_down")
        name = best.likelihood.names[index]
        impacts.append(Impact(name=name, **dict(zip(keys, changes, strict=True))))
    return sorted(impacts, key=lambda impact: -impact.size)


def scan(best: BestFit, points: int = 13, width: float = 2.5) -> Scan:
    """Profile likelihood at `points` values within `width` errors of the best fit.

    Every point is the lowest of fits that begin at the best fit, at the other minima, and at the
    points beside it on either side: where the likelihood has two minima, the profile is that of the
    lower one. Raises FitError where none of them converges.
    """
    likelihood, poi = best.likelihood, best.likelihood.poi
    low, high = likelihood.bounds[poi]
    half = width * best.result.error
    values = np.linspace(
        max(low, best.result.value - half), min(high, best.result.value + half), points
    )
    lowest: list[tuple[float, Array | None]] = [(math.inf, None)] * points

    def improve(point: int, start: Array) -> None:
        try:
            there, height = likelihood.conditional(start, best.covariance, poi, values[point])
        except FitError:
            return
        lowest[point] = min(lowest[point], (height, there), key=lambda found: found[0])

    for point in range(points):
        for start in (best.values, *best.others):
            improve(point, start)
    for order, step in ((range(1, points), -1), (range(points - 2, -1, -1), 1)):
        for point in order:
            beside = lowest[point + step][1]
            if beside is not None:
                improve(point, beside)
    heights = [max(height - best.result.twice_nll, 0.0) for height, _ in lowest]
    for value, height in zip(values, heights, strict=True):
        if not math.isfinite(height):
            msg = f"the scan did not converge at {best.result.poi} = {value:.4g}"
            raise FitError(msg)
    return Scan(values=values.tolist(), twice_delta_nll=heights)


def breakdown(best: BestFit) -> dict[str, float]:
    """Part of each of the `GROUPS` of parameters in the error of the parameter of interest.

    A group's part is the quadratic difference of the error and the one with the group held at the
    best fit; `statistical` is what is left with all constrained parameters held and a luminosity that
    is fitted without a prior, `systematic` the quadratic rest without luminosity. Because of
    correlations the groups need not add up to it.
    """
    total, names = best.result.error, best.likelihood.names
    free = set(np.flatnonzero(best.errors > 0).tolist()) - {best.likelihood.poi}
    fitted = {i for i in free if _group(names[i]) == LUMINOSITY}
    nuisances = fitted.union(_constrained(best))
    parts = {STATISTICAL: _conditional_error(best, nuisances)}
    by_group: dict[str, set[int]] = {}
    for index in sorted(nuisances):
        by_group.setdefault(_group(names[index]), set()).add(index)
    for name in (*GROUPS, OTHER):
        if name in by_group:
            parts[name] = _rest(total, _conditional_error(best, by_group[name]))
    known = math.hypot(parts[STATISTICAL], parts.get(LUMINOSITY, 0.0))
    parts[SYSTEMATIC] = _rest(total, known)
    return parts


def _group(name: str) -> str:
    folded = name.casefold()
    return next((group for group, starts in GROUPS.items() if folded.startswith(starts)), OTHER)


def _constrained(best: BestFit) -> list[int]:
    """Indices of the parameters that have a prior and are not constant."""
    prior = model_utils.prefit_uncertainties(best.likelihood.model)
    return [i for i, width in enumerate(prior) if width > 0 and best.errors[i] > 0]


def _scalar_constrained(best: BestFit) -> list[int]:
    config = best.likelihood.model.config
    return [
        i
        for i in _constrained(best)
        if best.likelihood.names[i] in config.par_order
        and config.param_set(best.likelihood.names[i]).is_scalar
    ]


def _conditional_error(best: BestFit, held: set[int]) -> float:
    """Error of the parameter of interest with others held at the best fit.

    The minimum stays where it is, so that the curvature there is the one of the whole fit without
    the rows and columns of those that are held: no refit is needed.
    """
    free = np.flatnonzero(best.errors > 0)
    curvature = np.linalg.inv(best.covariance[np.ix_(free, free)])
    kept = [k for k, index in enumerate(free) if index not in held]
    reduced: NDArray[np.float64] = np.linalg.inv(curvature[np.ix_(kept, kept)])
    place = [int(free[k]) for k in kept].index(best.likelihood.poi)
    return float(math.sqrt(reduced[place, place]))


def _rest(total: float, part: float) -> float:
    return math.sqrt(max(total**2 - part**2, 0.0))


def _change(best: BestFit, index: int, move: float) -> float:
    there, _ = conditional(best, index, float(best.values[index]) + move)
    return float(there[best.likelihood.poi] - best.result.value)


def conditional(best: BestFit, index: int, value: float) -> tuple[NDArray[np.float64], float]:
    """All parameters and -2 ln L at the minimum with one parameter held; FitError if there is none."""
    return best.likelihood.conditional(best.values, best.covariance, index, value)
