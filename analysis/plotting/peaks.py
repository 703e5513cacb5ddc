"""Figures of a peak over a background: counts, fits with pulls, the scan of the regions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from hist import Hist
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from analysis.common.names import figure_text
from analysis.datasets.processes import DATA
from analysis.dimuon.resonances import PeakReport, coarser
from analysis.histograms import OBSERVABLE
from analysis.plotting.captions import PeakCaption, figure_label, run_caption
from analysis.plotting.content import Points, fitted_points, per_bin
from analysis.plotting.stacks import draw_points, mark_outside
from analysis.plotting.style import (
    PANEL_WIDTH,
    Drawing,
    annotate,
    legend,
    one_panel,
    panels,
    save_figures,
)
from analysis.postprocess.normalisation import Normalised, summed
from analysis.postprocess.sidebands.counts import SidebandRegions, SidebandResult
from analysis.postprocess.sidebands.fits import PeakFit, SidebandFit
from analysis.postprocess.sidebands.goodness import FittedBins
from analysis.postprocess.sidebands.scan import Scan
from analysis.postprocess.top_peak import REGION, TopPeakResult, distribution
from analysis.postprocess.windows import Window, binned

MASS_LABEL = r"$m_{\mu\mu}$ [GeV]"

_SIGNAL, _BAND = "#3f90da", "#ffa90e"
_CURVE = "#bd1f01"
_DRAWN_BINS = 60
_PULLS = (-5.0, 5.0)

_Entries = list[tuple[Artist, str]]


def top_peak_figures(results: Normalised, result: TopPeakResult, folder: Path) -> list[Path]:
    """Write the figures of the top peak's fits, instead of those of earlier ones; return the files."""
    observable = summed(results.histograms[OBSERVABLE])
    axis_label = results.description.regions[REGION].axis_label
    drawings: list[Drawing] = []
    for name, fits in result.fits.items():
        above = run_caption(results, simulated=name != DATA)
        label = results.ledger.labels.get(name, name.title())
        caption = PeakCaption(axis_label, above, label)
        if fits.peak is not None:
            drawings.append((("top_peak", name), partial(peak_figure, fits.peak, caption)))
        if fits.bands is not None:
            draw = partial(sideband_figure, distribution(observable, name), fits.bands, caption)
            drawings.append((("top_peak_bands", name), draw))
    return save_figures(drawings, folder, instead_of="top_peak_*")


def resonance_figures(
    content: Hist | ArrayLike, report: PeakReport, caption: PeakCaption, folder: Path
) -> list[Path]:
    """Write the figures of `report`, which is of `content`, to the folder; return the files.

    Figures of an earlier report for which this one has no fit are removed.
    """
    drawn = coarser(content, report.choice)
    drawings: list[Drawing] = [
        (("count",), partial(count_figure, drawn, report.counts[0], report.span, caption)),
        (("scan",), partial(scan_figure, report.scan, caption)),
    ]
    if report.sideband_fit is not None:
        draw = partial(sideband_figure, drawn, report.sideband_fit, caption)
        drawings.append((("sidebands",), draw))
    if report.peak_fit is not None:
        drawings.append((("peak",), partial(peak_figure, report.peak_fit, caption)))
    for name in ("sidebands", "peak"):
        for old in folder.glob(f"{name}.*"):
            old.unlink()
    return save_figures(drawings, folder)


def count_figure(
    content: Hist | ArrayLike, result: SidebandResult, span: Window, caption: PeakCaption
) -> Figure:
    """Draw the distribution with the regions shaded and the background that the bands give."""
    figure, axes = one_panel()
    points = _points(content, span, caption)
    entries, shades = _shade(axes, result.regions)
    window = result.regions.signal
    height = result.background / window.width * _width(points)
    (line,) = axes.plot([*window], [height, height], color=_CURVE, linewidth=2)
    entries.append((line, "Background"))
    words = [
        f"{result.signal:.0f} ± {result.signal_error:.0f} signal" + _sigmas(result.significance),
        f"({result.method})",
    ]
    _finish(axes, points, entries, words, caption, height, shades)
    axes.set_xlabel(figure_label(caption.axis_label))
    return figure


def peak_figure(fit: PeakFit, caption: PeakCaption) -> Figure:
    """Draw data, the fit and its background, and the pulls below."""
    figure, [(main, pulls)] = panels()
    points = fitted_points(fit.bins, figure_label(caption.points))
    x = np.linspace(*fit.fit_range, 1000)
    total, background = (curve * _width(points) for curve in fit.curve(x))
    (whole,) = main.plot(x, total, color=_CURVE, linewidth=2)
    (below,) = main.plot(x, background, color=_CURVE, linewidth=1.5, linestyle="--")
    signal = main.fill_between(x, background, total, color=_SIGNAL, alpha=0.3, linewidth=0)
    entries: _Entries = [(whole, "Fit"), (below, "Background"), (signal, "Signal")]
    words = [
        f"{_short(fit.signal.value, fit.signal.error)} signal" + _sigmas(fit.significance),
        *(
            f"{name} {_short(fit.parameters[name].value, fit.parameters[name].error)} GeV"
            for name in ("position", "width")
        ),
        str(fit.goodness),
    ]
    _finish(main, points, entries, words, caption, float(np.max(total)))
    _pulls(pulls, fit.bins, fit.fit_range, caption)
    return figure


def sideband_figure(content: Hist | ArrayLike, fit: SidebandFit, caption: PeakCaption) -> Figure:
    """Draw data, the fitted bands, the background that they give under the peak, and pulls."""
    figure, [(main, pulls)] = panels()
    span = Window(fit.regions.lower.low, fit.regions.upper.high)
    points = _points(content, span, caption)
    x = np.linspace(*span, 1000)
    curve = fit.curve(x) * _width(points)
    entries, shades = _shade(main, fit.regions)
    (line,) = main.plot(x, curve, color=_CURVE, linewidth=2)
    entries.append((line, "Fit of the bands"))
    words = [
        f"{_short(fit.signal.value, fit.signal.error)} signal over",
        f"{_short(fit.background.value, fit.background.error)} background",
        str(fit.goodness),
    ]
    _finish(main, points, entries, words, caption, float(np.max(curve)), shades)
    _pulls(pulls, fit.bins, span, caption)
    return figure


def scan_figure(scan: Scan, caption: PeakCaption) -> Figure:
    """Draw the signal for each choice of regions and method, with the nominal one and the spread."""
    choices = list(dict.fromkeys(row.choice for row in scan.rows))
    methods = list(dict.fromkeys(row.method for row in scan.rows))
    figure, axes = one_panel(1.2 * PANEL_WIDTH, 1.5 + 0.5 * len(choices))
    figure.subplots_adjust(left=0.32, bottom=0.14, top=0.92)
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
    axes.set_yticks(range(len(choices)), map(figure_text, choices))
    axes.tick_params(axis="y", which="both", right=False, left=False)
    axes.set_ylim(len(choices) + 1.2, -0.7)
    axes.set_xlabel("Signal events" if scan.corrected else "Signal events in the window")
    axes.legend(ncols=3, loc="lower left")
    annotate(axes, caption.above)
    return figure


def _sigmas(significance: float | None) -> str:
    return "" if significance is None else f" ({significance:.1f} σ)"


def _short(value: float, error: float) -> str:
    digits = max(0, 1 - int(np.floor(np.log10(error)))) if error > 0 else 2
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _points(content: Hist | ArrayLike, span: Window, caption: PeakCaption) -> Points:
    """Points of a histogram, or of values; where a background is expected in all bins."""
    bins = binned(content, span, _DRAWN_BINS)
    label = figure_label(caption.points)
    points = Points.of(bins.edges, bins.values, expected=1.0, variances=bins.variances, label=label)
    return points.per_first_width()


def _width(points: Points) -> float:
    return float(points.edges[1] - points.edges[0])


def _shade(axes: Axes, regions: SidebandRegions) -> tuple[_Entries, list[Rectangle]]:
    """Shade the regions; return their entries in a legend, and the shades."""
    shades = [
        axes.axvspan(*region, color=colour, alpha=0.3, linewidth=0)
        for region, colour in (
            (regions.signal, _SIGNAL), (regions.lower, _BAND), (regions.upper, _BAND)
        )
    ]  # fmt: skip
    return [(shades[0], "Signal window"), (shades[1], "Sidebands")], shades


def _finish(
    axes: Axes,
    points: Points,
    entries: _Entries,
    words: Sequence[str],
    caption: PeakCaption,
    curve: float,
    shades: Sequence[Rectangle] = (),
) -> None:
    """Draw the points over the curves, and say what is drawn; curves reach up to `curve`.

    Shades end below the words.
    """
    entries.insert(0, (draw_points(axes, points, 4), points.label))
    axes.set_xlim(points.edges[0], points.edges[-1])
    axes.set_ylabel(per_bin(points.edges[:2], "[GeV]"))
    free = legend(axes, entries, max(points.highest, curve), words=words)
    for shade in shades:
        shade.set_height(free)
    annotate(axes, caption.above)


def _pulls(axes: Axes, bins: FittedBins, span: Window, caption: PeakCaption) -> None:
    centres = (np.array(bins.low) + np.array(bins.high)) / 2
    axes.axhspan(-1, 1, color="0.85", linewidth=0)
    axes.axhline(0, color="black", linewidth=1, linestyle=":")
    axes.plot(centres, bins.pulls, "ko", markersize=3)
    mark_outside(axes, centres, bins.pulls, _PULLS)
    axes.set_xlim(*span)
    axes.set_ylim(*_PULLS)
    axes.set_ylabel("Pull", loc="center")
    axes.set_xlabel(figure_label(caption.axis_label))
