"""The figures of a run: regions with data and ratio, variations compared, control plots."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.common.errors import OutputError, did_you_mean
from analysis.common.names import direction, source
from analysis.histograms import CONTROL
from analysis.plotting import FORMATS
from analysis.plotting.captions import run_caption
from analysis.plotting.content import Part, Stack, control_stacks, region_stack
from analysis.plotting.stacks import draw_band, draw_stack, finish
from analysis.plotting.style import Drawing, annotate, colours, legend, panels, save_figures
from analysis.postprocess.normalisation import Normalised
from analysis.selection.description import Description

logger = logging.getLogger(__name__)


def make_figures(
    results: Normalised, folder: Path, formats: Sequence[str] = FORMATS, processes: int = 1
) -> list[Path]:
    """Write every figure of the run to the folder, by so many processes; return the files."""
    return save_figures(_drawings(results), folder, formats, processes)


def _drawings(results: Normalised) -> list[Drawing]:
    if not results.labels:
        logger.warning("no figures: the run has neither data nor a nominal sample")
        return []
    drawings: list[Drawing] = []
    for region in results.regions:
        drawings.append(((region,), partial(region_figure, results, region)))
        drawings += [
            (("variations", region, name), partial(variations_figure, results, region, name))
            for name in results.labels
            if len(results.normalisation.variations[name]) > 1
        ]
    drawings += [
        (tuple(name.split("/")), partial(control_figure, results, name))
        for name in results.histograms
        if name.startswith(CONTROL)
    ]
    return drawings


def region_figure(results: Normalised, region: str) -> Figure:
    """Draw prediction and data of one region, all channels added up.

    Raises OutputError for a region that the run does not have.
    """
    stack = region_stack(results, region)
    figure, [(main, ratio)] = panels()
    draw_stack(main, ratio, stack)
    annotate(main, run_caption(results))
    return figure


def control_figure(results: Normalised, name: str) -> Figure:
    """Draw prediction and data of one control histogram, a column a channel.

    Raises OutputError for a histogram that the run does not have.
    """
    stacks = control_stacks(results, name)
    figure, columns = panels(len(stacks))
    for (main, ratio), (channel, stack) in zip(columns, stacks.items(), strict=True):
        draw_stack(main, ratio, stack)
        annotate(main, run_caption(results, [channel]))
    return figure


def variations_figure(results: Normalised, region: str, process: str) -> Figure:
    """Draw the variations of one process in one region, all channels added up; a column a group.

    Raises OutputError for a region that the run does not have, or a process without variations.
    """
    stack = region_stack(results, region)
    varied = {part.name: part for part in stack.parts if part.varied}
    if process not in varied:
        msg = f"no variations of {process!r}: {did_you_mean(process, varied)}"
        raise OutputError(msg)
    part = varied[process]
    groups = _groups(part.varied, results.description)
    figure, columns = panels(len(groups))
    for (main, ratio), names in zip(columns, groups, strict=True):
        _compare(main, ratio, stack, part, names)
        annotate(main, run_caption(results, simulated=True))
    return figure


def _groups(variations: Iterable[str], description: Description) -> list[list[str]]:
    """Keep shifts, groups of weights and alternative samples apart, so that a panel can be read."""
    groups: dict[str, list[str]] = {}
    for name in variations:
        known = description.variations.get(name)
        kind = "samples" if known is None else known.group
        groups.setdefault(kind, []).append(name)
    return list(groups.values())


def _compare(main: Axes, ratio: Axes, stack: Stack, part: Part, names: list[str]) -> None:
    """Draw nominal and varied distributions of a process, and their ratios to nominal below."""
    nominal, edges = part.values, stack.edges
    inverse = 1 / np.where(nominal > 0, nominal, np.nan)
    relative = np.nan_to_num(np.sqrt(part.variances) * inverse)
    band = draw_band(ratio, edges, np.ones_like(nominal), relative)
    entries: list[tuple[Artist, str]] = [
        (main.stairs(nominal, edges, color="black", linewidth=2), "nominal"),
        (band, "nominal, stat."),
    ]
    colour = colours(list(dict.fromkeys(map(source, names))))
    for name in names:
        line: dict[str, Any] = {
            "color": colour[source(name)],
            "linestyle": "--" if direction(name) == "down" else "-",
            "linewidth": 1.5,
        }
        main.stairs(part.varied[name], edges, **line)
        ratio.stairs(part.varied[name] * inverse, edges, baseline=None, **line)
    entries += [(Line2D([], [], color=c, linewidth=1.5), name) for name, c in colour.items()]
    there = {direction(name) for name in names}
    if len(there) > 1:
        entries.append((Line2D([], [], color="0.4", linewidth=1.5), "up"))
        entries.append((Line2D([], [], color="0.4", linewidth=1.5, linestyle="--"), "down"))
    highest = max(float(np.max(values)) for values in (nominal, *(part.varied[n] for n in names)))
    finish(main, ratio, stack, "Var. / nominal")
    legend(main, entries, highest, title=f"{part.label}, {stack.title}")
