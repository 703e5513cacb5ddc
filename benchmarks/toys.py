"""Pseudo-experiments with known truth: is each background estimate unbiased, its error honest?

    python benchmarks/toys.py [--experiments 1000] [--seed 2015]

A Gaussian peak over a background, Poisson-distributed numbers. The pull is (estimate - truth) / error
of the signal. Rows marked `no` are those whose assumption does not hold: they show the bias.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from hist import Hist
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from analysis.common.errors import FitError
from analysis.common.tables import markdown
from analysis.postprocess.sidebands.counts import Method, SidebandRegions, estimate
from analysis.postprocess.sidebands.fits import fit_peak, fit_sidebands
from analysis.postprocess.sidebands.shapes import PeakStart
from analysis.postprocess.windows import Window

Values = NDArray[np.float64]
Estimate = Callable[[Values], tuple[float, float]]

SPAN = Window(2.0, 4.0)
REGIONS = SidebandRegions(lower=Window(2.0, 2.8), signal=Window(2.8, 3.2), upper=Window(3.2, 4.0))
POSITION, WIDTH = 3.0, 0.04
N_SIGNAL, N_BACKGROUND = 500, 4000
BINS = 80


def linear(u: Values) -> Values:
    """Inverse cumulative distribution of a density that falls to half its value over the range."""
    return 2 - np.sqrt(4 - 3 * u)


def exponential(u: Values, slope: float) -> Values:
    """The same of one that falls by exp(-slope)."""
    result: Values = -np.log1p(u * np.expm1(-slope)) / slope
    return result


def power(u: Values, exponent: float) -> Values:
    """The same of (SPAN.low + SPAN.width x)^-exponent."""
    ratio = (SPAN.high / SPAN.low) ** (1 - exponent)
    result: Values = (
        SPAN.low * (1 + u * (ratio - 1)) ** (1 / (1 - exponent)) - SPAN.low
    ) / SPAN.width
    return result


def experiment(rng: Generator, background: Callable[[Values], Values]) -> Values:
    peak = rng.normal(POSITION, WIDTH, rng.poisson(N_SIGNAL))
    below = SPAN.low + SPAN.width * background(rng.random(rng.poisson(N_BACKGROUND)))
    return np.concatenate([peak, below])


def histogram(values: Values) -> Hist:
    return Hist.new.Reg(BINS, *SPAN).Weight().fill(values)


def count(values: Values, method: Method) -> tuple[float, float]:
    result = estimate(values, REGIONS, method)
    return result.signal, result.signal_error


def bands(values: Values, background: str, order: int | None = None) -> tuple[float, float]:
    fit = fit_sidebands(histogram(values), REGIONS, background=background, order=order)
    return fit.signal.value, fit.signal.error


def peak(
    values: Values, signal: str, background: str, order: int | None = None, binned: bool = True
) -> tuple[float, float]:
    fit = fit_peak(
        histogram(values) if binned else values,
        SPAN,
        PeakStart(POSITION, WIDTH),
        signal=signal,
        background=background,
        order=order,
        fixed={"tail_start": 5.0, "tail_power": 3.0} if signal == "crystal_ball" else None,
        minos=(),
    )
    return fit.signal.value, fit.signal.error


class Case(NamedTuple):
    name: str
    truth: str
    holds: bool
    background: Callable[[Values], Values]
    estimate: Estimate


EXPONENTIAL = partial(exponential, slope=2.0)
POWER = partial(power, exponent=3.0)

CASES = (
    Case("count, average", "linear", True, linear, partial(count, method="average")),
    Case("count, linear", "linear", True, linear, partial(count, method="linear")),
    Case("count, linear", "exponential", False, EXPONENTIAL, partial(count, method="linear")),
    Case("bands, exponential", "exponential", True, EXPONENTIAL, partial(bands, background="exponential")),
    Case("bands, power law", "power law", True, POWER, partial(bands, background="power_law")),
    Case("bands, Chebyshev 1", "linear", True, linear, partial(bands, background="chebyshev", order=1)),
    Case("bands, Chebyshev 1", "exponential", False, EXPONENTIAL, partial(bands, background="chebyshev", order=1)),
    Case("bands, Bernstein 2", "linear", True, linear, partial(bands, background="bernstein", order=2)),
    Case("peak, Gaussian + exponential, binned", "exponential", True, EXPONENTIAL, partial(peak, signal="gaussian", background="exponential")),
    Case("peak, Gaussian + exponential, unbinned", "exponential", True, EXPONENTIAL, partial(peak, signal="gaussian", background="exponential", binned=False)),
    Case("peak, Crystal Ball + power law, binned", "power law", True, POWER, partial(peak, signal="crystal_ball", background="power_law")),
    Case("peak, Gaussian + Chebyshev 2, binned", "linear", True, linear, partial(peak, signal="gaussian", background="chebyshev", order=2)),
)  # fmt: skip


def study(case: Case, experiments: int, seed: int) -> list[str]:
    """A row of the table; every experiment has the same seed for each case."""
    rng = default_rng(seed)
    pulls, failed = [], 0
    for _ in range(experiments):
        try:
            value, error = case.estimate(experiment(rng, case.background))
        except FitError:
            failed += 1
            continue
        pulls.append((value - N_SIGNAL) / error)
    mean, width, n = np.mean(pulls), np.std(pulls, ddof=1), len(pulls)
    return [
        case.name,
        case.truth,
        "yes" if case.holds else "no",
        f"{mean:+.2f} ± {width / n**0.5:.2f}",
        f"{width:.2f} ± {width / (2 * n) ** 0.5:.2f}",
        str(failed),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", type=int, default=1000, metavar="N")
    parser.add_argument("--seed", type=int, default=2015)
    arguments = parser.parse_args()
    header = [
        "estimate",
        "background",
        "assumption holds",
        "pull mean",
        "pull width",
        "failed fits",
    ]
    rows = [study(case, arguments.experiments, arguments.seed) for case in CASES]
    print(markdown(header, rows))  # noqa: T201


if __name__ == "__main__":
    main()
