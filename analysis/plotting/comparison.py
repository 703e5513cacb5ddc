"""Figures of a comparison bin by bin: nominal histograms, their ratio, and every bin that differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from analysis.common.names import figure_text
from analysis.datasets.processes import PROCESS_LABELS
from analysis.plotting.captions import LESSON_REGIONS, Caption
from analysis.plotting.style import annotate, colours, new_figure, save_figures
from analysis.postprocess.agc_json import Content, Difference, nominal_names

ROWS = 24
"""Histograms that differ and are listed; the others are counted."""
DIFFERS = "#bd1f01"
_LABELS = PROCESS_LABELS | {"single_top_t_chan": "t-channel", "single_top_s_chan": "s-channel"}


class Sides(NamedTuple):
    """What is compared, with the names that figures give it."""

    found: Mapping[str, Content]
    reference: Mapping[str, Content]
    found_name: str
    reference_name: str


def make_figures(
    differences: Sequence[Difference], sides: Sides, folder: Path, known: Iterable[str] = ()
) -> list[Path]:
    """Draw a figure for the histograms of each region; return the files.

    A region is one of the `known` ones, else it is what the names begin with.
    """
    longest_first = sorted(known, key=len, reverse=True)
    regions: dict[str, list[Difference]] = {}
    for difference in differences:
        name = difference.name
        named = (region for region in longest_first if name.startswith(f"{region}_"))
        regions.setdefault(next(named, name.partition("_")[0]), []).append(difference)
    drawings = [
        (("compare", region), partial(region_figure, region, found, sides))
        for region, found in regions.items()
    ]
    return save_figures(drawings, folder, instead_of="compare_*")


def region_figure(region: str, differences: Sequence[Difference], sides: Sides) -> Figure:
    """Draw nominal contents on both sides, their ratio and, by bin, the histograms that differ."""
    wrong = sorted((d for d in differences if d.bins), key=lambda d: (d.agrees, -d.largest))[:ROWS]
    names = nominal_names(d.name for d in differences)
    edges = sides.reference[names[0]].edges
    listed = 0.25 * len(wrong) + 0.5
    height = 7.6 + listed
    figure = new_figure(
        9.5, height, left=0.27, right=0.97, bottom=1.1 / height, top=1 - 0.4 / height, hspace=0.06
    )
    main, ratio, table = figure.subplots(
        3, sharex=True, gridspec_kw={"height_ratios": [3.6, 1.4, listed]}
    )
    _draw_nominal(main, region, names, sides)
    _draw_ratio(ratio, [d for d in differences if d.name in names], sides)
    _draw_table(table, wrong, edges, differences)
    for bin_apart in np.flatnonzero(np.any([d.apart != 0 for d in differences], axis=0)):
        low, high = _all_edges(edges)[bin_apart : bin_apart + 2]
        for axes in (main, ratio):
            axes.axvspan(low, high, color=DIFFERS, alpha=0.12, linewidth=0)
    main.set_xlim(_all_edges(edges)[[0, -1]])
    annotate(main, Caption(f"{sides.found_name} and {sides.reference_name}"))
    label = LESSON_REGIONS[region].axis_label if region in LESSON_REGIONS else region
    table.set_xlabel(label)
    differing = sum(bool(d.bins) for d in differences)
    more = f", {len(wrong)} of them shown" if differing > len(wrong) else ""
    words = (
        f"{differing} of {len(differences)} histograms differ{more}: {sides.found_name} − "
        f"{sides.reference_name} in events; red: by more than events at edges. First and last: beyond the axis."
    )
    figure.text(0.03, 0.12 / height, figure_text(words), fontsize=9)
    return figure


def _all_edges(edges: np.ndarray) -> np.ndarray:
    """Edges with a bin of the same width on either side, for what is beyond them."""
    return np.concatenate([[2 * edges[0] - edges[1]], edges, [2 * edges[-1] - edges[-2]]])


def _process(region: str, name: str) -> str:
    process = name.removeprefix(f"{region}_")
    return _LABELS.get(process, figure_text(process))


def _draw_nominal(axes: Axes, region: str, names: Sequence[str], sides: Sides) -> None:
    handles = []
    for name, colour in colours(names).items():
        reference, found = sides.reference[name], sides.found[name]
        edges = _all_edges(reference.edges)
        axes.stairs(reference.contents, edges, color=colour, linewidth=1.6)
        filled = found.contents > 0
        centres = ((edges[1:] + edges[:-1]) / 2)[filled]
        axes.plot(centres, found.contents[filled], "o", color=colour, markersize=4)
        handles.append(Line2D([], [], color=colour, linewidth=3, label=_process(region, name)))
    handles += [
        Line2D([], [], color="black", label=figure_text(sides.reference_name)),
        Line2D([], [], color="black", marker="o", linestyle="none", label=figure_text(sides.found_name)),
    ]  # fmt: skip
    lowest = min(c[c > 0].min(initial=np.inf) for c in (sides.reference[n].contents for n in names))
    highest = max(sides.reference[name].contents.max() for name in names)
    axes.set_yscale("log")
    axes.set_ylim(lowest / 3 if np.isfinite(lowest) else 0.1, 400 * max(highest, 1e-9))
    axes.set_ylabel("Events")
    words = LESSON_REGIONS[region].label if region in LESSON_REGIONS else ""
    axes.legend(handles=handles, ncols=2, loc="upper right", title=f"{region} {words}".strip())


def _draw_ratio(axes: Axes, differences: Sequence[Difference], sides: Sides) -> None:
    """Draw found / reference, in the scale of what differs most and of the errors of a bin at least."""
    reach = 1e-3
    for difference, colour in zip(
        differences, colours([d.name for d in differences]).values(), strict=True
    ):
        reference, found = (side[difference.name] for side in (sides.reference, sides.found))
        filled = reference.contents != 0
        edges = _all_edges(reference.edges)
        centres = ((edges[1:] + edges[:-1]) / 2)[filled]
        values = found.contents[filled] / reference.contents[filled]
        reach = max(reach, float(np.abs(values - 1).max(initial=0.0)))
        axes.plot(centres, values, "o", color=colour, markersize=4)
    reach = min(1.2 * reach, 1.0)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_ylim(1 - reach, 1 + reach)
    axes.set_ylabel("Ratio", fontsize=14)


def _draw_table(
    axes: Axes, wrong: Sequence[Difference], edges: np.ndarray, every: Sequence[Difference]
) -> None:
    """Draw a row for each histogram that differs: its bins by their difference in events."""
    axes.tick_params(which="both", length=0)
    if not wrong:
        axes.set_yticks([])
        axes.set_ylim(0, 1)
        axes.text(
            0.5, 0.5, f"all {len(every)} histograms are equal in every bin", ha="center", va="center",
            transform=axes.transAxes, fontsize=13,
        )  # fmt: skip
        return
    apart = np.array([d.apart for d in wrong])
    most = max(1.0, float(np.abs(apart).max()))
    rows = np.arange(len(wrong) + 1) - 0.5
    axes.pcolormesh(
        _all_edges(edges), rows, np.ma.masked_equal(apart, 0),
        cmap="RdBu_r", norm=TwoSlopeNorm(0, -1.4 * most, 1.4 * most), edgecolors="0.85", linewidth=0.3,
    )  # fmt: skip
    centres = (_all_edges(edges)[1:] + _all_edges(edges)[:-1]) / 2
    for row, place in zip(*np.nonzero(apart), strict=True):
        axes.text(
            centres[place], row, f"{apart[row, place]:+.2g}", ha="center", va="center", fontsize=7
        )
    axes.set_yticks(range(len(wrong)), [figure_text(d.name) for d in wrong], fontsize=9)
    for text, difference in zip(axes.get_yticklabels(), wrong, strict=True):
        text.set_color("black" if difference.agrees else DIFFERS)
    axes.set_ylim(len(wrong) - 0.5, -0.5)
    axes.yaxis.set_minor_locator(NullLocator())
