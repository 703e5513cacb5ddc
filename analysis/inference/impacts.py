"""What the uncertainty is made of: impacts of parameters, groups of them, the likelihood's shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
from cabinetry import model_utils

from analysis.common.errors import FitError
from analysis.common.strict import Strict
from analysis.inference.fit import BestFit
from analysis.inference.likelihood import Array
from analysis.inference.minimise import Found, minimum
from analysis.inference.profile import covariance

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
    "leptons": ("lepton",),
    "backgrounds": ("w+jets", "cross section"),
}
"""Group -> how the names of its parameters begin, without case; the rest is `other`."""


class Impact(Strict):
    """Change of the parameter of interest when one parameter is moved and held, others refitted."""

    name: str
    prefit_up: float | None
    """Moved by the error of its prior; None where that fit did not converge."""
    prefit_down: float | None
    postfit_up: float | None
    """Moved by its error after the fit; None where that fit did not converge."""
    postfit_down: float | None

    @property
    def known(self) -> bool:
        """Whether all fits of this impact converged."""
        return None not in (self.prefit_up, self.prefit_down, self.postfit_up, self.postfit_down)

    @property
    def size(self) -> float:
        return max(abs(self.postfit_up or 0.0), abs(self.postfit_down or 0.0))


class Scan(Strict):
    """-2 Δ ln L of the parameter of interest, all others refitted."""

    values: list[float]
    twice_delta_nll: list[float]


def ranking(best: BestFit) -> list[Impact]:
    """Impact of every constrained parameter, largest first.

    Those of the simulation's statistics, one a bin, are left out; `breakdown` has their sum.
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
    lower one. A point where none of them converges is left out.
    """
    likelihood, poi = best.likelihood, best.likelihood.poi
    low, high = (bound[poi] for bound in likelihood.bounds)
    half = width * best.result.error
    values = np.linspace(
        max(low, best.result.value - half), min(high, best.result.value + half), points
    )
    lowest = [_or_none(partial(best.conditional, poi, value)) for value in values.tolist()]
    for order, step in ((range(1, points), -1), (range(points - 2, -1, -1), 1)):
        for point in order:
            beside, here = lowest[point + step], lowest[point]
            if beside is None:
                continue
            held = {poi: float(values[point])}
            other = _or_none(partial(minimum, likelihood, beside.values, held))
            if other and (here is None or other.twice_nll < here.twice_nll):
                lowest[point] = other
    found = {
        value: max(there.twice_nll - best.twice_nll, 0.0)
        for value, there in zip(values.tolist(), lowest, strict=True)
        if there is not None
    }
    return Scan(values=list(found), twice_delta_nll=list(found.values()))


def breakdown(best: BestFit, slopes: Array | None = None) -> dict[str, float]:
    """Part of each of the `GROUPS` of parameters in the error of the parameter of interest.

    Or, of a quantity, whose derivatives by the parameters the `slopes` are. A group's part is the quadratic difference of the error and the one with the group held at the
    best fit; `statistical` is what is left with all constrained parameters held and a luminosity that
    is fitted without a prior, `systematic` the quadratic rest without luminosity. Because of
    correlations the groups need not add up to it. Where the error is not the covariance's, the parts are
    scaled with it.
    """
    names = best.likelihood.names
    if slopes is None:
        slopes = np.eye(len(names))[best.likelihood.poi]
    total = error_of(best.covariance, slopes)
    free = set(np.flatnonzero(~best.likelihood.constant).tolist()) - {best.likelihood.poi}
    fitted = {i for i in free if _group(names[i]) == LUMINOSITY}
    nuisances = fitted.union(_constrained(best))
    parts = {STATISTICAL: _conditional_error(best, nuisances, slopes)}
    by_group: dict[str, set[int]] = {}
    for index in sorted(nuisances):
        by_group.setdefault(_group(names[index]), set()).add(index)
    for name in (*GROUPS, OTHER):
        if name in by_group:
            parts[name] = _rest(total, _conditional_error(best, by_group[name], slopes))
    known = math.hypot(parts[STATISTICAL], parts.get(LUMINOSITY, 0.0))
    parts[SYSTEMATIC] = _rest(total, known)
    check = best.result.error_check
    scale = best.result.error / check if check > 0 else 1.0
    return {name: part * scale for name, part in parts.items()}


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


def error_of(matrix: Array, slopes: Array) -> float:
    """Propagate a covariance matrix to a quantity with these derivatives."""
    return math.sqrt(max(float(slopes @ matrix @ slopes), 0.0))


def _conditional_error(best: BestFit, held: Iterable[int], slopes: Array) -> float:
    """Error of a quantity with parameters held at the best fit.

    The minimum stays where it is, so that the curvature there is the one of the whole fit without
    the rows and columns of those that are held: no refit is needed.
    """
    fixed = best.likelihood.constant.copy()
    fixed[list(held)] = True
    matrix, _ = covariance(best.likelihood, best.values, fixed)
    return error_of(matrix, slopes)


def _rest(total: float, part: float) -> float:
    return math.sqrt(max(total**2 - part**2, 0.0))


def _change(best: BestFit, index: int, move: float) -> float | None:
    moved = _or_none(partial(best.conditional, index, float(best.values[index]) + move))
    return None if moved is None else float(moved.values[best.likelihood.poi] - best.result.value)


def _or_none(search: Callable[[], Found]) -> Found | None:
    """A conditional fit that does not converge costs its own number only."""
    try:
        return search()
    except FitError:
        return None
