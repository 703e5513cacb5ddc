"""Figures of the ABCD estimate: the plane with its regions, and the closure tests with their pulls."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np
from hist import Hist
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure

from analysis.common.names import figure_text
from analysis.datasets.processes import DATA
from analysis.histograms import MULTIJET
from analysis.plotting.captions import figure_label, jets_label, region_title, run_caption
from analysis.plotting.style import (
    PANEL_HEIGHT,
    PANEL_WIDTH,
    Drawing,
    annotate,
    new_figure,
    panels,
    save_figures,
)
from analysis.postprocess.abcd.method import Closure, Sides, count_plane
from analysis.postprocess.abcd.multijet import RegionEstimate, sides, subtracted
from analysis.postprocess.normalisation import Normalised
from analysis.postprocess.windows import Window
from analysis.selection.isolation_plane import CHANNEL, PLANE

_TESTS = {
    "data": "{data}",
    "validation": "{data},\nvalidation",
    "simulation": "QCD sim.",
    "simulated_validation": "QCD sim.,\nvalidation",
}


def make_figures(
    results: Normalised, estimates: dict[str, RegionEstimate], folder: Path
) -> list[Path]:
    """Write the figures to the folder, instead of those of an earlier estimate; return the files."""
    plane = results.histograms[f"{MULTIJET}{PLANE}"]
    drawings: list[Drawing] = []
    for region in estimates:
        chosen = subtracted(plane, region)
        if chosen is not None:
            draw = partial(plane_figure, results, chosen, region)
            drawings.append((("abcd_plane", region), draw))
    if any(getattr(result, name) for result in estimates.values() for name in _TESTS):
        drawings.append((("abcd_closure",), partial(closure_figure, results, estimates)))
    return save_figures(drawings, folder, instead_of="abcd_*")


def plane_figure(results: Normalised, plane: Hist, region: str) -> Figure:
    """Draw (isolation, m_T) of one region, its four parts marked with their yields."""
    figure = new_figure(
        PANEL_WIDTH * 1.25, PANEL_HEIGHT, left=0.1, right=0.94, bottom=0.1, top=0.94
    )
    axes = figure.subplots()
    x_edges, y_edges = (axis.edges for axis in plane.axes)
    values = plane.values().T
    limit = max(float(np.max(np.abs(values))), 1.0)
    # Linear up to one event: the isolated bins have a hundred times more than the others.
    norm = SymLogNorm(linthresh=1, vmin=-limit, vmax=limit)
    mesh = axes.pcolormesh(x_edges, y_edges, values, cmap="RdBu_r", norm=norm)
    what = "Simulated multijet events"
    if DATA in results.normalisation.variations:
        what = f"{figure_label(results.ledger.labels[DATA])} - prompt leptons"
    figure.colorbar(mesh, ax=axes, label=f"{what} / bin", pad=0.02)
    _mark_regions(axes, plane, sides(results.config))
    axes.set_xlabel("Relative isolation of the muon")
    axes.set_ylabel(r"$m_T$ [GeV]")
    info = results.description
    where = region_title(jets_label(results.ledger), info.regions[region].label)
    words = info.channels[CHANNEL].label, where
    title = ", ".join(map(figure_label, words))
    axes.text(0.97, 0.97, title, transform=axes.transAxes, ha="right", va="top", fontsize=15)
    annotate(axes, run_caption(results, [CHANNEL]))
    return figure


def _mark_regions(axes: Axes, plane: Hist, regions: tuple[Sides, Sides]) -> None:
    """Draw outlines and yields; overflow is part of the regions without an end."""
    x_sides, y_sides = regions
    windows = [(x, y) for x in x_sides for y in y_sides]
    ends = [float(axis.edges[-1]) for axis in plane.axes]
    for name, (x, y), count in zip("ABCD", windows, count_plane(plane, *regions), strict=True):
        (left, right), (low, high) = _drawn(x, ends[0]), _drawn(y, ends[1])
        axes.fill(
            [left, right, right, left], [low, low, high, high], fill=False, edgecolor="black", lw=2
        )
        text = f"{name}: {count.value:.1f} ± {math.sqrt(count.variance):.1f}"
        narrow = right - left < 0.25 * ends[0]
        axes.text(
            (left + right) / 2,
            (low + high) / 2,
            text,
            ha="center",
            va="center",
            rotation=90 if narrow else 0,
            fontsize=12 if narrow else 16,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 2},
        )


def _drawn(window: Window, end: float) -> tuple[float, float]:
    return window.low, min(window.high, end)


def closure_figure(results: Normalised, estimates: dict[str, RegionEstimate]) -> Figure:
    """Draw predicted and found events of each test, and the pulls below."""
    data = figure_label(results.ledger.labels.get(DATA, "Data"))
    tests: list[tuple[str, Closure | None]] = [
        (f"{figure_text(region)}\n{label.format(data=data)}", getattr(result, name))
        for region, result in estimates.items()
        for name, label in _TESTS.items()
    ]
    figure, [(main, lower)] = panels(width=PANEL_WIDTH * 1.6)
    figure.subplots_adjust(left=0.09, right=0.98, bottom=0.15)
    _draw_tests(main, lower, [test for _, test in tests])
    main.set_ylabel("Multijet events in A")
    main.legend(loc="upper right", title=r"$\mu$, ABCD in (isolation, $m_T$)", title_fontsize=13)
    lower.set_xticks(range(len(tests)), [label for label, _ in tests], fontsize=11)
    lower.tick_params(axis="x", which="minor", bottom=False, top=False)
    main.tick_params(axis="x", which="minor", bottom=False, top=False)
    lower.set_xlim(-0.5, len(tests) - 0.5)
    annotate(main, run_caption(results, [CHANNEL]))
    return figure


def _draw_tests(main: Axes, lower: Axes, tests: list[Closure | None]) -> None:
    place = [i for i, test in enumerate(tests) if test is not None]
    known = [test for test in tests if test is not None]
    predicted = np.array([test.prediction.background for test in known])
    error = np.array([test.prediction.background_error for test in known])
    found = np.array([test.found for test in known])
    found_error = np.array([test.found_error for test in known])
    at = np.array(place, dtype=float)
    main.errorbar(
        at - 0.1, predicted, error, fmt="s", color="#3f90da", label=r"predicted, B$\,$C/D"
    )
    main.errorbar(at + 0.1, found, found_error, fmt="ko", label="found")
    for i in set(range(len(tests))) - set(place):
        main.annotate(
            "no estimate", (i, 0.03), xycoords=("data", "axes fraction"), rotation=90,
            ha="center", va="bottom", fontsize=12, color="0.4",
        )  # fmt: skip
    main.axhline(0, color="0.6", linewidth=1)
    # Yields differ by orders of magnitude, and what is found may be negative after subtraction.
    main.set_yscale("symlog", linthresh=10)
    highest = max([*(predicted + error), *(found + found_error), 1.0])
    main.set_ylim(top=20 * highest)
    pulls = [test.pull for test in known]
    lower.bar(at, pulls, width=0.5, color="0.6")
    lower.axhline(0, color="black", linewidth=1)
    limit = 1.2 * max([*np.abs(pulls), 3.0])
    lower.set_ylim(-limit, limit)
    lower.set_ylabel("Pull", loc="center")
