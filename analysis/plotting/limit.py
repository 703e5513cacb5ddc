"""The figure of a limit: CLs against the strength of the signal."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from analysis.inference.limit import Limit
from analysis.plotting.captions import Caption
from analysis.plotting.style import annotate, one_panel, save_figures

_ONE, _TWO = "#607641", "#f5bb54"
"""Green and yellow that CMS recommends for the bands of a limit."""
LOWEST = 3e-3
"""CLs down to which it is shown."""


def make_figure(limit: Limit, label: str, folder: Path, name: str) -> list[Path]:
    """Write the figure to the folder; return the files."""
    return save_figures([((name,), partial(limit_figure, limit, label))], folder)


def limit_figure(limit: Limit, label: str) -> Figure:
    """Observed CLs, and expected with bands of one and two standard deviations; limits as numbers."""
    curve = limit.curve
    strengths = np.array(curve.strengths)
    low2, low1, middle, high1, high2 = np.clip(curve.expected, LOWEST / 10, None)
    figure, axes = one_panel()
    axes.fill_between(strengths, low2, high2, color=_TWO, label="expected, 95 %")
    axes.fill_between(strengths, low1, high1, color=_ONE, label="expected, 68 %")
    axes.plot(strengths, middle, "--", color="black", label="expected without signal")
    axes.plot(strengths, curve.observed, "-", color="black", linewidth=2, label="observed")
    target = 1 - limit.level
    axes.axhline(target, color="#bd1f01", linewidth=1.2)
    axes.plot([limit.observed] * 2, [LOWEST, target], ":", color="#bd1f01", linewidth=1.2)
    shown = 1.25 * max(x for x in (limit.observed, *limit.expected) if x is not None)
    axes.text(
        0.98 * shown,
        1.08 * target,
        f"{limit.level:.0%} CL",
        color="#bd1f01",
        ha="right",
        fontsize=12,
    )
    axes.set_yscale("log")
    axes.set_ylim(LOWEST, 20)
    axes.set_xlim(0, shown)
    axes.set_xlabel(f"Signal strength (1 = {limit.cross_section_pb:.4g} pb)")
    axes.set_ylabel(r"CL$_s$")
    low, middle_limit, high = (_number(x) for x in limit.expected[1:4])
    title = f"observed < {limit.observed:.3g}, expected < {middle_limit} [{low}, {high}]"
    axes.legend(title=title, title_fontsize=12, loc="upper right", ncols=2)
    annotate(axes, Caption(label))
    return figure


def _number(limit: float | None) -> str:
    return "∞" if limit is None else f"{limit:.3g}"
