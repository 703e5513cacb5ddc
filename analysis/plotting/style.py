"""How figures look: colours, labels, formats."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import mplhep
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.common.files import atomic, writable_folder
from analysis.plotting import FORMATS
from analysis.plotting.ticks import simplify_minor_ticks

if TYPE_CHECKING:
    from IPython.display import Image

Array = NDArray[np.float64]

NOTEBOOK_DPI = 50

CENTRE_OF_MASS = "13 TeV"

UP, DOWN = "#bd1f01", "#3f90da"
"""Colours of the two directions of a variation."""

PANEL_WIDTH, PANEL_HEIGHT = 7.5, 8.0
"""Inches; a column of a figure is a main panel with its ratio below."""

RATIO_LIMITS = (0.5, 1.5)

# Petroff's ten colours for stacks (arXiv:2107.02270), recommended by CMS.
_PALETTE = [
    "#bd1f01", "#3f90da", "#ffa90e", "#e76300", "#94a4a2",
    "#832db6", "#a96b59", "#717581", "#b9ac70", "#92dadd",
]  # fmt: skip


def colours(processes: list[str]) -> dict[str, str]:
    """A colour for each process, by its place in the list."""
    return {name: _PALETTE[i % len(_PALETTE)] for i, name in enumerate(processes)}


def colours_of_samples(samples: Iterable[str], labels: Iterable[str]) -> dict[str, str]:
    """Those of the run's own figures, which go by the order of its labels; then of other samples."""
    names = list(samples)
    known = [name for name in labels if name in names]
    return colours([*known, *(name for name in names if name not in known)])


def events_per_bin(edges: Array, axis_label: str) -> str:
    """Label of the vertical axis; the width of the bins is said where the other axis has a unit."""
    return f"Events / {edges[1] - edges[0]:.3g} GeV" if "[GeV]" in axis_label else "Events"


@contextmanager
def style() -> Iterator[None]:
    """The style of CMS figures, drawn without a screen."""
    sizes = {"font.size": 16, "axes.labelsize": 16, "legend.fontsize": 12, "savefig.dpi": 110}
    backend = mpl.get_backend()
    plt.switch_backend("agg")
    try:
        with plt.style.context([mplhep.style.CMS, sizes]):
            yield
    finally:
        plt.switch_backend(backend)


def annotate(
    axes: Axes,
    label: str,
    luminosity: str,
    centre_of_mass: str = CENTRE_OF_MASS,
    *,
    labelled_above: bool = False,
) -> None:
    """Above the axes: whose events they are on the left, luminosity and energy on the right.

    `luminosity` is a text in 1/pb, empty if it is not known; so is `centre_of_mass`, with its unit.
    `labelled_above`: the numbers of another axis are there too.
    """
    # To look for a place where nothing is lays out all tick labels several times.
    y = None if labelled_above else 1.0
    # mplhep's own label draws the whole figure to place two words, which takes most of the time.
    experiment, _, text = label.partition(" ")
    if experiment != "CMS":
        experiment, text = "", label
    italic = text.replace(" ", r"\ ").replace("_", r"\_")
    axes.set_title(
        rf"$\mathbf{{{experiment}}}$ $\mathit{{{italic}}}$", loc="left", fontsize=16, y=y
    )
    right = [f"{luminosity} pb$^{{-1}}$"] if luminosity else []
    if centre_of_mass:
        right.append(f"({centre_of_mass})")
    axes.set_title(" ".join(right), loc="right", fontsize=14, y=y)


def mark_outside(ratio: Axes, centres: Array, values: Array, total: Array) -> None:
    """A triangle at the edge of the panel for each ratio of `values` to `total` beyond it."""
    low, high = RATIO_LIMITS
    above = (values > high * total) & (values > 0)
    below = (values < low * total) & (values > 0)
    margin = 0.03 * (high - low)
    ratio.plot(centres[above], np.full(np.sum(above), high - margin), "k^", markersize=6)
    ratio.plot(centres[below], np.full(np.sum(below), low + margin), "kv", markersize=6)


def save_figure(
    figure: Figure, folder: Path, name: str, formats: Sequence[str] = FORMATS
) -> list[Path]:
    """Write the figure in every format, and close it."""
    simplify_minor_ticks(figure)
    paths = [folder / f"{name}.{suffix}" for suffix in formats]
    for path in paths:
        # Without a date in it, the same histograms give the same file.
        metadata = {"CreationDate": None} if path.suffix == ".pdf" else None
        with atomic(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], metadata=metadata)
    plt.close(figure)
    return paths


def save_figures(drawn: Iterable[tuple[str, Figure]], folder: Path) -> list[Path]:
    """Write named figures to the folder, which is made if needed; return the files.

    Those that are drawn when they are taken, one after the other, have the project's style.
    """
    writable_folder(folder)
    paths = []
    with style():
        for name, figure in drawn:
            paths += save_figure(figure, folder, name)
    return paths


def inline(draw: Callable[..., Figure], *arguments: Any) -> Image:
    """The figure that `draw` returns, in the project's style, for a notebook."""
    from IPython.display import Image

    buffer = io.BytesIO()
    with style():
        figure = draw(*arguments)
        figure.savefig(buffer, format="png", dpi=NOTEBOOK_DPI)
        plt.close(figure)
    return Image(buffer.getvalue())  # type: ignore[no-untyped-call]
