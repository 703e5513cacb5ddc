"""The likelihood of a workspace and its minimum, free or with parameters held.

cabinetry builds the model. The minimum is Minuit's own and not `cabinetry.fit`, because that keeps
neither the state of the covariance matrix nor that of MINOS, and begins every conditional fit of a
ranking or scan from the initial values, from where some do not converge.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import iminuit
import jsonschema
import numpy as np
import pyhf
from cabinetry import model_utils
from numpy.typing import NDArray

from analysis.common.errors import FitError, WorkspaceError
from analysis.inference import compiled

Array = NDArray[np.float64]

_MAX_CALLS = 100_000
_QUICK_CALLS = 20_000
"""Of a search that begins near its end; more than this it needs where there is no minimum."""

_QUICK_TOLERANCE = 1e-4
"""Of a search that begins near its end, in Minuit's units. With Minuit's 0.1 it ends where it begins,
0.004 above the minimum: the impacts are then those of the covariance, and wrong by up to a quarter."""
APART = 0.5
"""Two minima are two if a parameter differs by this much of its prior error."""
_STEP = 0.002
"""Of numerical derivatives, in errors: between 0.0003 and 0.003 the errors are the same to 10⁻⁴."""
SAME_HEIGHT = 0.05
"""Difference of -2 ln L below which two minima, and two fits of one, are taken for the same."""


class Likelihood:
    """-2 ln L of a workspace's first measurement.

    Interpolation is cabinetry's: exponential with a polynomial inside one standard deviation for
    normalisations (HistFactory code 4), polynomial with linear ends for shapes (code 4p). Raises
    WorkspaceError for what is no workspace, has no observation or no parameter of interest.
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        try:
            self.model, data = model_utils.model_and_data(dict(spec))
            self._cells = compiled.arrays(self.model)
        except (
            pyhf.exceptions.InvalidSpecification,
            pyhf.exceptions.InvalidMeasurement,
            pyhf.exceptions.InvalidModel,
            pyhf.exceptions.InvalidModifier,
            pyhf.exceptions.InvalidNameReuse,
            jsonschema.exceptions.ValidationError,
            KeyError,
            ValueError,
        ) as error:
            first = str(error).strip().splitlines()
            msg = f"not a workspace that can be fitted: {first[0] if first else repr(error)}"
            raise WorkspaceError(msg) from error
        config = self.model.config
        if config.poi_index is None:
            msg = "the workspace names no parameter of interest"
            raise WorkspaceError(msg)
        self._constraints = compiled.constraints(self.model)
        self._observe(data)
        self.poi: int = config.poi_index
        self.names: list[str] = list(config.par_names)
        self.bounds = [tuple(bound) for bound in config.suggested_bounds()]
        self.initial: Array = np.asarray(config.suggested_init(), dtype=np.float64)
        self.constant: list[bool] = list(config.suggested_fixed())
        varied = {name for name, kind in config.modifiers if kind in {"normsys", "histosys"}}
        self._mirrored = [i for i, name in enumerate(self.names) if name in varied]

    def value(self, parameters: Array) -> float:
        """-2 ln L, compiled."""
        return float(
            compiled.twice_nll(
                parameters, self._cells, self._constraints, self.main, self.auxiliary
            )
        )

    def value_of_pyhf(self, parameters: Array) -> float:
        """-2 ln L as pyhf computes it: slower, and rounded where bins have many events."""
        data = np.concatenate([self.main, self.auxiliary])
        return float(-2 * self.model.logpdf(parameters, data)[0])

    def with_data(self, data: Sequence[float] | Array) -> Likelihood:
        """The same model with other data, auxiliary measurements included."""
        other = copy.copy(self)
        other._observe(data)
        return other

    def _observe(self, data: Sequence[float] | Array) -> None:
        split = sum(self.model.config.channel_nbins.values())
        self.main, self.auxiliary = np.split(np.array(data, dtype=np.float64), [split])

    def minimum(
        self,
        start: Array | None = None,
        held: Mapping[int, float] | None = None,
        steps: Array | None = None,
        function: Callable[[Array], float] | None = None,
    ) -> iminuit.Minuit:
        """The converged Minuit with the parameters `held` (index -> value) fixed.

        With `steps`, the errors of an earlier fit, the quick strategy of Minuit is enough.
        `function` is `value` unless it is given.

        Raises FitError if Minuit finds no valid minimum.
        """
        values = np.array(self.initial if start is None else start)
        for index, value in (held or {}).items():
            values[index] = value
        minuit = iminuit.Minuit(function or self.value, values, name=self.names)
        minuit.limits = self.bounds
        minuit.fixed = [c or i in (held or {}) for i, c in enumerate(self.constant)]
        minuit.errordef = iminuit.Minuit.LEAST_SQUARES
        if steps is None:
            minuit.strategy = 1
        else:
            minuit.errors = np.where(steps > 0, steps, 1.0)
            minuit.strategy = 0
            minuit.tol = _QUICK_TOLERANCE
        minuit.migrad(ncall=_MAX_CALLS if steps is None else _QUICK_CALLS)
        if not minuit.valid:
            what = ", ".join(f"{self.names[i]} = {value:.4g}" for i, value in (held or {}).items())
            msg = f"the fit{f' with {what}' if what else ''} did not converge: {_reason(minuit)}"
            raise FitError(msg)
        return minuit

    def minima(self, start: Array | None = None) -> list[iminuit.Minuit]:
        """The minimum that is found from `start`, and others behind it; the lowest first.

        Where up and down of a variation change a template to the same side, its parameter fits as
        well on either side of zero, and the likelihood can have a minimum on each. So the search
        begins again from the mirror image in every such parameter. Raises FitError if the first
        search fails.
        """
        first = self.minimum(start)
        values, errors = np.array(first.values), np.array(first.errors)
        found = [first]
        for index in self._mirrored:
            image = values.copy()
            image[index] = -values[index]
            try:
                other = self.minimum(image, steps=errors)
            except FitError:
                continue
            if abs(other.values[index] - values[index]) > APART and not any(
                abs(other.fval - known.fval) < SAME_HEIGHT for known in found[1:]
            ):
                found.append(self.minimum(np.array(other.values)))
        return sorted(found, key=lambda minuit: float(minuit.fval))

    def conditional(
        self, best: Array, covariance: Array, index: int, value: float
    ) -> tuple[Array, float]:
        """The minimum with one parameter held at `value`: all parameters, and -2 ln L.

        `best` and `covariance` are those of the free fit: the search begins where the minimum would
        be if the likelihood were parabolic. Raises FitError if it does not converge.
        """
        low, high = np.transpose(self.bounds)
        value = float(np.clip(value, low[index], high[index]))
        slope = covariance[:, index] / covariance[index, index]
        start = np.clip(best + slope * (value - best[index]), low, high)
        minuit = self.minimum(start, {index: value}, steps=np.sqrt(np.diag(covariance)))
        return np.array(minuit.values), float(minuit.fval)

    def covariance(self, best: Array, errors: Array) -> Array | None:
        """Twice the inverse of the second derivatives at the minimum `best`, shape (parameters,) twice.

        Central differences in steps of a part of the `errors`, 0 for constant parameters. Minuit's
        HESSE, begun at a minimum, takes steps of 10⁻⁵ errors and less: -2 ln L then changes by 10⁻⁹,
        of which rounding is a part that matters where the strength is nearly degenerate with others.
        None where a step would cross a bound, or the curvature is not positive.
        """
        free = np.flatnonzero(errors > 0)
        steps = _STEP * np.diag(errors)[free]
        low, high = np.transpose(self.bounds)[:, free]
        if np.any(best[free] - 2 * _STEP * errors[free] < low):
            return None
        if np.any(best[free] + 2 * _STEP * errors[free] > high):
            return None
        curvature = np.empty((free.size, free.size))
        for i, one in enumerate(steps):
            for j, other in enumerate(steps[: i + 1]):
                along = self.value(best + one + other) + self.value(best - one - other)
                across = self.value(best + one - other) + self.value(best - one + other)
                curvature[i, j] = curvature[j, i] = (along - across) / (8 * _STEP**2)
        if not np.all(np.linalg.eigvalsh(curvature) > 0):
            return None
        covariance = np.zeros((errors.size, errors.size))
        scale = np.outer(errors[free], errors[free])
        covariance[np.ix_(free, free)] = scale * np.linalg.inv(curvature)
        return covariance


def _reason(minuit: iminuit.Minuit) -> str:
    state = minuit.fmin
    reasons = {
        "call limit reached": state.has_reached_call_limit,
        "parameters at their limits": state.has_parameters_at_limit,
        "covariance matrix not positive definite": not state.has_posdef_covar,
    }
    said = [text for text, holds in reasons.items() if holds]
    return ", ".join([*said, f"estimated distance to the minimum {state.edm:.2g}"])
