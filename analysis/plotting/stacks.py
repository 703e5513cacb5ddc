"""Stacks, points and bands, drawn into panels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from analysis.plotting.content import Array, Points, Stack
from analysis.plotting.style import RATIO_LIMITS, legend


def draw_stack(
    main: Axes,
    ratio: Axes,
    stack: Stack,
    ratio_label: str = "Data / pred.",
    more: Sequence[tuple[Artist, str]] = (),
) -> None:
    """Draw the stack with its uncertainty and data, and their ratio to the prediction below.

    The legend has `more` entries.
    """
    entries = list(more)
    base = np.zeros(len(stack.edges) - 1)
    for part in stack.parts:
        top = base + part.values
        fill = main.stairs(
            top, stack.edges, baseline=base, fill=True, facecolor=part.colour, edgecolor="black",
            linewidth=0.5,
        )  # fmt: skip
        entries.append((fill, part.label))
        base = top
    if stack.parts:
        band = draw_band(main, stack.edges, stack.total, stack.error)
        entries.append((band, stack.uncertainty))
        relative = np.nan_to_num(stack.error * stack.inverse)
        draw_band(ratio, stack.edges, np.ones_like(relative), relative)
    if stack.data is not None:
        entries.append((draw_points(main, stack.data), stack.data.label))
        if stack.parts:
            quotient = stack.data.times(stack.inverse)
            draw_points(ratio, quotient)
            mark_outside(
                ratio,
                quotient.centres[quotient.drawn],
                quotient.values[quotient.drawn],
                RATIO_LIMITS,
            )
    finish(main, ratio, stack, ratio_label)
    legend(main, entries, stack.highest, title=stack.title)


def finish(main: Axes, ratio: Axes, stack: Stack, ratio_label: str) -> None:
    """Label the axes of a panel and of the ratio below it."""
    main.set_ylabel(stack.per_bin)
    main.set_xlim(stack.edges[0], stack.edges[-1])
    ratio.axhline(1, color="black", linewidth=1, linestyle=":")
    ratio.set_ylim(*RATIO_LIMITS)
    ratio.set_ylabel(ratio_label, loc="center")
    ratio.set_xlabel(stack.across)


def draw_points(axes: Axes, points: Points, size: float = 5) -> Artist:
    """Draw the points with their intervals."""
    shown = points.drawn
    middle = points.values[shown]
    errors = np.stack([middle - points.low[shown], points.high[shown] - middle])
    drawn: Artist = axes.errorbar(
        points.centres[shown], middle, yerr=errors, fmt="ko", markersize=size
    )  # type: ignore[assignment]
    return drawn


def draw_band(axes: Axes, edges: Array, middle: Array, error: Array) -> Artist:
    """Draw an uncertainty as a hatched band."""
    return axes.stairs(
        middle + error, edges, baseline=middle - error, fill=True, facecolor="none",
        edgecolor="0.35", hatch="/////", linewidth=0,
    )  # fmt: skip


def mark_outside(axes: Axes, at: Array, values: Array, limits: tuple[float, float]) -> None:
    """Draw a triangle at the edge of the panel for each value beyond it."""
    low, high = limits
    margin = 0.03 * (high - low)
    for beyond, marker, place in (
        (values > high, "k^", high - margin),
        (values < low, "kv", low + margin),
    ):
        axes.plot(at[beyond], np.full(np.sum(beyond), place), marker, markersize=6)
