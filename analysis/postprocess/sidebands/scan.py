"""Repeat the estimate with other regions: does the choice of window and bands matter?"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from hist import Hist
from numpy.typing import ArrayLike
from pydantic import ValidationError

from analysis.common.errors import FitError, SidebandError
from analysis.common.strict import Strict, faults
from analysis.postprocess.sidebands.counts import Method, SidebandRegions, coefficients, estimate
from analysis.postprocess.sidebands.fits import fit_sidebands
from analysis.postprocess.windows import Window

_COUNTS: dict[str, Method] = {"average": "average", "linear": "linear"}


class ScanRow(Strict):
    """One choice of regions and method."""

    choice: str
    method: str
    regions: SidebandRegions
    signal: float
    error: float
    """Statistical error, not independent of that of the nominal choice."""


class Scan(Strict):
    """The signal for all choices; the first row is the nominal one."""

    rows: tuple[ScanRow, ...]
    failed: tuple[str, ...]
    """Choices without a result, with the reason."""
    corrected: bool
    """Whether the signal is that of the whole peak, not of each window."""

    @property
    def nominal(self) -> ScanRow:
        return self.rows[0]

    @property
    def spread(self) -> float:
        """Root mean square of the differences to the nominal choice: a systematic uncertainty."""
        differences = np.array([row.signal - self.nominal.signal for row in self.rows[1:]])
        return float(np.sqrt(np.mean(differences**2))) if differences.size else 0.0

    @property
    def largest(self) -> ScanRow:
        """The row farthest from the nominal one."""
        return max(self.rows, key=lambda row: abs(row.signal - self.nominal.signal))

    def __str__(self) -> str:
        row = self.nominal
        largest = self.largest
        return (
            f"{row.signal:.1f} ± {row.error:.1f} (stat.) ± {self.spread:.1f} (choice of "
            f"{len(self.rows)} regions and methods); farthest: {largest.signal:.1f} "
            f"({largest.choice}, {largest.method})"
        )


class _Change(NamedTuple):
    """Steps by which each edge moves."""

    choice: str
    edges: tuple[int, int, int, int, int, int]


_CHANGES = (
    _Change("nominal", (0, 0, 0, 0, 0, 0)),
    _Change("window narrower", (0, 0, 1, -1, 0, 0)),
    _Change("window wider", (0, -1, -1, 1, 1, 0)),
    _Change("window lower", (0, -1, -1, -1, 0, 0)),
    _Change("window higher", (0, 0, 1, 1, 1, 0)),
    _Change("bands narrower outside", (1, 0, 0, 0, 0, -1)),
    _Change("bands wider outside", (-1, 0, 0, 0, 0, 1)),
    _Change("bands apart", (-1, -1, 0, 0, 1, 1)),
    _Change("bands farther apart", (-2, -2, 0, 0, 2, 2)),
    _Change("lower band apart", (-1, -1, 0, 0, 0, 0)),
    _Change("upper band apart", (0, 0, 0, 0, 1, 1)),
)


def scan(
    content: Hist | ArrayLike,
    regions: SidebandRegions,
    step: float,
    *,
    methods: tuple[str, ...] = ("average", "linear", "exponential"),
    signal_cdf: Callable[[float], float] | None = None,
) -> Scan:
    """Repeat the estimate with the edges of `regions` moved by `step`, once for each method.

    A method is one of the counts or a background shape of the sideband fit; the first one with
    `regions` themselves is the nominal choice. With the cumulative distribution of the signal the
    results are those of the whole peak and windows can be compared (that the bands hold a part of the
    peak is corrected for in counts, not in fits); without it, a narrower window holds fewer signal
    events by itself. A choice that gives no result is listed with the reason; the
    second of two counts that are one number (of bands equally far from the window) is left out, as it
    would be no other choice.
    Raises SidebandError or FitError if the nominal choice gives none, SidebandError if the step is not
    positive.
    """
    if not step > 0:
        msg = f"the step of the scan must be positive, got {step:g}"
        raise SidebandError(msg)
    first, *choices = itertools.product(_CHANGES, methods)
    rows, failed = [_row(content, regions, step, *first, signal_cdf)], []
    for change, method in choices:
        try:
            if _is_other_count(_moved(regions, change.edges, step), method, methods):
                continue
            rows.append(_row(content, regions, step, change, method, signal_cdf))
        except (FitError, SidebandError) as fault:
            failed.append(f"{change.choice}, {method}: {fault}")
    return Scan(rows=tuple(rows), failed=tuple(failed), corrected=signal_cdf is not None)


def _is_other_count(regions: SidebandRegions, method: str, methods: tuple[str, ...]) -> bool:
    """Check whether an earlier one of the methods weighs the bands in the same way."""
    if method not in _COUNTS:
        return False
    earlier = [name for name in methods[: methods.index(method)] if name in _COUNTS]
    weights = coefficients(regions, _COUNTS[method])
    return any(np.allclose(coefficients(regions, _COUNTS[name]), weights) for name in earlier)


def _row(
    content: Hist | ArrayLike,
    regions: SidebandRegions,
    step: float,
    change: _Change,
    method: str,
    signal_cdf: Callable[[float], float] | None,
) -> ScanRow:
    moved = _moved(regions, change.edges, step)
    counted = _COUNTS.get(method)
    if counted is not None:
        count = estimate(content, moved, counted, signal_cdf=signal_cdf)
        value, error, leakage = count.signal, count.signal_error, count.leakage or 0.0
    else:
        fit = fit_sidebands(content, moved, background=method)
        value, error, leakage = fit.signal.value, fit.signal.error, 0.0
    if signal_cdf is not None:
        contained = signal_cdf(moved.signal.high) - signal_cdf(moved.signal.low)
        left = contained * (1 - leakage)
        if not left > 0:
            msg = f"the bands hold as much of the signal as the window {moved.signal}"
            raise SidebandError(msg)
        value, error = value / left, error / left
    return ScanRow(choice=change.choice, method=method, regions=moved, signal=value, error=error)


def _moved(regions: SidebandRegions, steps: tuple[int, ...], step: float) -> SidebandRegions:
    """Move the edges by `steps`. Raise SidebandError if that gives no regions."""
    edges = [*regions.lower, *regions.signal, *regions.upper]
    # Rounded, as a sum of steps misses the edge of a bin by a last digit.
    moved = [round(edge + n * step, 9) for edge, n in zip(edges, steps, strict=True)]
    windows = [Window(*moved[i : i + 2]) for i in (0, 2, 4)]
    try:
        return SidebandRegions(lower=windows[0], signal=windows[1], upper=windows[2])
    except ValidationError as error:
        raise SidebandError(faults(error, SidebandRegions)[0]) from error
