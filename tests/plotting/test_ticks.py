"""Minor ticks drawn at once look as matplotlib's own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from analysis.plotting.style import style
from analysis.plotting.ticks import simplify_minor_ticks


def _panels() -> Figure:
    """Panels that share an axis, one that is not drawn, ticks on one side only."""
    figure, axes = plt.subplots(2, 2, sharex="col")
    axes[0, 0].plot([0.0, 550.0], [0.0, 3.7])
    axes[0, 1].plot([3.0, -1.0], [-2.0, 5.0])
    axes[0, 1].tick_params(which="both", right=False, top=False)
    axes[1, 1].set_axis_off()
    return figure


def _scales() -> Figure:
    figure, axes = plt.subplots(1, 3)
    axes[0].set_yscale("symlog", linthresh=10)
    axes[0].set_ylim(-1, 5000)
    axes[1].set_yscale("log")
    axes[1].set_ylim(2, 8)  # within a decade: minor ticks have labels
    axes[2].set_xlim(5, -5)  # backwards
    return figure


def _twins() -> Figure:
    figure, axes = plt.subplots()
    axes.tick_params(axis="y", which="minor", left=False, right=False)
    axes.twiny().set_xlim(-2.3, 2.3)
    return figure


@pytest.mark.full
@pytest.mark.parametrize("draw", [_panels, _scales, _twins])
def test_the_image_is_the_same(draw: Callable[[], Figure]) -> None:
    with style():
        figures = [draw() for _ in range(3)]
        simplify_minor_ticks(figures[1])
        for panel in figures[2].axes:
            panel.minorticks_off()
        expected, ours, without = (_pixels(figure) for figure in figures)
        for figure in figures:
            plt.close(figure)
    assert np.max(np.abs(ours - expected)) <= 1  # rounding of half-transparent pixels
    assert np.max(np.abs(without - expected)) > 100  # they are seen at all


def _pixels(figure: Figure) -> np.ndarray:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba(), dtype=int)  # type: ignore[attr-defined]
