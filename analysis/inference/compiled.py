"""-2 ln L of a pyhf model as one compiled loop.

pyhf evaluates a model as tensor operations on every sample and modifier, whose overhead is most of the
time of a fit in a model of some ten bins. This is the same function of the same specification, about
thirty times faster; the tests compare it with pyhf's own, for every kind of modifier.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
import pyhf
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST_RATE = 1e-3
"""Of the events of a bin: below, their Poisson distribution is continued by a parabola."""

# Value, slope and curvature of a1 x + .. + a6 x⁶ at x = 1 (even rows) and x = -1 (odd rows).
_POWERS = np.arange(1, 7)
_AT_ONE = np.array(
    [
        _factor * float(_side) ** (_POWERS - _order)
        for _order, _factor in enumerate((_POWERS**0, _POWERS, _POWERS * (_POWERS - 1)))
        for _side in (1, -1)
    ]
)


class Arrays(NamedTuple):
    """The expectation as arrays: one cell for each bin of each sample of each channel."""

    nominal: Floats
    """Events of each cell."""
    bins: Ints
    """The bin of the main data that each cell adds to."""
    direct: Ints
    """Shape (n, 2): a cell, and the parameter that multiplies it."""
    shapes: Ints
    """Shape (n, 3): the parameter of a varied shape, its first cell, and the one after its last."""
    up: Floats
    """Varied less nominal events, of the cells of each shape one after the other."""
    down: Floats
    """Nominal less varied events."""
    norms: Ints
    """As `shapes`, of varied normalisations."""
    factors: Floats
    """Shape (n, 8): factor up, factor down, and the six coefficients of the polynomial between."""


class Constraints(NamedTuple):
    """Auxiliary measurements, in pyhf's order."""

    parameters: Ints
    widths: Floats
    """Of a Gaussian; 0 for a Poisson distribution."""
    rates: Floats
    """Events of a Poisson distribution per unit of the parameter."""


def arrays(model: pyhf.Model) -> Arrays:
    """The cells of a model and what acts on them; interpolation codes 4 and 4p.

    Raises ValueError for a normalisation factor that is not positive, which cannot be interpolated.
    """
    config = model.config
    nominal: list[float] = []
    bins: list[int] = []
    direct: list[tuple[int, int]] = []
    shapes: list[tuple[int, int, int]] = []
    norms: list[tuple[int, int, int]] = []
    up, down, factors = [], [], []
    seen: dict[str, int] = {}
    for channel in sorted(model.spec["channels"], key=lambda c: config.channels.index(c["name"])):
        first_bin = config.channel_slices[channel["name"]].start
        size = config.channel_nbins[channel["name"]]
        for sample in channel["samples"]:
            start, data = len(nominal), np.asarray(sample["data"], dtype=float)
            cells = range(start, start + size)
            nominal += data.tolist()
            bins += range(first_bin, first_bin + size)
            for modifier in sample["modifiers"]:
                kind, name, values = modifier["type"], modifier["name"], modifier["data"]
                first = config.par_slice(name).start
                if kind == "histosys":
                    shapes.append((first, start, start + size))
                    up.append(np.asarray(values["hi_data"]) - data)
                    down.append(data - np.asarray(values["lo_data"]))
                elif kind == "normsys":
                    norms.append((first, start, start + size))
                    factors.append(_interpolation(name, values["hi"], values["lo"]))
                else:  # The parameter is a factor on every bin, or there is one a bin.
                    step = 0 if config.param_set(name).is_scalar else 1
                    first += seen.get(name, 0) if kind == "staterror" else 0
                    direct += [(cell, first + step * i) for i, cell in enumerate(cells)]
        # The bins of statistical errors are counted on where channels share them.
        for name in _staterrors(channel):
            seen[name] = seen.get(name, 0) + size
    return Arrays(
        np.array(nominal), np.array(bins), _table(direct, 2), _table(shapes, 3),
        np.concatenate([np.zeros(0), *up]), np.concatenate([np.zeros(0), *down]), _table(norms, 3),
        np.array(factors, dtype=float).reshape(-1, 8),
    )  # fmt: skip


def constraints(model: pyhf.Model) -> Constraints:
    """What the auxiliary data of a model measure, and how well."""
    parameters: list[int] = []
    widths: list[float] = []
    rates: list[float] = []
    for name in model.config.auxdata_order:
        known = model.config.param_set(name)
        place = model.config.par_slice(name)
        parameters += range(place.start, place.stop)
        poisson = known.pdf_type == "poisson"
        widths += [0.0] * known.n_parameters if poisson else list(known.width())
        rates += list(known.factors) if poisson else [0.0] * known.n_parameters
    return Constraints(
        np.array(parameters, dtype=np.int64), np.array(widths, dtype=float), np.array(rates)
    )


@numba.njit(cache=True)
def expected(parameters, cells, n_bins):  # type: ignore[no-untyped-def]
    """Events of each bin, shape (bins,)."""
    events = cells.nominal.copy()
    _shift(parameters, cells, events)
    _scale(parameters, cells, events)
    total = np.zeros(n_bins)
    for cell in range(len(events)):
        total[cells.bins[cell]] += events[cell]
    return total


@numba.njit(cache=True)
def _shift(parameters, cells, events):  # type: ignore[no-untyped-def]
    """Add the varied shapes (interpolation code 4p)."""
    k = 0
    for parameter, begin, end in cells.shapes:
        alpha = parameters[parameter]
        square = alpha * alpha
        bent = square * (square * (3.0 * square - 10.0) + 15.0) / 16.0
        for cell in range(begin, end):
            up, down = cells.up[k], cells.down[k]
            k += 1
            if alpha > 1.0:
                events[cell] += alpha * up
            elif alpha < -1.0:
                events[cell] += alpha * down
            else:
                events[cell] += alpha * 0.5 * (up + down) + bent * (up - down)


@numba.njit(cache=True)
def _scale(parameters, cells, events):  # type: ignore[no-untyped-def]
    """Multiply with the varied normalisations (code 4) and the parameters that are factors."""
    for i in range(len(cells.norms)):
        parameter, begin, end = cells.norms[i]
        alpha = parameters[parameter]
        if alpha >= 1.0:
            factor = cells.factors[i, 0] ** alpha
        elif alpha <= -1.0:
            factor = cells.factors[i, 1] ** -alpha
        else:
            factor = 0.0
            for power in range(7, 1, -1):
                factor = alpha * (factor + cells.factors[i, power])
            factor += 1.0
        for cell in range(begin, end):
            events[cell] *= factor
    for cell, parameter in cells.direct:
        events[cell] *= parameters[parameter]


@numba.njit(cache=True)
def twice_nll(parameters, cells, terms, main, auxiliary):  # type: ignore[no-untyped-def]
    """-2 ln L of the main data, shape (bins,), and the auxiliary ones; finite for any rate."""
    total = 0.0
    rates = expected(parameters, cells, len(main))
    for i in range(len(main)):
        total += _poisson(main[i], rates[i])
    for i in range(len(auxiliary)):
        value = parameters[terms.parameters[i]]
        width = terms.widths[i]
        if width > 0.0:
            distance = (auxiliary[i] - value) / width
            total += 0.5 * distance * distance + math.log(width * math.sqrt(2.0 * math.pi))
        else:
            total += _poisson(auxiliary[i], value * terms.rates[i])
    return 2.0 * total


@numba.njit(cache=True)
def _poisson(n, rate):  # type: ignore[no-untyped-def]
    """-ln of a Poisson distribution continued to fractions of events.

    Extrapolated variations can make rates negative, where a fit that comes upon a NaN is lost. There
    the curve goes on as a parabola, from a rate so small that no minimum is beyond it.
    """
    if n <= 0.0:
        return abs(rate)
    least = LEAST_RATE * n
    if rate < least:
        beyond = (rate - least) / least
        return _poisson_inside(n, least) + beyond * (least - n) + 0.5 * beyond * beyond * n
    return _poisson_inside(n, rate)


@numba.njit(cache=True)
def _poisson_inside(n, rate):  # type: ignore[no-untyped-def]
    # rate - n ln(rate) + ln n! is a small difference of terms of 10⁶ in bins of 10⁵ events: their
    # rounding hides the changes that HESSE's small steps make.
    change = (rate - n) / n
    at_best = math.lgamma(n + 1.0) - n * math.log(n) + n
    return n * (change - math.log1p(change)) + at_best


def _interpolation(name: str, high: float, low: float) -> list[float]:
    """Both factors, and the polynomial that joins highˣ and low⁻ˣ at ±1 (HistFactory code 4)."""
    if not (high > 0 and low > 0):
        msg = f"{name}: normalisation factors {high:g} and {low:g}, expected positive ones"
        raise ValueError(msg)
    logs = math.log(high), -math.log(low)
    values = [
        side * log**order - (order == 0)
        for order in range(3)
        for side, log in zip((high, low), logs, strict=True)
    ]
    return [high, low, *np.linalg.solve(_AT_ONE, values)]


def _staterrors(channel: Mapping[str, Any]) -> set[str]:
    return {
        modifier["name"]
        for sample in channel["samples"]
        for modifier in sample["modifiers"]
        if modifier["type"] == "staterror"
    }


def _table(rows: Sequence[tuple[int, ...]], columns: int) -> Ints:
    return np.array(rows, dtype=np.int64).reshape(-1, columns)
