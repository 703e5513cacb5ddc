"""Estimate the yields of resonances in the dimuon mass over their background."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Self, TypeGuard, TypeVar

import hist
import numpy as np
from hist import Hist
from numpy.typing import ArrayLike
from pydantic import ValidationError, model_validator

from analysis.common.errors import FitError, SidebandError, did_you_mean
from analysis.common.strict import Strict, faults
from analysis.postprocess.sidebands.counts import Method, SidebandRegions, SidebandResult, estimate
from analysis.postprocess.sidebands.fits import (
    PeakFit,
    SidebandFit,
    fit_peak,
    fit_sidebands,
    in_window,
)
from analysis.postprocess.sidebands.scan import Scan, scan
from analysis.postprocess.sidebands.shapes import (
    POLYNOMIALS,
    PeakStart,
    background_shape,
    signal_shape,
)
from analysis.postprocess.windows import Window

MIN_BINS = 25
"""Least number of bins in which fine histograms are fitted and drawn, where edges allow."""

_REGIONS = ("lower", "signal", "upper")

_T = TypeVar("_T")

_OTHER: dict[Method, Method] = {"average": "linear", "linear": "average"}


class PeakChoice(Strict):
    """Regions, range and shapes of one estimate, in GeV."""

    title: str
    regions: SidebandRegions
    fit_range: Window
    start: PeakStart
    signal_shape: str
    background_shape: str = "exponential"
    order: int | None = None
    """Order of a polynomial background; None for the order that an F-test stops at."""
    method: Method = "average"
    """Method of the nominal count."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not self.fit_range.width > 0:
            msg = f"the fit range {self.fit_range} is empty"
            raise ValueError(msg)
        # These raise for names that are not there and for a start outside of the range.
        signal_shape(self.signal_shape, self.start, self.fit_range)
        # An order of 1 stands for the one that is still to be found.
        order = self.order
        if order is None and self.background_shape in POLYNOMIALS:
            order = 1
        background_shape(self.background_shape, self.fit_range, order)
        return self

    @property
    def step(self) -> float:
        """Step by which the scan moves edges: a tenth of the signal window."""
        return self.regions.signal.width / 10


PRESETS: dict[str, PeakChoice] = {
    "jpsi": PeakChoice(
        title="J/ψ",
        regions=SidebandRegions(
            lower=Window(2.8, 3.0), signal=Window(3.0, 3.2), upper=Window(3.2, 3.4)
        ),
        fit_range=Window(2.6, 3.5),
        start=PeakStart(3.09, 0.03),
        signal_shape="crystal_ball",
    ),
    # The upper band is beyond the 2S and 3S states, the range of the fit ends before them.
    "upsilon": PeakChoice(
        title="Υ(1S)",
        regions=SidebandRegions(
            lower=Window(8.5, 9.0), signal=Window(9.2, 9.7), upper=Window(10.8, 11.3)
        ),
        fit_range=Window(8.5, 9.8),
        start=PeakStart(9.45, 0.08),
        signal_shape="gaussian",
        method="linear",
    ),
    "z": PeakChoice(
        title="Z",
        regions=SidebandRegions(
            lower=Window(65, 75), signal=Window(80, 100), upper=Window(105, 115)
        ),
        fit_range=Window(60, 120),
        start=PeakStart(91.0, 2.0),
        signal_shape="double_crystal_ball",
    ),
}
"""Name -> the usual choice for a resonance."""


def choice_of(preset: str, changes: Mapping[str, Any] | None = None) -> PeakChoice:
    """Change some fields of a preset; `lower`, `signal`, `upper` change its regions.

    With another signal window the peak is looked for in its middle, and without a `fit_range` the
    regions are the range. Raises SidebandError for an unknown preset and for impossible values.
    """
    if preset not in PRESETS:
        msg = f"unknown preset {preset!r}: {did_you_mean(preset, PRESETS)}"
        raise SidebandError(msg)
    values = PRESETS[preset].model_dump()
    given = {name: value for name, value in (changes or {}).items() if value is not None}
    moved = {name: given.pop(name) for name in _REGIONS if name in given}
    try:
        regions = SidebandRegions.model_validate(values["regions"] | moved)
        values["regions"] = regions
        if "signal" in moved:
            values["title"] = f"Peak in {regions.signal}"
            values["fit_range"] = Window(regions.lower.low, regions.upper.high)
            values["start"] = PeakStart(regions.signal.centre, regions.signal.width / 6)
        return PeakChoice.model_validate(values | given)
    except ValidationError as error:
        place, _, what = faults(error, PeakChoice)[0].partition(": ")
        raise SidebandError(what if place == "input" else f"{place}: {what}") from error


class PeakReport(Strict):
    """Results from the simple count to the fit; steps without one are in `failures`."""

    source: str
    choice: PeakChoice
    counts: tuple[SidebandResult, ...]
    """Counts, the nominal method first."""
    sideband_fit: SidebandFit | None
    peak_fit: PeakFit | None
    scan: Scan
    failures: tuple[str, ...]

    @property
    def span(self) -> Window:
        """Interval from the lower end of the lower band to the upper end of the upper one."""
        return Window(self.choice.regions.lower.low, self.choice.regions.upper.high)

    @property
    def lines(self) -> list[str]:
        """Results in words, one step a line."""
        text = [f"Count: {count}" for count in self.counts]
        if self.sideband_fit is not None:
            text.append(f"Fit of the bands alone: {self.sideband_fit}")
        if self.peak_fit is not None:
            text.append(f"Fit of peak and background: {self.peak_fit}")
        what = "signal of the whole peak" if self.scan.corrected else "signal in the window"
        text.append(f"Other regions and methods, {what}: {self.scan}")
        return [*text, *(f"Without result: {failure}" for failure in self.failures)]


def analyse(content: Hist | ArrayLike, choice: PeakChoice, source: str = "") -> PeakReport:
    """Count, fit the bands, fit the whole range, and repeat the estimate with other regions.

    `content` is a histogram or masses in GeV. A fit without result, or of something that is not the
    peak in the window, is told in `failures`; raises
    SidebandError for content that cannot be counted in the regions.
    """
    count = estimate(content, choice.regions)  # Before wider bins can hide a negative one.
    content = coarser(content, choice)
    if not count.in_window and not count.background:
        regions = choice.regions
        msg = f"no events in {regions.lower}, {regions.signal} and {regions.upper}"
        raise SidebandError(msg)
    failures: list[str] = []

    def attempt(what: str, step: Callable[[], _T]) -> _T | None:
        try:
            return step()
        except FitError as error:
            failures.append(f"{what}: {error}")
            return None

    shapes: dict[str, Any] = {"background": choice.background_shape, "order": choice.order}
    peak = attempt(
        "fit of peak and background",
        lambda: in_window(
            fit_peak(content, choice.fit_range, choice.start, signal=choice.signal_shape, **shapes),
            choice.regions.signal,
        ),
    )
    cdf = None if peak is None else peak.signal_cdf
    return PeakReport(
        source=source,
        choice=choice,
        counts=tuple(
            estimate(content, choice.regions, method, signal_cdf=cdf) for method in _methods(choice)
        ),
        sideband_fit=attempt(
            "fit of the bands alone", lambda: fit_sidebands(content, choice.regions, **shapes)
        ),
        peak_fit=peak,
        scan=scan(
            content,
            choice.regions,
            _whole_bins(content, choice.step),
            methods=(*_methods(choice), choice.background_shape),
            signal_cdf=cdf,
        ),
        failures=tuple(failures),
    )


def coarser(content: Hist | ArrayLike, choice: PeakChoice) -> Hist | ArrayLike:
    """Merge the bins of a histogram as far as the edges and steps of `choice` and `MIN_BINS` allow.

    What has wide bins already, irregular ones or edges elsewhere is left as it is, and so are
    values.
    """
    if not _is_regular(content):
        return content
    edges = content.axes[0].edges
    regions = choice.regions
    wanted = [*choice.fit_range, *regions.lower, *regions.signal, *regions.upper]
    wanted.append(regions.signal.low + choice.step)
    places = (np.array(wanted) - edges[0]) / content.axes[0].widths[0]
    indices = np.rint(places).astype(int)
    inside = indices.min() >= 0 and indices.max() < len(edges)
    if not inside or not np.allclose(places, indices, atol=1e-6):
        return content
    common = math.gcd(*(int(i - indices[0]) for i in indices))
    n_bins = int(indices[1] - indices[0])
    factors = [n for n in range(1, common + 1) if common % n == 0 and n_bins // n >= MIN_BINS]
    factor = max(factors, default=1)
    first = int(indices[0]) % factor
    last = first + (len(edges) - 1 - first) // factor * factor
    return content[first : last : hist.rebin(factor)]


def _is_regular(content: Hist | ArrayLike) -> TypeGuard[Hist]:
    return isinstance(content, Hist) and isinstance(content.axes[0], hist.axis.Regular)


def _whole_bins(content: Hist | ArrayLike, step: float) -> float:
    """Round the step to whole bins of a histogram, one at least, as other steps would cut bins."""
    if not _is_regular(content):
        return step
    width = float(content.axes[0].widths[0])
    return max(1, round(step / width)) * width


def report_table(report: PeakReport) -> tuple[list[str], list[list[str]]]:
    """Build header and rows of the scan: regions in GeV, method, signal."""
    header = ["regions", "method", "lower band", "signal window", "upper band", "signal", "error"]
    rows = [
        [row.choice, row.method, *(str(getattr(row.regions, name)) for name in _REGIONS),
         f"{row.signal:.1f}", f"{row.error:.1f}"]
        for row in report.scan.rows
    ]  # fmt: skip
    return header, rows


def _methods(choice: PeakChoice) -> tuple[Method, Method]:
    return choice.method, _OTHER[choice.method]
