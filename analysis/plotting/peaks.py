"""Figures of a peak over a background: counts, fits with pulls, the scan of the regions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from hist import Hist
from hist.intervals import poisson_interval
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from analysis.plotting import FORMATS
from analysis.plotting.style import CENTRE_OF_MASS, PANEL_HEIGHT, PANEL_WIDTH, annotate
from analysis.postprocess.sidebands.counts import SidebandRegions, SidebandResult
from analysis.postprocess.sidebands.fits import PeakFit, SidebandFit
from analysis.postprocess.sidebands.goodness import FittedBins
from analysis.postprocess.sidebands.scan import Scan
from analysis.postprocess.windows import Bins, Window, bins_in, finite

Array = NDArray[np.float64]

_SIGNAL, _BAND = "#3f90da", "#ffa90e"
_CURVE = "#bd1f01"
_DRAWN_BINS = 60


def remove_figures(folder: Path, names: Iterable[str]) -> None:
    """Remove what an earlier result has left: figures of fits that this one does not have."""
    for name in names:
        for suffix in FORMATS:
            (folder / f"{name}.{suffix}").unlink(missing_ok=True)


class Caption(NamedTuple):
    """What a figure says of its events."""

    axis_label: str
    """With the unit."""
    label: str
    """Whose events they are, `CMS Open Data` for example."""
    luminosity: str = ""
    """In 1/pb, empty if not known."""
    centre_of_mass: str = CENTRE_OF_MASS
    """With the unit; empty if not known."""
    points: str = "Data"
    """What the points are."""


def count_figure(
    content: Hist | ArrayLike, result: SidebandResult, span: Window, caption: Caption
) -> Figure:
    """The distribution with the regions shaded and the background that the bands give."""
    figure, axes = plt.subplots(figsize=(PANEL_WIDTH, 0.85 * PANEL_HEIGHT))
    figure.subplots_adjust(left=0.14, right=0.97, bottom=0.11, top=0.93)
    bins = _bins(content, span)
    _points(axes, bins, caption.points)
    _shade(axes, result.regions)
    window = result.regions.signal
    height = result.background / window.width * _width(bins)
    axes.plot([*window], [height, height], color=_CURVE, linewidth=2, label="Background")
    _limits(axes, bins)
    axes.set_xlabel(caption.axis_label)
    words = [f"{result.signal:.0f} ± {result.signal_error:.0f} signal", f"({result.method})"]
    _legend(axes, words)
    _above(axes, caption)
    return figure


def peak_figure(fit: PeakFit, caption: Caption) -> Figure:
    """Data, the fit and its background, and the pulls below."""
    figure, main, pulls = _panels()
    bins = fit.bins
    x = np.linspace(*fit.fit_range, 1000)
    total, background = fit.curve(x)
    width = bins.high[0] - bins.low[0]
    _points(main, _of_fit(bins), caption.points)
    main.plot(x, total * width, color=_CURVE, linewidth=2, label="Fit")
    main.plot(
        x, background * width, color=_CURVE, linewidth=1.5, linestyle="--", label="Background"
    )
    main.fill_between(
        x, background * width, total * width, color=_SIGNAL, alpha=0.3, linewidth=0, label="Signal"
    )
    _limits(main, _of_fit(bins))
    words = [
        f"{_short(fit.signal.value, fit.signal.error)} signal",
        f"position {_short(*_value(fit, 'position'))} GeV",
        f"width {_short(*_value(fit, 'width'))} GeV",
        str(fit.goodness),
    ]
    _legend(main, words)
    _pulls(pulls, bins, fit.fit_range, caption)
    _above(main, caption)
    return figure


def sideband_figure(content: Hist | ArrayLike, fit: SidebandFit, caption: Caption) -> Figure:
    """Data, the bands that were fitted and the background extrapolated under the peak, and pulls."""
    figure, main, pulls = _panels()
    span = Window(fit.regions.lower.low, fit.regions.upper.high)
    bins = _bins(content, span)
    x = np.linspace(*span, 1000)
    _points(main, bins, caption.points)
    _shade(main, fit.regions)
    main.plot(x, fit.curve(x) * _width(bins), color=_CURVE, linewidth=2, label="Fit of the bands")
    _limits(main, bins)
    words = [
        f"{_short(fit.signal.value, fit.signal.error)} signal over",
        f"{_short(fit.background.value, fit.background.error)} background",
        str(fit.goodness),
    ]
    _legend(main, words)
    _pulls(pulls, fit.bins, span, caption)
    _above(main, caption)
    return figure


def scan_figure(scan: Scan, caption: Caption) -> Figure:
    """The signal for each choice of regions and method, with the nominal one and the spread."""
    choices = list(dict.fromkeys(row.choice for row in scan.rows))
    methods = list(dict.fromkeys(row.method for row in scan.rows))
    figure, axes = plt.subplots(figsize=(1.2 * PANEL_WIDTH, 1.5 + 0.5 * len(choices)))
    figure.subplots_adjust(left=0.32, right=0.97, bottom=0.14, top=0.92)
    nominal, spread = scan.nominal, scan.spread
    axes.axvspan(
        nominal.signal - spread, nominal.signal + spread, color=_BAND, alpha=0.3, label="Spread"
    )
    axes.axvline(nominal.signal, color="0.4", linewidth=1, label="Nominal")
    for i, method in enumerate(methods):
        rows = [row for row in scan.rows if row.method == method]
        places = [choices.index(row.choice) + 0.22 * (i - (len(methods) - 1) / 2) for row in rows]
        axes.errorbar(
            [row.signal for row in rows],
            places,
            xerr=[row.error for row in rows],
            fmt="oxs^vD"[i % 6],
            markersize=5,
            label=method,
        )
    axes.set_yticks(range(len(choices)), choices)
    axes.tick_params(axis="y", which="both", right=False, left=False)
    axes.set_ylim(len(choices) + 1.2, -0.7)
    axes.set_xlabel("Signal events" if scan.corrected else "Signal events in the window")
    axes.legend(ncols=3, loc="lower left")
    _above(axes, caption)
    return figure


def _value(fit: PeakFit, name: str) -> tuple[float, float]:
    return fit.parameters[name].value, fit.parameters[name].error


def _short(value: float, error: float) -> str:
    digits = max(0, 1 - int(np.floor(np.log10(error)))) if error > 0 else 2
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _panels() -> tuple[Figure, Axes, Axes]:
    figure, axes = plt.subplots(
        2,
        1,
        figsize=(PANEL_WIDTH, PANEL_HEIGHT),
        sharex=True,
        gridspec_kw={"height_ratios": [3, 1], "hspace": 0.07},
    )
    figure.subplots_adjust(left=0.14, right=0.97, bottom=0.1, top=0.94)
    return figure, axes[0], axes[1]


def _bins(content: Hist | ArrayLike, span: Window) -> Bins:
    if isinstance(content, Hist):
        return bins_in(content, span)
    counts, edges = np.histogram(finite(content), bins=_DRAWN_BINS, range=span)
    return Bins(edges, counts.astype(np.float64), counts.astype(np.float64))


def _of_fit(bins: FittedBins) -> Bins:
    edges = np.array([*bins.low, bins.high[-1]])
    return Bins(edges, np.array(bins.values), np.array(bins.variances))


def _width(bins: Bins) -> float:
    return float(bins.edges[1] - bins.edges[0])


def _to_first(bins: Bins) -> Array:
    """What brings the contents to the width of the first bin, in which curves are drawn."""
    scale: Array = _width(bins) / np.diff(bins.edges)
    return np.where(np.isclose(scale, 1), 1.0, scale)


def _points(axes: Axes, bins: Bins, label: str) -> None:
    """Poisson (Garwood) intervals of 68 % for counts, the square root of the variance otherwise."""
    errors = np.stack([np.sqrt(bins.variances)] * 2)
    if np.allclose(bins.values, bins.variances):
        low, high = np.nan_to_num(poisson_interval(bins.values))
        errors = np.abs(np.stack([bins.values - low, high - bins.values]))
    seen = bins.values > 0
    centres = (bins.edges[1:] + bins.edges[:-1]) / 2
    scale = _to_first(bins)
    values, errors = scale * bins.values, scale * errors
    axes.errorbar(
        centres[seen], values[seen], yerr=errors[:, seen], fmt="ko", markersize=4, label=label
    )


def _shade(axes: Axes, regions: SidebandRegions) -> None:
    axes.axvspan(*regions.signal, color=_SIGNAL, alpha=0.2, linewidth=0, label="Signal window")
    axes.axvspan(*regions.lower, color=_BAND, alpha=0.3, linewidth=0, label="Sidebands")
    axes.axvspan(*regions.upper, color=_BAND, alpha=0.3, linewidth=0)


def _limits(axes: Axes, bins: Bins) -> None:
    axes.set_xlim(bins.edges[0], bins.edges[-1])
    highest = np.max(_to_first(bins) * (bins.values + np.sqrt(bins.variances)))
    axes.set_ylim(0, 1.5 * float(highest))
    axes.set_ylabel(f"Events / {_width(bins):.3g} GeV")


def _legend(axes: Axes, words: list[str]) -> None:
    axes.legend(loc="upper right")
    axes.text(
        0.04,
        0.96,
        "\n".join(words),
        transform=axes.transAxes,
        va="top",
        fontsize=13,
        linespacing=1.4,
    )


def _pulls(axes: Axes, bins: FittedBins, span: Window, caption: Caption) -> None:
    centres = (np.array(bins.low) + np.array(bins.high)) / 2
    axes.axhspan(-1, 1, color="0.85", linewidth=0)
    axes.axhline(0, color="black", linewidth=1, linestyle=":")
    pulls = bins.pulls
    axes.plot(centres, np.clip(pulls, -4.7, 4.7), "ko", markersize=3)
    axes.set_xlim(*span)
    axes.set_ylim(-5, 5)
    axes.set_ylabel("Pull", loc="center")
    axes.set_xlabel(caption.axis_label)


def _above(axes: Axes, caption: Caption) -> None:
    annotate(axes, caption.label, caption.luminosity, caption.centre_of_mass)
