"""The figures of a run: regions with data and ratio, variations compared, control plots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import mplhep
import numpy as np
from hist import Hist
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.files import writable_folder
from analysis.histograms import CONTROL, OBSERVABLE
from analysis.metadata import CHANNELS, NOMINAL
from analysis.plotting.style import annotate, colours, save_figure, style
from analysis.postprocess.normalisation import summed
from analysis.processes import DATA
from analysis.regions import REGIONS
from analysis.results import Normalised

_REGION_TITLES = {
    "4j1b": r"$\geq$ 4 jets, 1 b tag",
    "4j2b": r"$\geq$ 4 jets, $\geq$ 2 b tags",
}
_CHANNEL_TITLES = {"electron": "e + jets", "muon": r"$\mu$ + jets"}


class _Content(NamedTuple):
    """One distribution: process -> one-dimensional histogram, and what to write on it."""

    histograms: dict[str, Hist]
    labels: dict[str, str]
    axis_label: str
    title: str


def make_figures(results: Normalised, folder: Path) -> list[Path]:
    """Write every figure of the run to the folder; return the files."""
    writable_folder(folder)
    paths = []
    with style():
        for name, figure in _all_figures(results):
            paths += save_figure(figure, folder, name)
    return paths


def _all_figures(results: Normalised) -> Iterator[tuple[str, Figure]]:
    observable = summed(results.histograms[OBSERVABLE])
    labels = results.ledger.labels
    variations = results.normalisation.variations
    for region in observable.axes["region"]:
        by_process = {
            process: observable[{"region": region, "process": process, "variation": NOMINAL}]
            for process in labels
            if NOMINAL in variations.get(process, [])
        }
        content = _Content(by_process, labels, REGIONS[region].label, _REGION_TITLES[region])
        yield region, stacked(content, results)
        for process in by_process:
            varied = [name for name in variations[process] if name != NOMINAL]
            if varied:
                nominal = observable[{"region": region, "process": process}]
                title = f"{labels[process]}, {_REGION_TITLES[region]}"
                yield (
                    f"variations_{region}_{process}",
                    compared(nominal, varied, REGIONS[region].label, title, results),
                )
    for name, histogram in results.histograms.items():
        if name.startswith(CONTROL):
            short = name.removeprefix(CONTROL)
            for channel in (*CHANNELS, None):
                yield from _control(short, histogram, channel, results)


def _control(
    name: str, histogram: Hist, channel: str | None, results: Normalised
) -> Iterator[tuple[str, Figure]]:
    """The control figure of one channel, or of both added up."""
    labels = results.ledger.labels
    variations = results.normalisation.variations
    where = {"channel": sum if channel is None else channel}
    content = _Content(
        {
            process: histogram[{**where, "process": process}]
            for process in labels
            if NOMINAL in variations.get(process, [])
        },
        labels,
        histogram.axes["value"].label,
        "e/$\\mu$ + $\\geq$ 4 jets" if channel is None else f"{_CHANNEL_TITLES[channel]} ($\\geq$ 4)",
    )
    suffix = "" if channel is None else f"_{channel}"
    yield f"control_{name}{suffix}", stacked(content, results, channel)


def stacked(content: _Content, results: Normalised, channel: str | None = None) -> Figure:
    """Stacked prediction with its statistical uncertainty, data, and their ratio below."""
    simulated = [name for name in content.histograms if name != DATA]
    data = content.histograms.get(DATA)
    figure, (main, ratio) = _two_panels()
    edges = next(iter(content.histograms.values())).axes[0].edges
    total, error = _total([content.histograms[name] for name in simulated], len(edges) - 1)
    if simulated:
        # The smallest at the bottom, so that the signal stands on top.
        order = sorted(simulated, key=lambda name: content.histograms[name].sum().value)
        colour = colours(simulated)
        mplhep.histplot(
            [content.histograms[name] for name in order],
            stack=True,
            histtype="fill",
            color=[colour[name] for name in order],
            label=[content.labels[name] for name in order],
            edgecolor="black",
            linewidth=0.5,
            ax=main,
        )
        _band(main, edges, total - error, total + error, "Stat. uncertainty")
    if data is not None:
        _points(main, data, np.ones_like(total), content.labels[DATA])
    if simulated and data is not None:
        filled = total > 0
        relative = np.divide(error, total, out=np.zeros_like(total), where=filled)
        _band(ratio, edges, 1 - relative, 1 + relative)
        _points(ratio, data, np.where(filled, total, np.nan))
    _finish(main, ratio, content.axis_label, edges, ratio_label="Data / pred.")
    main.legend(title=content.title, title_fontsize=12, ncols=2, loc="upper right")
    main.set_ylim(0, 1.45 * _highest(total + error, data))
    _annotate(main, results, channel)
    return figure


def compared(
    histograms: Hist, varied: list[str], axis_label: str, title: str, results: Normalised
) -> Figure:
    """Nominal and varied distributions of one process, and their ratios to nominal below.

    `histograms` has the axes `observable` and `variation`.
    """
    figure, (main, ratio) = _two_panels()
    nominal = histograms[{"variation": NOMINAL}]
    edges = nominal.axes[0].edges
    values, error = nominal.values(), np.sqrt(nominal.variances())
    filled = values > 0
    relative = np.divide(error, values, out=np.zeros_like(values), where=filled)
    _band(ratio, edges, 1 - relative, 1 + relative)
    mplhep.histplot(nominal, yerr=False, color="black", linewidth=2, label="nominal", ax=main)
    sources = dict.fromkeys(_source(name) for name in varied)
    colour = colours(list(sources))
    for name in varied:
        line = {"color": colour[_source(name)], "linestyle": "--" if name.endswith("down") else "-"}
        varied_values = histograms[{"variation": name}].values()
        mplhep.histplot(varied_values, edges, yerr=False, label=name, ax=main, **line)
        divided = np.divide(varied_values, values, out=np.full_like(values, np.nan), where=filled)
        mplhep.histplot(divided, edges, yerr=False, ax=ratio, **line)
    _finish(main, ratio, axis_label, edges, ratio_label="Var. / nom.")
    main.legend(title=title, title_fontsize=12, fontsize=9, ncols=2, loc="upper right")
    main.set_ylim(0, 1.7 * _highest(values))
    _annotate(main, results, None)
    return figure


def _source(variation: str) -> str:
    return variation.removesuffix("up").removesuffix("down").rstrip("_")


def _two_panels() -> tuple[Figure, tuple[Axes, Axes]]:
    figure, axes = plt.subplots(
        2, 1, figsize=(8, 8), sharex=True, gridspec_kw={"height_ratios": [3, 1], "hspace": 0.08}
    )
    return figure, (axes[0], axes[1])


def _total(histograms: list[Hist], n_bins: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    total, variance = np.zeros(n_bins), np.zeros(n_bins)
    for histogram in histograms:
        total += histogram.values()
        variance += histogram.variances()
    return total, np.sqrt(variance)


def _band(
    axes: Axes,
    edges: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    label: str | None = None,
) -> None:
    axes.fill_between(
        edges,
        np.append(low, low[-1]),
        np.append(high, high[-1]),
        step="post",
        facecolor="none",
        edgecolor="0.4",
        hatch="/////",
        linewidth=0,
        label=label,
    )


def _points(
    axes: Axes, data: Hist, divided_by: NDArray[np.float64], label: str | None = None
) -> None:
    """Data with Poisson (Garwood) intervals of 68 %; bins without any are left out."""
    values = data.values()
    low, high = mplhep.error_estimation.poisson_interval(values, data.variances())
    errors = np.abs(np.stack([values - np.nan_to_num(low), np.nan_to_num(high) - values]))
    seen = values > 0
    axes.errorbar(
        data.axes[0].centers[seen],
        (values / divided_by)[seen],
        yerr=(errors / divided_by)[:, seen],
        fmt="ko",
        markersize=5,
        label=label,
    )


def _finish(
    main: Axes, ratio: Axes, axis_label: str, edges: NDArray[np.float64], ratio_label: str
) -> None:
    width = edges[1] - edges[0]
    unit = " GeV" if "[GeV]" in axis_label else ""
    main.set_ylabel("Events" if width == 1 and not unit else f"Events / {width:.3g}{unit}")
    main.set_xlabel("")
    main.set_xlim(edges[0], edges[-1])
    ratio.axhline(1, color="black", linewidth=1, linestyle=":")
    ratio.set_ylim(0.5, 1.5)
    ratio.set_ylabel(ratio_label, loc="center")
    ratio.set_xlabel(axis_label)


def _highest(values: NDArray[np.float64], data: Hist | None = None) -> float:
    highest = float(np.max(values, initial=0.0))
    if data is not None:
        highest = max(highest, float(np.max(data.values() + np.sqrt(data.values()))))
    return highest or 1.0


def _annotate(axes: Axes, results: Normalised, channel: str | None) -> None:
    luminosity = results.normalisation.luminosity
    chosen = luminosity.values() if channel is None else [luminosity[channel]]
    texts = dict.fromkeys(f"{value:.4g}" for value in chosen)
    text = " (e), ".join(texts) + (" (μ)" if len(texts) > 1 else "")
    note = "" if results.normalisation.complete else "INCOMPLETE"
    annotate(axes, results.ledger.figure_label, text, note)
