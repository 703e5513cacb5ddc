"""Minor ticks drawn as one line a side, instead of five objects a tick.

Matplotlib makes two lines, a grid line and two texts for every tick. A panel in CMS style has some fifty
minor ones, which took a third of the time of a figure.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, NullLocator
from numpy.typing import NDArray


def simplify_minor_ticks(figure: Figure) -> None:
    """Replace the minor ticks of all panels by lines that look the same.

    For a figure that is finished: they do not follow when limits change.
    """
    panels = [panel for panel in figure.axes if panel.get_visible() and panel.axison]
    axes = [axis for panel in panels for axis in (panel.xaxis, panel.yaxis) if axis.get_visible()]
    bare = [axis for axis in axes if isinstance(axis.get_minor_formatter(), NullFormatter)]
    # Panels may share their locator: all are asked before one is taken away.
    places = [_visible(axis) for axis in bare]
    for axis, at in zip(bare, places, strict=True):
        (tick,) = axis.get_minor_ticks(1)[:1]
        for one in (tick.tick1line, tick.tick2line):
            axis.axes.add_artist(_line(one, axis, at))
    for axis in bare:
        axis.set_minor_locator(NullLocator())


def _visible(axis: Axis) -> NDArray[np.float64]:
    low, high = sorted(axis.get_view_interval())
    places = np.asarray(axis.get_minorticklocs(), dtype=float)
    return places[(places >= low) & (places <= high)]


def _line(one: Line2D, axis: Axis, places: NDArray[np.float64]) -> Line2D:
    """Marks as that of `one` tick at all places."""
    across = np.full(len(places), np.ravel(one.get_data()[isinstance(axis, XAxis)])[0])
    data = (places, across) if isinstance(axis, XAxis) else (across, places)
    line = Line2D(*data, zorder=axis.get_zorder())
    line.update_from(one)
    line.set_transform(one.get_transform())
    line.set_zorder(axis.get_zorder())
    line.set_clip_on(False)
    return line
