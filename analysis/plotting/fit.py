"""The figures of a fit: yields before and after it, templates; all of them to a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mplhep
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.inference.fit import Yields
from analysis.inference.measurement import Measurement
from analysis.plotting.captions import Caption, channel_bins
from analysis.plotting.parameters import (
    correlations_figure,
    pulls_figure,
    ranking_figure,
    scan_figure,
)
from analysis.plotting.style import (
    DOWN,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    RATIO_LIMITS,
    UP,
    annotate,
    colours_of_samples,
    events_per_bin,
    mark_outside,
    save_figures,
)

Array = NDArray[np.float64]


def make_figures(
    measurement: Measurement, spec: dict[str, Any], caption: Caption, folder: Path
) -> list[Path]:
    """Write every figure of the fit to the folder as `fit_*`; return the files."""
    drawn = _all_figures(measurement, spec, caption)
    return save_figures(((f"fit_{name}", figure) for name, figure in drawn), folder)


def _all_figures(
    measurement: Measurement, spec: dict[str, Any], caption: Caption
) -> Iterator[tuple[str, Figure]]:
    for yields in measurement.fit.yields:
        yield f"yields_{_file(yields.channel)}", yields_figure(yields, caption)
    yield "pulls", pulls_figure(measurement, caption)
    if measurement.ranking:
        yield "ranking", ranking_figure(measurement, caption)
    yield "correlations", correlations_figure(measurement, caption)
    yield "scan", scan_figure(measurement, caption)
    for channel in spec["channels"]:
        for sample in channel["samples"]:
            if any(m["type"] == "normfactor" for m in sample["modifiers"]):
                name = f"templates_{_file(channel['name'])}_{_file(sample['name'])}"
                yield name, templates_figure(channel["name"], sample, caption)


def yields_figure(yields: Yields, caption: Caption) -> Figure:
    """Prediction and data of a channel before the fit (left) and after it, with ratios."""
    figure, axes = plt.subplots(
        2, 2, figsize=(2 * PANEL_WIDTH, PANEL_HEIGHT), sharex="col", sharey="row",
        gridspec_kw={"height_ratios": [3, 1], "hspace": 0.07, "wspace": 0.05},
    )  # fmt: skip
    figure.subplots_adjust(left=0.08, right=0.98, bottom=0.1, top=0.94)
    edges, axis_label, title = _axis(yields.channel, len(yields.data), caption)
    data = np.array(yields.data)
    for i, (name, samples, error) in enumerate(
        (("pre-fit", yields.prefit, yields.prefit_error),
         ("post-fit", yields.postfit, yields.postfit_error))
    ):  # fmt: skip
        main, ratio = axes[0, i], axes[1, i]
        total = np.sum(samples, axis=0)
        _stack(main, edges, dict(zip(yields.samples, map(np.array, samples), strict=True)), caption)
        _band(main, edges, total, np.array(error), "Uncertainty")
        _points(main, edges, data, np.ones_like(data), caption.observed)
        filled = np.where(total > 0, total, np.nan)
        _band(ratio, edges, np.ones_like(total), np.array(error) / filled)
        _points(ratio, edges, data, filled)
        mark_outside(ratio, (edges[1:] + edges[:-1]) / 2, data, total)
        main.legend(title=f"{title}, {name}", title_fontsize=13, ncols=2, loc="upper right")
        ratio.axhline(1, color="black", linewidth=1, linestyle=":")
        ratio.set_xlabel(axis_label)
        caption.annotate(main)
    highest = max(float(np.max(data)), float(np.max(np.sum(yields.prefit, axis=0))))
    highest = max(highest, float(np.max(np.sum(yields.postfit, axis=0))))
    axes[0, 0].set_xlim(edges[0], edges[-1])
    axes[0, 0].set_ylim(0, 1.9 * highest)
    axes[1, 0].set_ylim(*RATIO_LIMITS)
    axes[0, 0].set_ylabel(events_per_bin(edges, axis_label))
    axes[1, 0].set_ylabel("Obs. / pred.", loc="center")
    axes[1, 1].set_xlim(edges[0], edges[-1])
    return figure


def templates_figure(channel: str, sample: dict[str, Any], caption: Caption) -> Figure:
    """Ratio to nominal of the varied templates of a sample, a panel a parameter."""
    varied = _varied(sample)
    nominal = np.array(sample["data"])
    edges, axis_label, title = _axis(channel, nominal.size, caption)
    columns = 3
    rows = max(-(-len(varied) // columns), 1)
    figure, axes = plt.subplots(
        rows, columns, figsize=(5 * columns, 3 * rows + 1.2), sharex=True, sharey=True, squeeze=False,
        gridspec_kw={"hspace": 0.08, "wspace": 0.05},
    )  # fmt: skip
    height = 3 * rows + 1.2
    figure.subplots_adjust(left=0.06, right=0.985, bottom=0.8 / height, top=1 - 0.5 / height)
    for panel, (name, (up, down)) in zip(axes.flat, varied.items(), strict=False):
        for ratio, colour, direction in ((up, UP, "up"), (down, DOWN, "down")):
            panel.stairs(ratio, edges, baseline=None, color=colour, linewidth=1.8, label=direction)
        panel.axhline(1, color="black", linewidth=1, linestyle=":")
        panel.text(0.04, 0.93, name, transform=panel.transAxes, va="top", fontsize=13)
    for panel in axes.flat[len(varied) :]:
        panel.axis("off")
    axes[0, 0].set_xlim(edges[0], edges[-1])
    axes[0, 0].set_ylim(0.5, 1.6)
    axes[0, 0].legend(loc="lower left", ncols=2)
    for panel in axes[:, 0]:
        panel.set_ylabel("Var. / nominal", loc="center", fontsize=13)
    for i in range(columns):
        last = [panel for panel in axes[:, i] if panel.axison][-1:]
        for panel in last:
            panel.set_xlabel(axis_label)
            panel.tick_params(labelbottom=True)
    annotate(axes[0, 0], caption.simulation or caption.label, "", "")
    sample_name = caption.labels.get(sample["name"], sample["name"])
    axes[0, columns - 1].set_title(f"{sample_name}, {title}", loc="right", fontsize=14)
    return figure


def _varied(sample: dict[str, Any]) -> dict[str, tuple[Array, Array]]:
    """Parameter -> ratio to nominal, up and down; normalisation and shape together."""
    nominal = np.array(sample["data"])
    filled = np.where(nominal > 0, nominal, np.nan)
    ones = np.ones_like(nominal)
    found: dict[str, tuple[Array, Array]] = {}
    for modifier in sample["modifiers"]:
        up, down = found.get(modifier["name"], (ones, ones))
        data = modifier["data"]
        if modifier["type"] == "normsys":
            found[modifier["name"]] = up * data["hi"], down * data["lo"]
        elif modifier["type"] == "histosys":
            shapes = [np.array(data[key]) / filled for key in ("hi_data", "lo_data")]
            found[modifier["name"]] = up * shapes[0], down * shapes[1]
    return found


def _axis(channel: str, bins: int, caption: Caption) -> tuple[Array, str, str]:
    """Edges, label and title of a channel."""
    edges, region = channel_bins(channel, bins, caption.binning, caption.regions)
    if region is None:
        return edges, "Bin", channel
    return edges, region.axis_label, caption.jets + region.label


def _stack(axes: Axes, edges: Array, samples: dict[str, Array], caption: Caption) -> None:
    order = sorted(samples, key=lambda name: float(np.sum(samples[name])))
    colour = colours_of_samples(samples, caption.labels)
    mplhep.histplot(
        [samples[name] for name in order],
        edges,
        stack=True,
        histtype="fill",
        color=[colour[name] for name in order],
        label=[caption.labels.get(name, name) for name in order],
        edgecolor="black",
        linewidth=0.5,
        ax=axes,
    )


def _band(axes: Axes, edges: Array, middle: Array, error: Array, label: str | None = None) -> None:
    axes.stairs(
        middle + error, edges, baseline=middle - error, fill=True, facecolor="none",
        edgecolor="0.35", hatch="/////", linewidth=0, label=label,
    )  # fmt: skip


def _points(
    axes: Axes, edges: Array, data: Array, divided_by: Array, label: str | None = None
) -> None:
    centres, errors = (edges[1:] + edges[:-1]) / 2, np.sqrt(data)
    axes.errorbar(
        centres, data / divided_by, yerr=errors / divided_by, fmt="ko", markersize=5, label=label
    )


def _file(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name).strip("_")
