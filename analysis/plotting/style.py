"""How figures look: fonts, colours, panels, legends, files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import mplhep
import numpy as np
from fontTools.subset import Options
from matplotlib import colors
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.style import use as use_style
from matplotlib.ticker import ScalarFormatter
from numpy.typing import NDArray

from analysis.common.files import atomic, writable_folder
from analysis.common.names import figure_text, file_names
from analysis.plotting import FORMATS, pool
from analysis.plotting.captions import Caption
from analysis.plotting.ticks import simplify_minor_ticks

if TYPE_CHECKING:
    from IPython.display import Image

Array = NDArray[np.float64]

Drawing = tuple[tuple[str, ...], Callable[[], Figure]]
"""Parts of a figure's name, and what draws it."""

NOTEBOOK_DPI = 50

UP, DOWN = "#bd1f01", "#3f90da"
"""Colours of the two directions of a variation."""

PANEL_WIDTH, PANEL_HEIGHT = 7.5, 8.0
"""Inches; a column of a figure is a main panel with its ratio below."""

RATIO_LIMITS = (0.5, 1.5)

# Petroff's ten colours for stacks (arXiv:2107.02270), recommended by CMS.
_PALETTE = (
    "#bd1f01", "#3f90da", "#ffa90e", "#e76300", "#94a4a2",
    "#832db6", "#a96b59", "#717581", "#b9ac70", "#92dadd",
)  # fmt: skip

# TrueType, which PDF can embed; TeX Gyre Heros of the CMS style could only be embedded as Type 3.
_FONT = "Fira Sans"
_LOOK = {
    "font.family": [_FONT, "DejaVu Sans"],
    "mathtext.fallback": "stixsans",
    **{f"mathtext.{name}": _FONT for name in ("rm", "sf", "tt", "cal")},
    "mathtext.it": f"{_FONT}:italic",
    "mathtext.bf": f"{_FONT}:bold",
    "pdf.fonttype": 42,
    "font.size": 16,
    "axes.labelsize": 16,
    "legend.fontsize": 12,
    "savefig.dpi": 110,
}
_LEGENDS = ((2, 12), (3, 10), (2, 10), (3, 8), (2, 8), (4, 7), (3, 6), (2, 6))
"""Columns and size of the letters, tried in this order until the legend leaves room."""
_FREE = 0.4
"""Part of a panel's height that a legend leaves at least."""


def colours(names: Sequence[str], first: int = 0) -> dict[str, str]:
    """Give each name a colour of its own, from the `first` of the palette on.

    Beyond ten the colours come again, lighter and darker in turn.
    """
    count = len(_PALETTE)
    return {name: _shade(_PALETTE[(i + first) % count], i // count) for i, name in enumerate(names)}


def _shade(colour: str, step: int) -> str:
    towards = np.array((1.0, 1.0, 1.0) if step % 2 else (0.0, 0.0, 0.0))
    kept = 0.55 ** ((step + 1) // 2)
    mixed = kept * np.array(colors.to_rgb(colour)) + (1 - kept) * towards
    return colors.to_hex((mixed[0], mixed[1], mixed[2]))


@contextmanager
def style() -> Iterator[None]:
    """Draw in the style of CMS figures, whatever the user's own settings of Matplotlib are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        use_style([mplhep.style.CMS, _LOOK])
        yield


def new_figure(width: float, height: float, **margins: float) -> Figure:
    """Open a figure of this size in inches, which belongs to no window."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    # A layout engine takes seconds for the larger figures.
    figure.subplots_adjust(**margins)
    return figure


def one_panel(
    width: float = PANEL_WIDTH, height: float = 0.85 * PANEL_HEIGHT
) -> tuple[Figure, Axes]:
    """Open a figure of one panel."""
    figure = new_figure(width, height, left=1.05 / width, right=0.97, bottom=0.11, top=0.93)
    return figure, figure.subplots()


def panels(
    columns: int = 1, width: float = PANEL_WIDTH, *, sharey: bool = False
) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """Open a figure of main panels with a lower panel each."""
    figure = new_figure(
        width * columns, PANEL_HEIGHT,
        left=0.13 / columns, right=1 - 0.03 / columns, bottom=0.1, top=0.94,
        hspace=0.07, wspace=0.05 if sharey else 0.22,
    )  # fmt: skip
    axes = figure.subplots(
        2, columns, sharex="col", sharey="row" if sharey else False, squeeze=False,
        gridspec_kw={"height_ratios": [3, 1]},
    )  # fmt: skip
    for axis in (panel.yaxis for panel in axes.flat):
        # The multiplier of large numbers stands beside the axis: above it are the words.
        axis.set_major_formatter(ScalarFormatter(useMathText=True))
        axis.get_offset_text().set(x=-0.02, ha="right", fontsize=12)
    return figure, [(axes[0, i], axes[1, i]) for i in range(columns)]


def annotate(axes: Axes, caption: Caption, rise: float = 4) -> None:
    """Write above the axes whose events they are, and on the right luminosity and energy.

    `rise` is the distance in points, larger where another axis has its numbers there.
    """
    words: dict[str, Any] = {
        "xycoords": "axes fraction",
        "textcoords": "offset points",
        "va": "bottom",
    }
    experiment, rest = "", figure_text(caption.label)
    if rest.split(" ")[0] == "CMS":
        experiment, rest = "CMS", rest[3:].lstrip()
    drawn = [axes.annotate(experiment, (0, 1), (0, rise), weight="bold", fontsize=16, **words)]
    beside = words | ({"xycoords": drawn[0]} if experiment else {})
    at: Any = ((1, 0), (5, 0)) if experiment else ((0, 1), (0, rise))
    drawn.append(axes.annotate(rest, *at, style="italic", fontsize=16, **beside))
    right = [f"{caption.luminosity} pb$^{{-1}}$"] if caption.luminosity else []
    right += [f"({caption.centre_of_mass})"] if caption.centre_of_mass else []
    drawn.append(
        axes.annotate(" ".join(right), (1, 1), (0, rise), fontsize=14, ha="right", **words)
    )
    room = axes.bbox.width / (sum(text.get_window_extent().width for text in drawn) + 20)
    if room < 1:
        for text in drawn:
            text.set_fontsize(room * float(text.get_fontsize()))


def legend(
    axes: Axes,
    entries: Sequence[tuple[Any, str]],
    highest: float,
    *,
    title: str = "",
    words: Sequence[str] = (),
) -> float:
    """Draw a legend on the right and lines of words on the left; let the axis end above what is drawn.

    `entries` are artists with their labels, as Matplotlib takes them; what is drawn reaches `highest`.
    A legend that would take most of the panel is set smaller, and then shortened. Return the part of
    the panel's height below all words.
    """
    shown = [
        label if len(label) <= 60 or "$" in label else f"{label[:59]}…" for _, label in entries
    ]
    handles = [handle for handle, _ in entries]
    while True:
        for columns, size in _LEGENDS:
            drawn = axes.legend(
                handles, shown, title=title, ncols=columns, fontsize=size,
                title_fontsize=min(size + 1, 13), loc="upper right",
            )  # fmt: skip
            free = _free(axes, drawn)
            if free >= _FREE and drawn.get_window_extent().width <= axes.bbox.width:
                break
        if free >= _FREE or len(handles) < 8:
            break
        kept = 3 * len(handles) // 4
        handles = [*handles[:kept], Line2D([], [], linestyle="none")]
        shown = [*shown[:kept], f"and {len(entries) - kept} more"]
    if words:
        text = axes.text(
            0.04, 0.96, "\n".join(words), transform=axes.transAxes, va="top", fontsize=13,
            linespacing=1.4,
        )  # fmt: skip
        free = min(free, _free(axes, text))
    free = max(free - 0.03, 0.27)
    axes.set_ylim(0, (highest or 1.0) / free)
    return free


def _free(axes: Axes, artist: Artist) -> float:
    """Compute the part of the panel's height that is below the artist."""
    return float((artist.get_window_extent().y0 - axes.bbox.y0) / axes.bbox.height)


def save_figures(
    drawings: Iterable[Drawing],
    folder: Path,
    formats: Sequence[str] = FORMATS,
    processes: int = 1,
    *,
    instead_of: str = "",
) -> list[Path]:
    """Draw and write figures to the folder, by so many processes; return the files.

    Figures of an earlier result, whose names match the pattern `instead_of`, are removed.
    """
    writable_folder(folder)
    for old in folder.glob(instead_of) if instead_of else ():
        old.unlink(missing_ok=True)
    every = list(drawings)
    named = zip(file_names(parts for parts, _ in every), (draw for _, draw in every), strict=True)
    write = partial(_write, folder=folder, formats=formats)
    return [path for paths in pool.mapped(write, named, processes) for path in paths]


def _write(
    named: tuple[str, Callable[[], Figure]], folder: Path, formats: Sequence[str]
) -> list[Path]:
    """Draw a figure and write it in every format."""
    name, draw = named
    paths = [folder / f"{name}.{suffix}" for suffix in formats]
    with style(), _plain_fonts():
        figure = draw()
        simplify_minor_ticks(figure)
        for path in paths:
            # Without a date in it, the same histograms give the same file.
            metadata = {"CreationDate": None} if path.suffix == ".pdf" else None
            with atomic(path) as temporary:
                figure.savefig(temporary, format=path.suffix[1:], metadata=metadata)
    return paths


@contextmanager
def _plain_fonts() -> Iterator[None]:
    """Leave out of the fonts in PDF files the tables that text is laid out with, which Matplotlib has done.

    To make subsets of these tables takes half of the time of a figure. The default of fontTools (4.68) is not public;
    without it the files are larger, and made more slowly.
    """
    name = "_drop_tables_default"
    before = getattr(Options, name, [])
    setattr(Options, name, [*before, "GDEF", "GPOS", "GSUB"])
    try:
        yield
    finally:
        setattr(Options, name, before)


def inline(draw: Callable[..., Figure], *arguments: Any) -> Image:
    """Show the figure that `draw` returns in a notebook, in the project's style."""
    from IPython.display import Image

    buffer = io.BytesIO()
    with style():
        draw(*arguments).savefig(buffer, format="png", dpi=NOTEBOOK_DPI)
    return Image(buffer.getvalue())  # type: ignore[no-untyped-call]
