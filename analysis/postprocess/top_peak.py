"""Fit the top quark's peak in region 4j2b, and estimate the background below from the bands beside.

What lies under the peak is other processes and ttbar events with the wrong three jets. Both are smooth
in the mass, and the bands hold them together; simulation is not needed to subtract them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeVar

from hist import Hist

from analysis.common.errors import FitError
from analysis.common.strict import Strict
from analysis.config import TopPeak
from analysis.datasets.processes import DATA
from analysis.datasets.sample import NOMINAL
from analysis.postprocess.feasible import require_windows
from analysis.postprocess.sidebands.counts import SidebandRegions
from analysis.postprocess.sidebands.fits import (
    PeakFit,
    SidebandFit,
    fit_peak,
    fit_sidebands,
    in_window,
)
from analysis.postprocess.sidebands.shapes import PeakStart
from analysis.postprocess.windows import Window, count
from analysis.postprocess.yields import Table

REGION = "4j2b"
SIGNAL = "ttbar"
PREDICTION = "prediction"

_BACKGROUND = "bernstein"

_F = TypeVar("_F", PeakFit, SidebandFit)


class TopPeakFit(Strict):
    """Fits of one distribution; None, with the reason in `failed`, where one did not converge."""

    peak: PeakFit | None
    bands: SidebandFit | None
    failed: tuple[str, ...]

    @property
    def leakage(self) -> float | None:
        """Part of the fitted peak that is in the bands, and lifts the background fitted there."""
        if self.peak is None or self.bands is None:
            return None
        window = self.bands.regions.signal
        return 1 - self.peak.signal_cdf(window.high) + self.peak.signal_cdf(window.low)


class TopPeakResult(Strict):
    """Fits of data and prediction, and the simulated events in the window."""

    window: Window
    fits: dict[str, TopPeakFit]
    """`data` and `prediction`, as far as the run has them -> fits."""
    ttbar_in_window: float
    others_in_window: float
    """Simulated events of all other processes: the background in the window is at least this."""

    @property
    def peak_ratio(self) -> tuple[float, float] | None:
        """Peak yield of data over that of the prediction, and its error; None without both."""
        peaks = [self.fits[name].peak for name in (DATA, PREDICTION) if name in self.fits]
        if len(peaks) < 2 or peaks[0] is None or peaks[1] is None:
            return None
        data, prediction = (peak.signal for peak in peaks if peak is not None)
        ratio = data.value / prediction.value
        return ratio, abs(ratio) * math.hypot(
            data.error / data.value, prediction.error / prediction.value
        )


def fit_top_peak(observable: Hist, settings: TopPeak) -> TopPeakResult:
    """Fit the mass in `REGION` of the normalised observable (channels added up), data and prediction.

    `observable` has the axes observable (GeV), region, process and variation. Raises SidebandError if
    the settings cut a bin or leave the axis.
    """
    require_windows(observable.axes["observable"], settings)
    nominal = _nominal(observable)
    window = Window(*settings.window)
    in_window = {name: count(content, window).value for name, content in nominal.items()}
    return TopPeakResult(
        window=window,
        fits={
            name: _fits(distribution(observable, name), settings)
            for name, present in {DATA: DATA in nominal, PREDICTION: set(nominal) - {DATA}}.items()
            if present
        },
        ttbar_in_window=in_window.get(SIGNAL, 0.0),
        others_in_window=sum(n for name, n in in_window.items() if name not in (SIGNAL, DATA)),
    )


def top_peak_table(result: TopPeakResult) -> Table:
    """Build header and rows, one a distribution."""
    header = [
        f"{REGION}, GeV",
        "position",
        "width",
        "events of the peak",
        "local significance",
        f"events in {result.window}",
        "background there, from the bands",
        "χ²/ndf of the peak fit",
    ]
    rows = []
    for name, fits in result.fits.items():
        peak, bands = fits.peak, fits.bands
        row = [name, *["-"] * 7]
        if peak is not None:
            row[1:4] = [str(peak.parameters[key]) for key in ("position", "width")] + [
                f"{peak.signal.value:.0f} ± {peak.signal.error:.0f}"
            ]
            if peak.significance is not None and name == DATA:
                row[4] = f"{peak.significance:.1f} σ"
            row[7] = f"{peak.goodness.chi2:.1f}/{peak.goodness.ndf}"
        if bands is not None:
            row[5:7] = [
                f"{bands.in_window:.0f}",
                f"{bands.background.value:.0f} ± {bands.background.error:.0f}",
            ]
        rows.append(row)
    return header, rows


def remarks(result: TopPeakResult) -> list[str]:
    """Write down, a sentence each, what the table does not say."""
    sentences = []
    if PREDICTION in result.fits:
        sentences.append(
            f"Simulation has {result.ttbar_in_window:.0f} ttbar events in {result.window} GeV, right "
            f"and wrong combinations, and {result.others_in_window:.0f} of other processes."
        )
    if result.peak_ratio is not None:
        ratio, error = result.peak_ratio
        sentences.append(f"Peak in data over peak in prediction: {ratio:.2f} ± {error:.2f}.")
    for name, fits in result.fits.items():
        if fits.leakage is not None:
            sentences.append(f"{name}: {fits.leakage:.1%} of the fitted peak leak into the bands.")
        sentences += [f"{name}: {reason}" for reason in fits.failed]
    return sentences


def distribution(observable: Hist, name: str) -> Hist:
    """Select the mass in `REGION` of `data`, or of `prediction`, the sum of all simulated processes."""
    nominal = _nominal(observable)
    if name == DATA:
        return nominal[DATA]
    simulated = [content for process, content in nominal.items() if process != DATA]
    return sum(simulated[1:], simulated[0])


def _nominal(observable: Hist) -> Mapping[str, Hist]:
    """Map each process with a nominal prediction, or data, to its mass in the region."""
    if NOMINAL not in observable.axes["variation"]:
        return {}
    contents = {
        name: observable[{"region": REGION, "process": name, "variation": NOMINAL}]
        for name in observable.axes["process"]
    }
    return {name: content for name, content in contents.items() if content.sum().value > 0}


def _fits(content: Hist, settings: TopPeak) -> TopPeakFit:
    span, window = Window(*settings.fit_range), Window(*settings.window)
    regions = SidebandRegions(
        lower=Window(span.low, window.low), signal=window, upper=Window(window.high, span.high)
    )
    order = settings.background_order
    failed: list[str] = []

    def attempt(fit: Callable[[], _F]) -> _F | None:
        try:
            return fit()
        except FitError as error:
            failed.append(str(error))
            return None

    start = PeakStart(settings.position, settings.width)

    def peak_in_window() -> PeakFit:
        fitted = fit_peak(
            content,
            span,
            start,
            signal="gaussian",
            background=_BACKGROUND,
            order=order,
            minos=("signal", "position"),
        )
        if fitted.goodness.ndf < 1:
            msg = "peak fit: no more bins with events than parameters"
            raise FitError(msg)
        return in_window(fitted, window)

    peak = attempt(peak_in_window)
    bands = attempt(lambda: fit_sidebands(content, regions, background=_BACKGROUND, order=order))
    return TopPeakFit(peak=peak, bands=bands, failed=tuple(failed))
