"""Pseudo-experiments with known truth: is each background estimate unbiased, its error honest?

    python benchmarks/toys.py [--experiments 1000] [--seed 2015] [--only WORD] [--processes 2]

A peak over a background, Poisson-distributed numbers. The pull is (estimate - truth) / error of the
signal, the coverage how often the truth is within estimate ± error and within the MINOS interval: 68.3 %.
Rows marked `no` are those whose assumption does not hold: they show the bias.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain
from typing import NamedTuple

import numpy as np
from hist import Hist
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from analysis.common.errors import FitError
from analysis.common.tables import markdown
from analysis.postprocess.sidebands.counts import Method, SidebandRegions, estimate
from analysis.postprocess.sidebands.fits import fit_peak, fit_sidebands
from analysis.postprocess.sidebands.shapes import PeakStart, signal_shape
from analysis.postprocess.windows import Window

Values = NDArray[np.float64]

SPAN = Window(2.0, 4.0)
REGIONS = SidebandRegions(lower=Window(2.0, 2.8), signal=Window(2.8, 3.2), upper=Window(3.2, 4.0))
POSITION, WIDTH = 3.0, 0.04
SHAPES = {
    "gaussian": (),
    "double_gaussian": (0.7, 2.5),
    "crystal_ball": (1.2, 4.0),
    "double_crystal_ball": (1.2, 4.0, 1.5, 4.0),
    "voigt": (0.03,),
}
"""Signal shape -> its true parameters after position and width."""
BINS = 80
PART = 50
"""Experiments of one task; those of its number have the same seed in each case."""


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


def gaussian(rng: Generator, size: int) -> Values:
    return rng.normal(POSITION, WIDTH, size)


def drawn(name: str, rng: Generator, size: int) -> Values:
    """Values of a signal shape, with the parameters of `SHAPES`, by its cumulative distribution."""
    shape = signal_shape(name, PeakStart(POSITION, WIDTH), SPAN)
    x = np.linspace(*SPAN, 20_001)
    cumulative = shape.integral(x, SPAN, np.array([POSITION, WIDTH, *SHAPES[name]]))
    return np.interp(rng.random(size) * cumulative[-1], cumulative, x)


def histogram(values: Values) -> Hist:
    return Hist.new.Reg(BINS, *SPAN).Weight().fill(values)


class Estimated(NamedTuple):
    value: float
    error: float
    interval: tuple[float, float] | None = None
    """Lower (negative) and upper error."""


def count(values: Values, method: Method) -> Estimated:
    result = estimate(values, REGIONS, method)
    return Estimated(result.signal, result.signal_error)


def bands(values: Values, background: str, order: int | None = None) -> Estimated:
    fit = fit_sidebands(histogram(values), REGIONS, background=background, order=order)
    return Estimated(fit.signal.value, fit.signal.error)


def peak(
    values: Values,
    signal: str,
    background: str = "exponential",
    order: int | None = None,
    binned: bool = True,
    fixed: Mapping[str, float] | None = None,
) -> Estimated:
    fit = fit_peak(
        histogram(values) if binned else values,
        SPAN,
        PeakStart(POSITION, WIDTH),
        signal=signal,
        background=background,
        order=order,
        fixed=fixed,
    )
    return Estimated(fit.signal.value, fit.signal.error, fit.signal.minos)


class Case(NamedTuple):
    name: str
    truth: str
    holds: bool
    background: Callable[[Values], Values]
    estimate: Callable[[Values], Estimated]
    peak: Callable[[Generator, int], Values] = gaussian
    n_signal: int = 500
    n_background: int = 4000


EXPONENTIAL = partial(exponential, slope=2.0)
POWER = partial(power, exponent=3.0)
FAR_TAIL = {"tail_start": 5.0, "tail_power": 3.0}

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
    Case("peak, Crystal Ball + power law, binned", "power law", True, POWER, partial(peak, signal="crystal_ball", background="power_law", fixed=FAR_TAIL)),
    Case("peak, Gaussian + Chebyshev 2, binned", "linear", True, linear, partial(peak, signal="gaussian", background="chebyshev", order=2)),
    Case("peak, Gaussian + Bernstein 2, binned", "linear", True, linear, partial(peak, signal="gaussian", background="bernstein", order=2)),
    *(
        Case(f"800 of a {name.replace('_', ' ')} over 2000", "exponential", True, EXPONENTIAL, partial(peak, signal=name), partial(drawn, name), 800, 2000)
        for name in SHAPES
    ),
)  # fmt: skip


def repeated(case: Case, experiments: int, seed: tuple[int, int]) -> list[Estimated | None]:
    """Estimates of pseudo-experiments, None for a fit that failed."""
    rng = default_rng(seed)
    found: list[Estimated | None] = []
    for _ in range(experiments):
        above = case.peak(rng, rng.poisson(case.n_signal))
        below = SPAN.low + SPAN.width * case.background(rng.random(rng.poisson(case.n_background)))
        try:
            found.append(case.estimate(np.concatenate([above, below])))
        except FitError:
            found.append(None)
    return found


def row(case: Case, found: Sequence[Estimated | None]) -> list[str]:
    """What the table says of the estimates of a case."""
    results = [one for one in found if one is not None]
    pulls = np.array([(value - case.n_signal) / error for value, error, _ in results])
    within = [
        value + interval[0] <= case.n_signal <= value + interval[1]
        for value, _, interval in results
        if interval is not None
    ]
    mean, width, n = np.mean(pulls), np.std(pulls, ddof=1), len(pulls)
    return [
        case.name,
        case.truth,
        "yes" if case.holds else "no",
        f"{mean:+.2f} ± {width / n**0.5:.2f}",
        f"{width:.2f} ± {width / (2 * n) ** 0.5:.2f}",
        f"{np.mean(np.abs(pulls) < 1):.1%}",
        f"{np.mean(within):.1%}" if within else "",
        str(len(found) - n),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", type=int, default=1000, metavar="N")
    parser.add_argument("--seed", type=int, default=2015)
    parser.add_argument("--only", default="", metavar="WORD", help="cases with it in their name")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    header = [
        "estimate",
        "background",
        "assumption holds",
        "pull mean",
        "pull width",
        "± covers",
        "MINOS covers",
        "failed fits",
    ]
    cases = [case for case in CASES if arguments.only in case.name]
    parts = -(-arguments.experiments // PART)
    tasks = [
        (case, min(PART, arguments.experiments - PART * i), (arguments.seed, i))
        for case in cases
        for i in range(parts)
    ]
    with ProcessPoolExecutor(arguments.processes) as pool:
        found = list(pool.map(repeated, *zip(*tasks, strict=True)))
    rows = [
        row(case, list(chain(*found[i * parts : (i + 1) * parts]))) for i, case in enumerate(cases)
    ]
    print(markdown(header, rows))  # noqa: T201


if __name__ == "__main__":
    main()
