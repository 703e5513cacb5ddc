"""Minimise with iminuit: a valid minimum with valid errors, or an error."""

from __future__ import annotations

import math
from collections.abc import Mapping

from iminuit import Minuit
from iminuit.cost import ExtendedBinnedNLL, ExtendedUnbinnedNLL

from analysis.postprocess.shapes import Parameter
from analysis.postprocess.sidebands import SidebandError
from analysis.validation import Strict


class FitError(SidebandError):
    """A fit that cannot be made, or that did not converge."""


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


def minimised(
    cost: ExtendedBinnedNLL | ExtendedUnbinnedNLL,
    parameters: dict[str, Parameter],
    fixed: Mapping[str, float],
) -> tuple[Minuit, tuple[str, ...]]:
    """The minimum, and the parameters that stopped at a limit.

    Those are held there, as second derivatives at a limit have no meaning: the errors of the others
    are right for them being there. Raises FitError if the minimum or its covariance is not valid.
    """
    minuit = Minuit(cost, *(fixed.get(p.name, p.start) for p in parameters.values()))
    for parameter in parameters.values():
        minuit.limits[parameter.name] = parameter.limits
        minuit.fixed[parameter.name] = parameter.name in fixed
    _converge(minuit)
    stopped = tuple(p for p in parameters if p not in fixed and _at_limit(minuit, p))
    if stopped:
        for name in stopped:
            minuit.fixed[name] = True
        _converge(minuit)
    return minuit, stopped


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


def _at_limit(minuit: Minuit, name: str) -> bool:
    low, high = minuit.limits[name]
    value, margin = minuit.values[name], 1e-2 * minuit.errors[name]
    if math.isfinite(high - low):
        # A range may be wide on purpose, and an error at a limit may be anything.
        margin = min(max(margin, 1e-6 * (high - low)), 1e-3 * (high - low))
    return bool(value - low < margin or high - value < margin)
