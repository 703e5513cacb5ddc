"""Minimise a cost, -2 ln L, with iminuit; take errors from its covariance and from its profile.

A fit is judged by what it found: a minimum counts if MIGRAD calls it valid or if another start ends
in it. The profile is the cost minimised over all other parameters within their limits; it rises by
one at the ends of a MINOS interval (F. James and M. Roos, Comput. Phys. Commun. 10 (1975) 343). At a
limit second derivatives have no meaning, but the profile has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from iminuit import Minuit
from iminuit.cost import ExtendedBinnedNLL, ExtendedUnbinnedNLL
from scipy.optimize import brentq

from analysis.common.errors import FitError
from analysis.common.strict import Strict
from analysis.postprocess.sidebands.shapes import Array, Parameter

Cost: TypeAlias = ExtendedBinnedNLL | ExtendedUnbinnedNLL
Values: TypeAlias = tuple[float, ...]

SAME = 0.01
"""Difference of two costs that are one: a tenth of a standard deviation."""

UNDETERMINED = 0.25
"""Part of its range over which the cost rises by less than one for a parameter not determined by data."""

DISAGREEMENT = 0.1
"""Relative difference of the errors from covariance and profile above which all are the profile's."""

_CALLS = 3000
_TRIES = 5
_TOLERANCE = 0.005
_NEAR = 0.05
"""Part of its range within which a parameter may be at a limit."""


class Measured(Strict):
    """A fitted number with its error and, where it was asked for, its MINOS interval."""

    value: float
    error: float
    """One standard deviation: half the width of the profile's interval, or from the covariance. Zero
    for a parameter that is held."""
    minos: tuple[float, float] | None = None
    """Lower (negative) and upper error; none reaches beyond a limit."""

    def __str__(self) -> str:
        digits = max(0, 1 - math.floor(math.log10(self.error))) if self.error > 0 else 4
        text = f"{self.value:.{digits}f} ± {self.error:.{digits}f}"
        if self.minos is None:
            return text
        return f"{text} (MINOS {self.minos[0]:+.{digits}f} {self.minos[1]:+.{digits}f})"


class Errors(NamedTuple):
    """Parameters with their errors, and which of them were held for the covariance of the others."""

    parameters: dict[str, Measured]
    correlation: tuple[tuple[float, ...], ...]
    at_limit: tuple[str, ...]
    undetermined: tuple[str, ...]


class _LowerError(Exception):
    """The profile found a lower minimum."""


class Minimum:
    """The minimum of a cost within the limits of its parameters, and the profile around it."""

    def __init__(
        self, cost: Cost, parameters: Mapping[str, Parameter], fixed: Mapping[str, float]
    ) -> None:
        """Minimise with the parameters `fixed` at values. Raise FitError without a minimum."""
        self._cost, self._parameters, self._fixed = cost, parameters, fixed
        self._minuit = Minuit(cost, *(fixed.get(p.name, p.start) for p in parameters.values()))
        self._minuit.print_level = -1  # What is not valid is told by errors.
        for name, parameter in parameters.items():
            self._minuit.limits[name] = parameter.limits
            self._minuit.fixed[name] = name in fixed
        self._free = [name for name in parameters if name not in fixed]
        self._search(tuple(self._minuit.values))

    def value(self, name: str) -> float:
        """Return the value of a parameter at the minimum."""
        return self.values[list(self._parameters).index(name)]

    def rise(self, values: Mapping[str, float]) -> float:
        """Compute the rise of the cost with parameters at these values and all others minimised again."""
        return Minimum(self._cost, self._parameters, {**self._fixed, **values}).cost - self.cost

    def errors(self, profiled: Sequence[str]) -> Errors:
        """Compute the errors of all parameters, and MINOS intervals for those `profiled`.

        Where a parameter is held, or the covariance is not valid or disagrees with the intervals, all
        errors are the profile's. Raises FitError for a profile without an end.
        """
        for _ in range(_TRIES):
            try:
                return self._errors(profiled)
            except _LowerError:
                continue
        msg = "the fit did not converge: each profile of its parameters finds a lower minimum"
        raise FitError(msg)

    def _errors(self, profiled: Sequence[str]) -> Errors:
        at_limit = self._at_limit()
        undetermined = self._undetermined(at_limit)
        held = (*at_limit, *undetermined)
        covariance = self._covariance(held)
        errors = dict(zip(self._parameters, np.sqrt(np.diag(covariance)).tolist(), strict=True))
        intervals = {n: self._interval(n, errors[n]) for n in self._free if n in profiled}
        halves = {name: (high - low) / 2 for name, (low, high) in intervals.items()}
        wrong = [n for n in halves if abs(errors[n] - halves[n]) > DISAGREEMENT * halves[n]]
        if held or wrong or not covariance.any():
            for name in self._free:
                if name not in (*held, *halves):
                    low, high = self._interval(name, errors[name])
                    halves[name] = (high - low) / 2
        parameters = {
            name: Measured(
                value=value, error=halves.get(name, errors[name]), minos=intervals.get(name)
            )
            for name, value in zip(self._parameters, self.values, strict=True)
        }
        scale = np.outer(*[np.sqrt(np.diag(covariance))] * 2)
        correlation = np.divide(covariance, scale, out=np.zeros_like(scale), where=scale > 0)
        return Errors(parameters, tuple(map(tuple, correlation.tolist())), at_limit, undetermined)

    def _at_limit(self) -> tuple[str, ...]:
        """Find free parameters near a limit at which the cost is the same."""
        return tuple(
            name
            for name in self._free
            for limit in self._parameters[name].limits
            if abs(limit - self.value(name)) < _NEAR * self._scale(name)
            and self._moved(name, limit) < SAME
        )

    def _undetermined(self, others: Sequence[str]) -> tuple[str, ...]:
        """Find free parameters that may be nearly anywhere, with all others where they are."""
        found = []
        for name in self._free:
            low, high = self._parameters[name].limits
            step = UNDETERMINED * (high - low)
            places = [self.value(name) - step, self.value(name) + step]
            inside = [x for x in places if math.isfinite(x) and low <= x <= high]
            if name not in others and any(self._moved(name, x) < 1 for x in inside):
                found.append(name)
        return tuple(found)

    def _moved(self, name: str, value: float) -> float:
        """Compute the rise of the cost with one parameter at a value and all others where they are."""
        return float(self._minuit.fcn(self._with(name, value, self.values))) - self.cost

    def _with(self, name: str, value: float, values: Values) -> Values:
        """Replace the value of a parameter."""
        return tuple(
            value if n == name else x for n, x in zip(self._parameters, values, strict=True)
        )

    def _scale(self, name: str) -> float:
        """Estimate how far a parameter may move: its start, or its range if that is less."""
        low, high = self._parameters[name].limits
        scale = min(high - low, abs(self._parameters[name].start) or math.inf)
        return scale if math.isfinite(scale) else 1.0

    def _covariance(self, held: Sequence[str]) -> Array:
        """Compute the covariance, zero for parameters `held` and all zero if it is not valid."""
        minuit = self._minuit
        minuit.values = self.values
        fixed = list(minuit.fixed)
        for name in held:
            minuit.fixed[name] = True
        for minuit.strategy in (1, 2):
            minuit.migrad(ncall=_CALLS)
            minuit.hesse()
            minuit.hesse()  # The first one starts from MIGRAD's rough step sizes.
            if minuit.accurate:
                break
        covariance = np.array(minuit.covariance) if minuit.accurate else np.zeros([len(fixed)] * 2)
        minuit.fixed = fixed
        return covariance

    def _interval(self, name: str, error: float) -> tuple[float, float]:
        """Find the distances from the minimum, about `error`, where the profile rises by one or ends."""
        step = error or _NEAR * self._scale(name)
        return -self._crossing(name, -1, step), self._crossing(name, 1, step)

    def _crossing(self, name: str, sign: int, step: float) -> float:
        end = abs(self._parameters[name].limits[sign > 0] - self.value(name))
        known = {0.0: (-1.0, self.values)}

        def excess(distance: float) -> float:
            if distance not in known:
                near = min(known, key=lambda other: abs(other - distance))
                place = self.value(name) + sign * distance
                cost, values = self._conditional(name, place, known[near][1])
                # The root of a parabola's rise is a straight line, which the search meets at once.
                known[distance] = math.sqrt(max(cost - self.cost, 0.0)) - 1, values
            return known[distance][0]

        inside, outside = 0.0, min(step, end)
        self._minuit.fixed[name] = True
        try:
            while excess(outside) < 0:
                if outside == end:
                    return end
                if outside > 1e6 * step:
                    msg = f"the data do not limit {name}: try a simpler shape or a smaller order"
                    raise FitError(msg)
                inside, outside = outside, min(2 * outside, end)
            return float(brentq(excess, inside, outside, xtol=_TOLERANCE * outside))
        finally:
            self._minuit.fixed[name] = False

    def _conditional(self, name: str, value: float, start: Values) -> tuple[float, Values]:
        """Find the lowest cost with one parameter at a value, and all values there."""
        self._minuit.strategy = 0
        cost, values, _ = self._lowest(self._with(name, value, start))
        if cost < self.cost - SAME:
            self._minuit.fixed[name] = False
            self._search(values)
            raise _LowerError
        return cost, values

    def _search(self, start: Values) -> None:
        """Set `cost` and `values` to the minimum."""
        self.cost, self.values = math.inf, start
        for self._minuit.strategy in (1, 2, 2):
            cost, values, valid = self._lowest(start)
            same = abs(cost - self.cost) < SAME
            if cost < self.cost:
                self.cost, self.values = cost, values
            if (valid or same) and math.isfinite(self.cost):
                return
            self._minuit.simplex(ncall=_CALLS)
            start = tuple(self._minuit.values)
        msg = (
            "the fit did not converge: try another shape, a better start, a smaller order or a wider "
            "range"
        )
        raise FitError(msg)

    def _lowest(self, start: Values) -> tuple[float, Values, bool]:
        """Find cost, values and validity where MIGRAD ends, the lowest of its ends if one is at a limit.

        MIGRAD does not leave a limit, where its inner coordinates have no gradient: it tries again from
        a little inside of the limits, and where that ends elsewhere from the parameters' starts.
        """
        first = self._migrad(start)
        inside = self._inside(first[1])
        if inside == first[1]:
            return first
        second = self._migrad(inside)
        if abs(second[0] - first[0]) < SAME:
            return min(first, second)
        again = [
            value if self._minuit.fixed[name] else parameter.start
            for value, (name, parameter) in zip(start, self._parameters.items(), strict=True)
        ]
        return min(first, second, self._migrad(tuple(again)))

    def _migrad(self, start: Values) -> tuple[float, Values, bool]:
        minuit = self._minuit
        minuit.values = start
        minuit.migrad(ncall=_CALLS)
        return float(minuit.fval), tuple(minuit.values), bool(minuit.valid)

    def _inside(self, values: Values) -> Values:
        """Move values near a limit a tenth of the way to their start."""
        moved = []
        for value, (name, parameter) in zip(values, self._parameters.items(), strict=True):
            distance = min(abs(limit - value) for limit in parameter.limits)
            near = distance < _NEAR * self._scale(name) and not self._minuit.fixed[name]
            moved.append(value + 0.1 * (parameter.start - value) if near else value)
        return tuple(moved)
