"""The figures of a fit: yields before and after it, templates; all of them to a folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.common.names import figure_text
from analysis.inference.fit import Yields
from analysis.inference.measurement import Measurement
from analysis.plotting.captions import FitCaption
from analysis.plotting.content import Array, fit_stacks, fitted_axis
from analysis.plotting.parameters import (
    correlations_figure,
    pulls_figure,
    ranking_figure,
    scan_figure,
)
from analysis.plotting.stacks import draw_stack
from analysis.plotting.style import (
    DOWN,
    UP,
    Drawing,
    annotate,
    new_figure,
    panels,
    save_figures,
)


def make_figures(
    measurement: Measurement, spec: dict[str, Any], caption: FitCaption, folder: Path
) -> list[Path]:
    """Write every figure of the fit to the folder as `fit_*`, instead of those of an earlier fit."""
    drawings = _drawings(measurement, spec, caption)
    named: list[Drawing] = [(("fit", *parts), draw) for parts, draw in drawings]
    return save_figures(named, folder, instead_of="fit_*")


def _drawings(measurement: Measurement, spec: dict[str, Any], caption: FitCaption) -> list[Drawing]:
    drawings: list[Drawing] = [
        (("yields", yields.channel), partial(yields_figure, yields, caption))
        for yields in measurement.fit.yields
    ]
    drawings += [
        (("elsewhere", region), partial(elsewhere_figure, channels, caption))
        for region, channels in measurement.elsewhere.items()
    ]
    drawings.append((("pulls",), partial(pulls_figure, measurement, caption)))
    if measurement.ranking:
        drawings.append((("ranking",), partial(ranking_figure, measurement, caption)))
    drawings.append((("correlations",), partial(correlations_figure, measurement, caption)))
    drawings.append((("scan",), partial(scan_figure, measurement, caption)))
    drawings += [
        (
            ("templates", channel["name"], sample["name"]),
            partial(templates_figure, channel["name"], sample, caption),
        )
        for channel in spec["channels"]
        for sample in channel["samples"]
        if any(m["type"] == "normfactor" for m in sample["modifiers"])
    ]
    return drawings


def yields_figure(yields: Yields, caption: FitCaption) -> Figure:
    """Draw prediction and data of a channel before the fit (left) and after it, with ratios."""
    stacks = list(fit_stacks(yields, caption).values())
    figure, columns = panels(2, sharey=True)
    tops = []
    for (main, ratio), stack in zip(columns, stacks, strict=True):
        draw_stack(main, ratio, stack, "Obs. / pred.")
        tops.append(main.get_ylim()[1])
        annotate(main, caption.above)
    columns[0][0].set_ylim(0, max(tops))
    for axes in columns[1]:
        axes.set_ylabel("")
    return figure


def elsewhere_figure(channels: Sequence[Yields], caption: FitCaption) -> Figure:
    """Draw prediction and data of a region that is not fitted, after the fit; a column a channel.

    The sum before the fit is a dashed line.
    """
    figure, columns = panels(len(channels))
    for (main, ratio), yields in zip(columns, channels, strict=True):
        stacks = fit_stacks(yields, caption)
        before, after = stacks["pre-fit"], stacks["post-fit"]
        line: dict[str, Any] = {"color": "black", "linewidth": 1.5, "linestyle": "--", "zorder": 5}
        main.stairs(before.total, before.edges, **line)
        ratio.stairs(before.total * after.inverse, after.edges, baseline=None, **line)
        draw_stack(main, ratio, after, "Obs. / pred.", [(Line2D([], [], **line), "Pre-fit")])
        annotate(main, caption.above)
    return figure


def templates_figure(channel: str, sample: dict[str, Any], caption: FitCaption) -> Figure:
    """Draw the ratio to nominal of the varied templates of a sample, a panel a parameter."""
    varied = _varied(sample)
    edges, axis_label, title = fitted_axis(channel, len(sample["data"]), caption)
    columns = 3
    rows = max(-(-len(varied) // columns), 1)
    height = 3 * rows + 1.2
    figure = new_figure(
        5 * columns, height, left=0.06, right=0.985, bottom=0.8 / height, top=1 - 0.5 / height,
        hspace=0.08, wspace=0.05,
    )  # fmt: skip
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for panel, (name, (up, down)) in zip(axes.flat, varied.items(), strict=False):
        for ratio, colour, direction in ((up, UP, "up"), (down, DOWN, "down")):
            panel.stairs(ratio, edges, baseline=None, color=colour, linewidth=1.8, label=direction)
        panel.axhline(1, color="black", linewidth=1, linestyle=":")
        panel.text(
            0.04, 0.93, figure_text(name), transform=panel.transAxes, va="top", fontsize=13,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        )  # fmt: skip
    for panel in axes.flat[len(varied) :]:
        panel.axis("off")
    axes[0, 0].set_xlim(edges[0], edges[-1])
    reach = _reach(varied.values())
    axes[0, 0].set_ylim(1 - reach, 1 + 1.2 * reach)
    if varied:
        axes[0, 0].legend(loc="lower left", ncols=2)
    for panel in axes[:, 0]:
        panel.set_ylabel("Var. / nominal", loc="center", fontsize=13)
    for column in axes.T:
        for panel in [panel for panel in column if panel.axison][-1:]:
            panel.set_xlabel(axis_label)
            panel.tick_params(labelbottom=True)
    annotate(axes[0, 0], caption.simulation._replace(luminosity="", centre_of_mass=""))
    words = f"{caption.label(sample['name'])}, {title}"
    axes[0, columns - 1].set_title(words, loc="right", fontsize=14)
    return figure


def _reach(varied: Iterable[tuple[Array, Array]]) -> float:
    """How far from 1 ratios are shown: a little beyond the largest, between 5 and 50 %."""
    changes = (np.nanmax(np.abs(ratio - 1), initial=0.0) for pair in varied for ratio in pair)
    return float(np.clip(1.2 * max(changes, default=0.0), 0.05, 0.5))


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
