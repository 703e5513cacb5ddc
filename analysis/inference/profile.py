"""What conditional fits say of a likelihood beside its minimum: heights, intervals, errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.optimize

from analysis.common.errors import FitError
from analysis.inference.likelihood import Array, Likelihood, Mask
from analysis.inference.minimise import FLAT, SAME_HEIGHT, Found, minima, minimum, principal_axes

_NEAR = 0.1
"""Errors from the minimum at which the profile's curvature is taken."""
_PRECISE = 1e-4
"""Tolerance of the ends of an interval, in errors."""
_DOUBLINGS = 60


class LowerMinimum(FitError):
    """A search beside a minimum came below it."""

    def __init__(self, found: Found) -> None:
        super().__init__("beside the minimum that was found there is a lower one")
        self.found = found


@dataclass(frozen=True, kw_only=True)
class Optimum:
    """A minimum of a likelihood, and where searches beside it begin."""

    likelihood: Likelihood
    values: Array
    """Shape (parameters,)."""
    twice_nll: float
    covariance: Array
    """Shape (parameters, parameters); 0 for constant ones."""
    others: Sequence[Array] = ()
    """All parameters at the other minima, each as `values`."""
    determined: bool = True
    """Whether the second derivatives determine the parameter of interest."""

    @property
    def errors(self) -> Array:
        errors: Array = np.sqrt(np.diag(self.covariance))
        return errors

    def conditional(self, index: int, value: float) -> Found:
        """The minimum with one parameter held at `value`; the lowest that is found from all minima.

        The search begins where the minimum would be if the likelihood were parabolic. Raises FitError
        if there is none.
        """
        low, high = self.likelihood.bounds
        value = float(np.clip(value, low[index], high[index]))
        variance = self.covariance[index, index]
        slope = self.covariance[:, index] / variance if variance > 0 else 0.0
        starts = [self.values + slope * (value - self.values[index]), *self.others]
        found = [minimum(self.likelihood, start, {index: value}) for start in starts]
        return min(found, key=lambda one: one.twice_nll)

    def rise(self, index: int, value: float) -> float:
        """-2 ln L of the conditional minimum above this one. Raises LowerMinimum where it is below."""
        found = self.conditional(index, value)
        if found.twice_nll < self.twice_nll - SAME_HEIGHT:
            raise LowerMinimum(found)
        return found.twice_nll - self.twice_nll

    def interval(self, index: int, size: float) -> tuple[float | None, float | None]:
        """Distances, up and down, to where -2 ln L is higher by 1.

        The distance to a bound that is nearer, None where conditional fits fail. `size` is about the error.
        """
        return self._distance(index, size), self._distance(index, -size)

    def _distance(self, index: int, step: float) -> float | None:
        low, high = (bound[index] for bound in self.likelihood.bounds)
        best = float(self.values[index])
        inner, outer = best, best
        try:
            for _ in range(_DOUBLINGS):
                inner, outer = outer, float(np.clip(best + step, low, high))
                if self.rise(index, outer) > 1:
                    break
                if outer in (low, high):
                    return abs(outer - best)
                step *= 2
            else:
                return None
            end = scipy.optimize.brentq(
                lambda value: self.rise(index, value) - 1,
                inner,
                outer,
                xtol=_PRECISE * abs(outer - best),
            )
        except LowerMinimum:
            raise
        except FitError:
            return None
        return abs(float(end) - best)

    def curvature_error(self, index: int) -> float | None:
        """The error by the curvature of the profile; None where it has none, or at a bound."""
        best, error = self.values[index], self.errors[index]
        low, high = (bound[index] for bound in self.likelihood.bounds)
        step = min(_NEAR * error, best - low, high - best)
        if step < _NEAR**2 * error or error == 0:
            return None
        try:
            rise = sum(self.rise(index, float(best + side * step)) for side in (1, -1)) / 2
        except FitError:
            return None
        return float(step / np.sqrt(rise)) if rise > 0 else None


def lowest(likelihood: Likelihood, start: Array | None = None) -> Optimum:
    """The lowest minimum that `minimise.minima` finds. Raises FitError if there is none."""
    first, *others = minima(likelihood, start)
    matrix, determined = covariance(likelihood, first.values)
    return Optimum(
        likelihood=likelihood,
        values=first.values,
        twice_nll=first.twice_nll,
        covariance=matrix,
        others=[other.values for other in others],
        determined=determined,
    )


def covariance(
    likelihood: Likelihood, values: Array, fixed: Mask | None = None
) -> tuple[Array, bool]:
    """Twice the inverse of the second derivatives, shape (parameters, parameters).

    Across the directions without any; and whether the parameter of interest is the same along those.
    Parameters `fixed` (the constant ones unless given) are left out, as those that a bound holds.
    """
    heights, axes = principal_axes(likelihood, values, fixed)
    steep = heights > FLAT
    found: Array = 2 * (axes[:, steep] / heights[steep]) @ axes[:, steep].T
    along = axes[likelihood.poi]
    return found, bool(np.sum(along[~steep] ** 2) < FLAT * np.sum(along**2))
