"""The figures of a run: regions with data and ratio, variations compared, control plots."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import mplhep
import numpy as np
from hist import Hist
from hist.intervals import poisson_interval
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.common.files import writable_folder
from analysis.datasets.processes import DATA
from analysis.datasets.sample import NOMINAL
from analysis.histograms import CONTROL
from analysis.plotting import FORMATS, pool
from analysis.plotting.annotations import annotate_run, control_entries, jets_label
from analysis.plotting.style import (
    PANEL_HEIGHT,
    PANEL_WIDTH,
    RATIO_LIMITS,
    colours,
    mark_outside,
    save_figure,
    style,
)
from analysis.postprocess.normalisation import Normalised
from analysis.selection.description import Description
from analysis.selection.variations import source

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]

_Drawing = tuple[str, Callable[[], Figure]]
"""The name of a figure and what draws it."""


class _Column(NamedTuple):
    """A panel of a figure and the ratio below it."""

    main: Axes
    ratio: Axes


def make_figures(
    results: Normalised, folder: Path, formats: Sequence[str] = FORMATS, processes: int = 1
) -> list[Path]:
    """Write every figure of the run to the folder, by so many processes; return the files."""
    writable_folder(folder)
    write = partial(_write, folder=folder, formats=formats)
    return [path for paths in pool.mapped(write, _drawings(results), processes) for path in paths]


def _write(drawing: _Drawing, folder: Path, formats: Sequence[str]) -> list[Path]:
    name, draw = drawing
    with style():
        return save_figure(draw(), folder, name, formats)


def _drawings(results: Normalised) -> list[_Drawing]:
    processes = results.labels
    if not processes:
        logger.warning("no figures: the run has neither data nor a nominal sample")
        return []
    drawings: list[_Drawing] = []
    for region in results.regions:
        drawings.append((region, partial(region_figure, results, region)))
        drawings += [
            (f"variations_{region}_{name}", partial(variations_figure, results, region, name))
            for name in processes
            if len(results.normalisation.variations[name]) > 1
        ]
    drawings += [
        (name.replace("/", "_"), partial(control_figure, results, name))
        for name in results.histograms
        if name.startswith(CONTROL)
    ]
    return drawings


def region_figure(results: Normalised, region: str) -> Figure:
    """Prediction and data of one region, both channels added up."""
    observable = results.regions[region]
    figure, (column,) = _columns(1)
    by_process = {
        process: observable[{"process": process, "variation": NOMINAL}]
        for process in results.labels
    }
    info = results.description.regions[region]
    title = f"{jets_label(results)}, {info.label}"
    _stack(column, by_process, results, info.axis_label, title)
    annotate_run(column.main, results)
    return figure


def control_figure(results: Normalised, name: str) -> Figure:
    """Prediction and data of one control histogram, a column a channel."""
    histogram = results.histograms[name]
    channels = results.description.channels
    figure, columns = _columns(len(channels))
    for column, (channel, info) in zip(columns, channels.items(), strict=True):
        by_process = {
            process: histogram[{"channel": channel, "process": process}]
            for process in results.labels
        }
        axis_label = histogram.axes["value"].label
        title = f"{info.label}, {jets_label(results)}"
        _stack(column, by_process, results, axis_label, title, control_entries(name))
        annotate_run(column.main, results, [channel])
    return figure


def variations_figure(results: Normalised, region: str, process: str) -> Figure:
    """Variations of one process in one region, both channels added up; a column a group."""
    histograms = results.regions[region][{"process": process}]
    info = results.description.regions[region]
    groups = _groups(results.normalisation.variations[process], results.description)
    figure, columns = _columns(len(groups))
    for column, varied in zip(columns, groups, strict=True):
        title = f"{results.ledger.labels[process]}, {jets_label(results)}, {info.label}"
        _compare(column, histograms, varied, info.axis_label, title)
        annotate_run(column.main, results, simulated=True)
    return figure


def _groups(variations: list[str], description: Description) -> list[list[str]]:
    """Keep shifts, groups of weights and alternative samples apart, so that a panel can be read."""
    groups: dict[str, list[str]] = {}
    for name in variations:
        if name == NOMINAL:
            continue
        known = description.variations.get(name)
        kind = "samples" if known is None else known.group
        groups.setdefault(kind, []).append(name)
    return list(groups.values())


def _stack(
    column: _Column,
    by_process: dict[str, Hist],
    results: Normalised,
    axis_label: str,
    title: str,
    entries: str = "Events",
) -> None:
    """Stacked prediction with its statistical uncertainty, data, and their ratio below."""
    main, ratio = column
    simulated = [name for name in by_process if name != DATA]
    data = by_process.get(DATA)
    edges = next(iter(by_process.values())).axes[0].edges
    total, error = _total([by_process[name] for name in simulated], len(edges) - 1)
    filled = total > 0
    labels = results.ledger.labels
    if simulated:
        # The smallest at the bottom, so that the largest process stands on top of all.
        order = sorted(simulated, key=lambda name: by_process[name].sum().value)
        colour = colours(simulated)
        mplhep.histplot(
            [by_process[name] for name in order],
            stack=True,
            histtype="fill",
            color=[colour[name] for name in order],
            label=[labels[name] for name in order],
            edgecolor="black",
            linewidth=0.5,
            flow="none",
            ax=main,
        )
        _band(main, edges, total - error, total + error, "Stat. uncertainty")
        relative = np.divide(error, total, out=np.zeros_like(total), where=filled)
        _band(ratio, edges, 1 - relative, 1 + relative)
    if data is not None:
        _points(main, data, np.ones_like(total), labels[DATA])
    if simulated and data is not None:
        _points(ratio, data, np.where(filled, total, np.nan))
        mark_outside(ratio, data.axes[0].centers, data.values(), total)
    highest = np.max(total + error)
    if data is not None:
        highest = max(highest, np.max(data.values() + np.sqrt(data.values())))
    _finish(column, axis_label, edges, 1.45 * highest, "Data / pred.", entries)
    main.legend(title=title, title_fontsize=13, ncols=2, loc="upper right")


def _compare(
    column: _Column, histograms: Hist, varied: list[str], axis_label: str, title: str
) -> None:
    """Nominal and varied distributions of one process, and their ratios to nominal below.

    `histograms` has the axes `observable` and `variation`.
    """
    main, ratio = column
    nominal = histograms[{"variation": NOMINAL}]
    edges = nominal.axes[0].edges
    values, error = nominal.values(), np.sqrt(nominal.variances())
    filled = values > 0
    relative = np.divide(error, values, out=np.zeros_like(values), where=filled)
    _band(ratio, edges, 1 - relative, 1 + relative, "nominal, stat.")
    main.stairs(values, edges, color="black", linewidth=2, label="nominal")
    colour = colours(list(dict.fromkeys(source(name) for name in varied)))
    highest = np.max(values)
    for name in varied:
        line: dict[str, Any] = {
            "color": colour[source(name)],
            "linestyle": "--" if name.endswith("down") else "-",
            "linewidth": 1.5,
        }
        shifted = histograms[{"variation": name}].values()
        highest = max(highest, np.max(shifted))
        main.stairs(shifted, edges, label=name, **line)
        divided = np.divide(shifted, values, out=np.full_like(values, np.nan), where=filled)
        ratio.stairs(divided, edges, baseline=None, **line)
    rows = 1 + len(varied) // 2
    _finish(column, axis_label, edges, highest / (0.88 - 0.06 * rows), "Var. / nominal")
    main.legend(title=title, title_fontsize=13, ncols=2, loc="upper right")


def _columns(count: int) -> tuple[Figure, list[_Column]]:
    figure, axes = plt.subplots(
        2,
        count,
        figsize=(PANEL_WIDTH * count, PANEL_HEIGHT),
        sharex="col",
        squeeze=False,
        gridspec_kw={"height_ratios": [3, 1], "hspace": 0.07, "wspace": 0.22},
    )
    # In units of a column, so that the margins stay the same; a layout engine takes seconds here.
    figure.subplots_adjust(left=0.13 / count, right=1 - 0.03 / count, bottom=0.1, top=0.94)
    return figure, [_Column(axes[0, i], axes[1, i]) for i in range(count)]


def _total(histograms: list[Hist], n_bins: int) -> tuple[Array, Array]:
    total, variance = np.zeros(n_bins), np.zeros(n_bins)
    for histogram in histograms:
        total += histogram.values()
        variance += histogram.variances()
    return total, np.sqrt(variance)


def _band(axes: Axes, edges: Array, low: Array, high: Array, label: str | None = None) -> None:
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


def _points(axes: Axes, data: Hist, divided_by: Array, label: str | None = None) -> None:
    """Data with Poisson (Garwood) intervals of 68 %; bins without any are left out."""
    values = data.values()
    low, high = np.nan_to_num(poisson_interval(values))
    errors = np.abs(np.stack([values - low, high - values]))
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
    column: _Column,
    axis_label: str,
    edges: Array,
    highest: float,
    ratio_label: str,
    entries: str = "Events",
) -> None:
    main, ratio = column
    width = edges[1] - edges[0]
    unit = " GeV" if "[GeV]" in axis_label else ""
    main.set_ylabel(entries if width == 1 and not unit else f"{entries} / {width:.3g}{unit}")
    main.set_xlabel("")
    main.set_xlim(edges[0], edges[-1])
    main.set_ylim(0, highest or 1.0)
    ratio.axhline(1, color="black", linewidth=1, linestyle=":")
    ratio.set_ylim(*RATIO_LIMITS)
    ratio.set_ylabel(ratio_label, loc="center")
    ratio.set_xlabel(axis_label)
