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
"""Part of a bin's events (or of one event) below which their Poisson distribution is continued by a parabola."""

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
    """Width of a Gaussian constraint; 0 for a Poisson distribution."""
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
    total = np.zeros(n_bins)
    for cell, events in enumerate(_forward(parameters, cells)[0]):
        total[cells.bins[cell]] += events
    return total


@numba.njit(cache=True)
def slopes(parameters, cells, n_bins):  # type: ignore[no-untyped-def]
    """Derivatives of `expected` by the parameters, shape (bins, parameters).

    Reverse accumulation: `weights` is what an event of a cell is worth in the end, at each step
    back before the factor of that step, so that no factor is divided out.
    """
    events, tape = _forward(parameters, cells)
    found = np.zeros((n_bins, len(parameters)))
    weights = np.ones(len(events))
    step = len(tape)
    for i in range(len(cells.direct) - 1, -1, -1):
        cell, parameter = cells.direct[i]
        step -= 1
        found[cells.bins[cell], parameter] += weights[cell] * tape[step]
        weights[cell] *= parameters[parameter]
    for i in range(len(cells.norms) - 1, -1, -1):
        parameter, begin, end = cells.norms[i]
        factor, slope = _normalisation(parameters[parameter], cells.factors[i])
        for cell in range(end - 1, begin - 1, -1):
            step -= 1
            found[cells.bins[cell], parameter] += weights[cell] * tape[step] * slope
            weights[cell] *= factor
    k = 0
    for parameter, begin, end in cells.shapes:
        _, slope = _shape(parameters[parameter])
        for cell in range(begin, end):
            change = slope[0] * cells.up[k] + slope[1] * cells.down[k]
            found[cells.bins[cell], parameter] += weights[cell] * change
            k += 1
    return found


@numba.njit(cache=True)
def _forward(parameters, cells):  # type: ignore[no-untyped-def]
    """Events of each cell, and the tape: events of a cell before each factor on it, in order."""
    events = cells.nominal.copy()
    k = 0
    for parameter, begin, end in cells.shapes:
        shift, _ = _shape(parameters[parameter])
        for cell in range(begin, end):
            events[cell] += shift[0] * cells.up[k] + shift[1] * cells.down[k]
            k += 1
    size = len(cells.direct)
    for _, begin, end in cells.norms:
        size += end - begin
    tape = np.empty(size)
    step = 0
    for i in range(len(cells.norms)):
        parameter, begin, end = cells.norms[i]
        factor, _ = _normalisation(parameters[parameter], cells.factors[i])
        for cell in range(begin, end):
            tape[step] = events[cell]
            step += 1
            events[cell] *= factor
    for cell, parameter in cells.direct:
        tape[step] = events[cell]
        step += 1
        events[cell] *= parameters[parameter]
    return events, tape


@numba.njit(cache=True)
def _shape(alpha):  # type: ignore[no-untyped-def]
    """What up and down of a varied shape are multiplied with (interpolation code 4p), and its slope."""
    if alpha > 1.0:
        return (alpha, 0.0), (1.0, 0.0)
    if alpha < -1.0:
        return (0.0, alpha), (0.0, 1.0)
    square = alpha * alpha
    bent = square * (square * (3.0 * square - 10.0) + 15.0) / 16.0
    slope = alpha * (square * (18.0 * square - 40.0) + 30.0) / 16.0
    half = 0.5 * alpha
    return (half + bent, half - bent), (0.5 + slope, 0.5 - slope)


@numba.njit(cache=True)
def _normalisation(alpha, factors):  # type: ignore[no-untyped-def]
    """The factor of a varied normalisation (interpolation code 4), and its slope."""
    if alpha >= 1.0:
        factor = factors[0] ** alpha
        return factor, factor * math.log(factors[0])
    if alpha <= -1.0:
        factor = factors[1] ** -alpha
        return factor, -factor * math.log(factors[1])
    factor = slope = 0.0
    for power in range(6, 0, -1):
        coefficient = factors[power + 1]
        factor = alpha * (factor + coefficient)
        slope = alpha * slope + power * coefficient
    return factor + 1.0, slope


@numba.njit(cache=True)
def twice_nll(parameters, cells, terms, main, auxiliary):  # type: ignore[no-untyped-def]
    """-2 ln L of the main data, shape (bins,), and the auxiliary ones; finite for any rate.

    The sum is compensated (A. Neumaier, 1974): steps of the minimiser change its last digits.
    """
    total = lost = 0.0
    rates = expected(parameters, cells, len(main))
    for i in range(len(main) + len(auxiliary)):
        if i < len(main):
            term = _poisson(main[i], rates[i])
        else:
            term = _auxiliary(i - len(main), parameters, terms, auxiliary)
        new = total + term
        lost += (total - new) + term if abs(total) >= abs(term) else (term - new) + total
        total = new
    return 2.0 * (total + lost)


@numba.njit(cache=True)
def saturated(terms, main, auxiliary):  # type: ignore[no-untyped-def]
    """-2 ln L with every rate and parameter as measured."""
    total = 0.0
    for n in main:
        total += _poisson(n, n) if n > 0 else 0.0
    for i in range(len(auxiliary)):
        if terms.widths[i] > 0.0:
            total += math.log(terms.widths[i] * math.sqrt(2.0 * math.pi))
        elif auxiliary[i] > 0.0:
            total += _poisson(auxiliary[i], auxiliary[i])
    return 2.0 * total


@numba.njit(cache=True)
def _auxiliary(i, parameters, terms, auxiliary):  # type: ignore[no-untyped-def]
    value, width = parameters[terms.parameters[i]], terms.widths[i]
    if width > 0.0:
        distance = (auxiliary[i] - value) / width
        return 0.5 * distance * distance + math.log(width * math.sqrt(2.0 * math.pi))
    return _poisson(auxiliary[i], value * terms.rates[i])


@numba.njit(cache=True)
def derivatives(parameters, cells, terms, main, auxiliary):  # type: ignore[no-untyped-def]
    """Gradient of `twice_nll`, and its second derivatives expected of such rates.

    Shapes (parameters,) and (parameters, parameters). The latter, of Fisher's scoring, are what is
    left of the second derivatives where the data are as predicted; they are never negative.
    """
    size, n_bins = len(parameters), len(main)
    rates, by = expected(parameters, cells, n_bins), slopes(parameters, cells, n_bins)
    gradient, information = np.zeros(size), np.zeros((size, size))
    for b in range(n_bins):
        slope, weight = _poisson_slope(main[b], rates[b])
        for i in range(size):
            if by[b, i] != 0.0:
                gradient[i] += 2.0 * slope * by[b, i]
                for j in range(size):
                    information[i, j] += 2.0 * weight * by[b, i] * by[b, j]
    for k in range(len(auxiliary)):
        i, width, rate = terms.parameters[k], terms.widths[k], terms.rates[k]
        if width > 0.0:
            gradient[i] += 2.0 * (parameters[i] - auxiliary[k]) / width**2
            information[i, i] += 2.0 / width**2
        else:
            slope, weight = _poisson_slope(auxiliary[k], parameters[i] * rate)
            gradient[i] += 2.0 * slope * rate
            information[i, i] += 2.0 * weight * rate**2
    return gradient, information


@numba.njit(cache=True)
def _poisson(n, rate):  # type: ignore[no-untyped-def]
    """-ln of a Poisson distribution continued to fractions of events.

    Extrapolated variations can make rates negative, where a fit that comes upon a NaN is lost. There
    the curve goes on as a parabola, from a rate so small that no minimum is beyond it; of no events,
    as the probability of a rate of zero.
    """
    if n <= 0.0:
        if rate >= LEAST_RATE:
            return rate
        return max(rate + LEAST_RATE, 0.0) ** 2 / (4.0 * LEAST_RATE)
    least = LEAST_RATE * n
    if rate < least:
        beyond = (rate - least) / least
        return _poisson_inside(n, least) + beyond * (least - n) + 0.5 * beyond * beyond * n
    return _poisson_inside(n, rate)


@numba.njit(cache=True)
def _poisson_slope(n, rate):  # type: ignore[no-untyped-def]
    """Derivative of `_poisson` by the rate, and its second derivative expected of such a rate."""
    if n <= 0.0:
        weight = 1.0 / max(rate, LEAST_RATE)
        return min(max((rate + LEAST_RATE) / (2.0 * LEAST_RATE), 0.0), 1.0), weight
    least = LEAST_RATE * n
    if rate < least:
        return 1.0 - n / least + n * (rate - least) / least**2, n / least**2
    return (rate - n) / rate, 1.0 / rate


@numba.njit(cache=True)
def _poisson_inside(n, rate):  # type: ignore[no-untyped-def]
    # rate - n ln(rate) + ln n! is a small difference of terms of 10⁶ in bins of 10⁵ events: their
    # rounding hides the changes that small steps make.
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
