"""Shapes of peaks and backgrounds on an interval: densities and integrals, not normalised.

A fit divides them by their integral over the interval, so a shape only needs the right form. The
signal shapes are those of `numba_stats`, which are compiled when they are imported: up to three seconds
each, so that is left to the first evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.polynomial import chebyshev as chebyshev_series
from numpy.typing import NDArray
from scipy.integrate import cumulative_simpson, cumulative_trapezoid
from scipy.interpolate import CubicHermiteSpline

from analysis.common.errors import SidebandError, did_you_mean
from analysis.postprocess.windows import Window

Array = NDArray[np.float64]

Function = Callable[[Array, Window, Array], Array]
"""Function of positions, the interval and the parameters."""

MAX_ORDER = 8

_POINTS = 2001
"""Points of the grid on which a polynomial is integrated."""

_VOIGT_POINTS = 201
"""The same of a Voigt profile: a part in 10,000 of it, at most, is in a wrong place."""


class Parameter(NamedTuple):
    """A parameter's name, start and limits."""

    name: str
    start: float
    limits: tuple[float, float]


class Shape(NamedTuple):
    """A form on an interval: its density and the integral of it from the lower end."""

    name: str
    parameters: tuple[Parameter, ...]
    density: Function
    integral: Function


class PeakStart(NamedTuple):
    """Approximate position of a peak and its standard deviation."""

    position: float
    width: float


def signal_shape(name: str, start: PeakStart, window: Window) -> Shape:
    """Build the peak shape `name`. Raise SidebandError for an unknown name or a start outside."""
    if name not in SIGNALS:
        msg = f"unknown signal shape {name!r}: {did_you_mean(name, SIGNALS)}"
        raise SidebandError(msg)
    if not window.low < start.position < window.high or not start.width > 0:
        msg = (
            f"a peak at {start.position:g} of width {start.width:g} cannot be fitted in {window}: "
            "the position must be inside, the width positive"
        )
        raise SidebandError(msg)
    return SIGNALS[name](start, window)


def background_shape(name: str, window: Window, order: int | None = None) -> Shape:
    """Build the background shape `name`; polynomials need an order.

    Raises SidebandError for an unknown name, and for an order that is missing, too high or given
    to a shape that has none.
    """
    if name not in BACKGROUNDS:
        msg = f"unknown background shape {name!r}: {did_you_mean(name, BACKGROUNDS)}"
        raise SidebandError(msg)
    if name in POLYNOMIALS:
        if order is None or not 1 <= order <= MAX_ORDER:
            msg = f"the order of {name} must be between 1 and {MAX_ORDER}, got {order}"
            raise SidebandError(msg)
        return POLYNOMIALS[name](order)
    if order is not None:
        msg = f"{name} has no order, got {order}"
        raise SidebandError(msg)
    if name == "power_law" and not window.low > 0:
        msg = f"a power law needs an interval above zero, got {window}"
        raise SidebandError(msg)
    return _SIMPLE[name]


@cache
def _compiled(name: str) -> Any:
    """Import the module `name` of `numba_stats`."""
    return import_module(f"numba_stats.{name}")


def _position_and_width(start: PeakStart, window: Window) -> tuple[Parameter, Parameter]:
    return (
        Parameter("position", start.position, (window.low, window.high)),
        Parameter("width", start.width, (start.width / 20, window.width)),
    )


def _from_low(
    cdf: Callable[[Array, Array], Array],
) -> Function:
    """Turn a cumulative distribution into an integral from the lower end."""

    def integral(x: Array, window: Window, p: Array) -> Array:
        values = cdf(np.append(window.low, x), p)
        result: Array = values[1:] - values[0]
        return result

    return integral


def _gaussian(start: PeakStart, window: Window) -> Shape:
    return Shape(
        "gaussian",
        _position_and_width(start, window),
        lambda x, _, p: _compiled("norm").pdf(x, p[0], p[1]),
        _from_low(lambda x, p: _compiled("norm").cdf(x, p[0], p[1])),
    )


def _double_gaussian(start: PeakStart, window: Window) -> Shape:
    """Two Gaussians of one position: `core_fraction` with `width`, the rest wider by a factor."""

    def both(name: str) -> Callable[[Array, Array], Array]:
        def weighted(x: Array, p: Array) -> Array:
            function = getattr(_compiled("norm"), name)
            position, width, fraction, ratio = p
            core, tail = function(x, position, width), function(x, position, ratio * width)
            result: Array = fraction * core + (1 - fraction) * tail
            return result

        return weighted

    density = both("pdf")
    parameters = (
        *_position_and_width(start, window),
        Parameter("core_fraction", 0.7, (0.2, 1.0)),
        Parameter("width_ratio", 2.0, (1.2, 8.0)),
    )
    return Shape(
        "double_gaussian", parameters, lambda x, _, p: density(x, p), _from_low(both("cdf"))
    )


def _crystal_ball(start: PeakStart, window: Window) -> Shape:
    """A Gaussian core with a power-law tail below, as of radiation (SLAC-R-236, appendix D)."""
    parameters = (
        *_position_and_width(start, window),
        Parameter("tail_start", 1.5, (0.3, 6.0)),
        Parameter("tail_power", 3.0, (1.05, 50.0)),
    )
    return Shape(
        "crystal_ball",
        parameters,
        lambda x, _, p: _compiled("crystalball").pdf(x, p[2], p[3], p[0], p[1]),
        _from_low(lambda x, p: _compiled("crystalball").cdf(x, p[2], p[3], p[0], p[1])),
    )


def _double_crystal_ball(start: PeakStart, window: Window) -> Shape:
    """A Gaussian core with a power-law tail on either side."""

    def both(name: str) -> Callable[[Array, Array], Array]:
        def function(x: Array, p: Array) -> Array:
            of_two_tails = getattr(_compiled("crystalball_ex"), name)
            result: Array = of_two_tails(x, p[2], p[3], p[1], p[4], p[5], p[1], p[0])
            return result

        return function

    density = both("pdf")
    tails = [
        parameter
        for side in ("low", "high")
        for parameter in (
            Parameter(f"tail_start_{side}", 1.5, (0.3, 6.0)),
            Parameter(f"tail_power_{side}", 3.0, (1.05, 50.0)),
        )
    ]
    return Shape(
        "double_crystal_ball",
        (*_position_and_width(start, window), *tails),
        lambda x, _, p: density(x, p),
        _from_low(both("cdf")),
    )


def _voigt(start: PeakStart, window: Window) -> Shape:
    """A Breit-Wigner of half width `gamma`, smeared by a Gaussian of `width`."""

    def density(x: Array, _: Window, p: Array) -> Array:
        result: Array = _compiled("voigt").pdf(x, p[2], p[0], p[1])
        return result

    parameters = (
        *_position_and_width(start, window),
        Parameter("gamma", start.width / 2, (start.width / 100, 5 * start.width)),
    )

    def integral(x: Array, window: Window, p: Array) -> Array:
        """Integrate by Simpson's rule on a grid that is fine at the peak, however wide the interval."""
        position, scale = p[0], p[1] + p[2]

        def place(x: Array) -> Array:
            result: Array = np.arcsinh((x - position) / scale)
            return result

        low, high = place(np.array(window))
        grid = np.linspace(low, high, _VOIGT_POINTS)
        values = density(position + scale * np.sinh(grid), window, p) * scale * np.cosh(grid)
        cumulative = cumulative_simpson(values, dx=grid[1] - grid[0], initial=0)
        result: Array = CubicHermiteSpline(grid, cumulative, values)(place(x))
        return result

    return Shape("voigt", parameters, density, integral)


def _exponential_density(x: Array, window: Window, p: Array) -> Array:
    result: Array = np.exp(-p[0] * (x - window.low) / window.width)
    return result


def _exponential_integral(x: Array, window: Window, p: Array) -> Array:
    slope = p[0] / window.width
    distance = x - window.low
    result: Array = distance if abs(p[0]) < 1e-9 else -np.expm1(-slope * distance) / slope
    return result


def _power_density(x: Array, window: Window, p: Array) -> Array:
    result: Array = (x / window.low) ** -p[0]
    return result


def _power_integral(x: Array, window: Window, p: Array) -> Array:
    logarithm = np.log(x / window.low)
    exponent = 1 - p[0]
    if abs(exponent) < 1e-9:
        exponent = 1e-9  # the limit, to a part in a billion
    result: Array = window.low * np.expm1(exponent * logarithm) / exponent
    return result


def _chebyshev(order: int) -> Shape:
    """1 + Σ c_i T_i(u), u from -1 to 1 over the interval; zero where that would be negative."""

    def unit(x: Array, window: Window) -> Array:
        result: Array = (2 * x - window.low - window.high) / window.width
        return result

    def density(x: Array, window: Window, p: Array) -> Array:
        value: Array = chebyshev_series.chebval(unit(x, window), np.append(1.0, p))
        return np.maximum(value, 0.0)

    def integral(x: Array, window: Window, p: Array) -> Array:
        """Integrate by the trapezoidal rule: a density that is cut off has no closed form."""
        grid = np.linspace(*window, _POINTS)
        cumulative = cumulative_trapezoid(density(grid, window, p), x=grid, initial=0)
        result: Array = np.interp(x, grid, cumulative)
        return result

    parameters = tuple(Parameter(f"c{i}", 0.0, (-2.0, 2.0)) for i in range(1, order + 1))
    return Shape("chebyshev", parameters, density, integral)


def _bernstein(order: int) -> Shape:
    """Bernstein polynomial, never negative as no coefficient is; the first coefficient is 1."""

    def density(x: Array, window: Window, p: Array) -> Array:
        result: Array = _compiled("bernstein").density(x, np.append(1.0, p), *window)
        return result

    def integral(x: Array, window: Window, p: Array) -> Array:
        result: Array = _compiled("bernstein").integral(x, np.append(1.0, p), *window)
        return result

    parameters = tuple(Parameter(f"b{i}", 1.0, (0.0, 1e3)) for i in range(1, order + 1))
    return Shape("bernstein", parameters, density, integral)


SIGNALS: dict[str, Callable[[PeakStart, Window], Shape]] = {
    "gaussian": _gaussian,
    "double_gaussian": _double_gaussian,
    "crystal_ball": _crystal_ball,
    "double_crystal_ball": _double_crystal_ball,
    "voigt": _voigt,
}

_SIMPLE = {
    "exponential": Shape(
        "exponential",
        # Falls by exp(-slope) over the interval.
        (Parameter("slope", 1.0, (-30.0, 30.0)),),
        _exponential_density,
        _exponential_integral,
    ),
    "power_law": Shape(
        "power_law",
        (Parameter("power", 1.0, (-30.0, 30.0)),),
        _power_density,
        _power_integral,
    ),
}

POLYNOMIALS: dict[str, Callable[[int], Shape]] = {"chebyshev": _chebyshev, "bernstein": _bernstein}

BACKGROUNDS = (*_SIMPLE, *POLYNOMIALS)
