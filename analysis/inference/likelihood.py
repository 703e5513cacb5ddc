"""The likelihood of a workspace, compiled, with its derivatives.

cabinetry builds the model; the value is pyhf's but for its rounding. The minimum is that of `minimise`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import jsonschema
import numpy as np
import pyhf
from cabinetry import model_utils
from numpy.typing import NDArray

from analysis.common.errors import WorkspaceError
from analysis.inference import compiled

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_STEP = 1e-3
"""Step of differences of the gradient, in errors."""


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
        self.constraints = compiled.constraints(self.model)
        self._observe(data)
        self.poi: int = config.poi_index
        self.names: list[str] = list(config.par_names)
        low, high = np.transpose(np.array(config.suggested_bounds(), dtype=np.float64))
        self.bounds: tuple[Array, Array] = (low, high)
        self.initial: Array = np.asarray(config.suggested_init(), dtype=np.float64)
        self.constant: Mask = np.array(config.suggested_fixed(), dtype=bool)
        varied = {name for name, kind in config.modifiers if kind in {"normsys", "histosys"}}
        self.varied = [
            i for i, name in enumerate(self.names) if name in varied and not self.constant[i]
        ]

    def value(self, parameters: Array) -> float:
        """-2 ln L, compiled."""
        return float(
            compiled.twice_nll(parameters, self._cells, self.constraints, self.main, self.auxiliary)
        )

    @property
    def saturated(self) -> float:
        """-2 ln L of a model that has a parameter for every bin and auxiliary measurement."""
        return float(compiled.saturated(self.constraints, self.main, self.auxiliary))

    @property
    def measured(self) -> Array:
        """Parameters as their auxiliary measurements have them, others as they begin."""
        values, known = self.initial.copy(), self.constraints
        values[known.parameters] = self.auxiliary / np.where(known.widths > 0, 1.0, known.rates)
        return values

    def derivatives(self, parameters: Array) -> tuple[Array, Array]:
        """Gradient of -2 ln L, and the second derivatives that are expected of such rates."""
        gradient, information = compiled.derivatives(
            parameters, self._cells, self.constraints, self.main, self.auxiliary
        )
        return gradient, information

    def gradient(self, parameters: Array) -> Array:
        return self.derivatives(np.asarray(parameters))[0]

    def curvature(self, parameters: Array, free: NDArray[np.int64], expected: Array) -> Array:
        """Second derivatives of -2 ln L by the `free` parameters, shape (free, free).

        Differences of the gradient, in steps of a part of the errors that the `expected` ones give.
        """
        diagonal = np.diag(expected)
        steps = _STEP * np.sqrt(2 / np.where(diagonal > 0, diagonal, 2.0))
        rows = []
        for index, step in zip(free, steps, strict=True):
            moved = np.zeros(len(parameters))
            moved[index] = step
            rise = self.gradient(parameters + moved) - self.gradient(parameters - moved)
            rows.append(rise[free] / (2 * step))
        found: Array = np.reshape(rows, (len(free), len(free)))
        return (found + found.T) / 2

    def expected(self, parameters: Array) -> Array:
        """Events of each bin, shape (bins,)."""
        rates: Array = compiled.expected(parameters, self._cells, self.main.size)
        return rates

    def bounded_below(self, index: int, low: float) -> Likelihood:
        """The same model with another lower bound of a parameter."""
        other = copy.copy(self)
        other.bounds = (self.bounds[0].copy(), self.bounds[1])
        other.bounds[0][index] = low
        return other

    def with_data(self, data: Sequence[float] | Array) -> Likelihood:
        """The same model with other data, auxiliary measurements included."""
        other = copy.copy(self)
        other._observe(data)
        return other

    def _observe(self, data: Sequence[float] | Array) -> None:
        split = sum(self.model.config.channel_nbins.values())
        self.main, self.auxiliary = np.split(np.array(data, dtype=np.float64), [split])
