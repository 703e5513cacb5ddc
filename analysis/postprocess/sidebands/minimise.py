"""Minimise with iminuit: a valid minimum with valid errors, or an error."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from iminuit import Minuit
from iminuit.cost import ExtendedBinnedNLL, ExtendedUnbinnedNLL

from analysis.common.errors import FitError
from analysis.common.strict import Strict
from analysis.postprocess.sidebands.shapes import Parameter

UNDETERMINED = 0.25
"""Error of a parameter, in parts of its range, above which the data do not determine it."""


class Measured(Strict):
    """A fitted number with its HESSE error and, where it was asked for and found, MINOS interval."""

    value: float
    error: float
    minos: tuple[float, float] | None = None
    """Lower (negative) and upper error."""

    def __str__(self) -> str:
        digits = max(0, 1 - math.floor(math.log10(self.error))) if self.error > 0 else 4
        text = f"{self.value:.{digits}f} ± {self.error:.{digits}f}"
        if self.minos is None:
            return text
        return f"{text} (MINOS {self.minos[0]:+.{digits}f} {self.minos[1]:+.{digits}f})"


class Held(NamedTuple):
    """Parameters that were held where they were, for the errors of the others."""

    at_limit: tuple[str, ...] = ()
    undetermined: tuple[str, ...] = ()


def minimised(
    cost: ExtendedBinnedNLL | ExtendedUnbinnedNLL,
    parameters: dict[str, Parameter],
    fixed: Mapping[str, float],
    covers: Callable[[Minuit], bool],
) -> tuple[Minuit, Held]:
    """The minimum, and the parameters that were held in it.

    Held are those that stopped at a limit, as second derivatives at a limit have no meaning: the
    errors of the others are right for them being there. A direction in which nothing changes (a tail
    that begins beyond the data) makes the covariance of all others meaningless, though minuit calls
    it accurate: if it does not pass `covers`, parameters that may be nearly anywhere are held too.
    Raises FitError if the minimum or its covariance is not valid.
    """
    minuit = Minuit(cost, *(fixed.get(p.name, p.start) for p in parameters.values()))
    for parameter in parameters.values():
        minuit.limits[parameter.name] = parameter.limits
        minuit.fixed[parameter.name] = parameter.name in fixed
    _converge(minuit)
    stopped = _hold(minuit, _at_limit)
    if covers(minuit):
        return minuit, Held(stopped)
    loose = _hold(minuit, _anywhere)
    if loose and covers(minuit):
        return minuit, Held(stopped, loose)
    msg = (
        "the errors of the fit are not valid, as the data do not determine all parameters: try a "
        "simpler shape or a smaller order"
    )
    raise FitError(msg)


def _hold(minuit: Minuit, chosen: Callable[[Minuit, str], bool]) -> tuple[str, ...]:
    """Hold the free parameters that are `chosen`, and converge again; their names."""
    names = tuple(p for p in minuit.parameters if not minuit.fixed[p] and chosen(minuit, p))
    for name in names:
        minuit.fixed[name] = True
    if names:
        _converge(minuit)
    return names


def _converge(minuit: Minuit) -> None:
    for strategy in (1, 2):
        minuit.strategy = strategy
        minuit.migrad(ncall=20_000)
        if minuit.valid:
            minuit.hesse()
            minuit.hesse()  # once more: the first one starts from MIGRAD's rough step sizes
            if minuit.valid and minuit.accurate:
                return
        minuit.simplex()
    msg = (
        f"the fit did not converge (edm {minuit.fmin.edm:.2g}, after {minuit.nfcn} calls): try "
        "another shape, a better start, a smaller order or a wider range"
    )
    raise FitError(msg)


def minos_interval(minuit: Minuit, name: str) -> tuple[float, float] | None:
    try:
        minuit.minos(name)
    except RuntimeError:
        return None
    interval = minuit.merrors[name]
    return (interval.lower, interval.upper) if interval.is_valid else None


def _anywhere(minuit: Minuit, name: str) -> bool:
    """Whether the error is a good part of the range between the limits."""
    low, high = minuit.limits[name]
    return bool(minuit.errors[name] > UNDETERMINED * (high - low))


def _at_limit(minuit: Minuit, name: str) -> bool:
    low, high = minuit.limits[name]
    value, margin = minuit.values[name], 1e-2 * minuit.errors[name]
    if math.isfinite(high - low):
        # A range may be wide on purpose, and an error at a limit may be anything.
        margin = min(max(margin, 1e-6 * (high - low)), 1e-3 * (high - low))
    return bool(value - low < margin or high - value < margin)
