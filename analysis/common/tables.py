"""Tables of text, for files and for the terminal."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable, Iterable, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tabulate import tabulate

from analysis.common.names import latex_text, markdown_text, visible

Row = Sequence[str]

_WIDE = 10_000
_NUMBER = re.compile(r"[+-]?\[?\d|-$")


def signed(value: float | None, digits: int = 4) -> str:
    """A change with its sign, or that it is not known."""
    return "not known" if value is None else f"{value:+.{digits}f}"


def markdown(header: Row, rows: Sequence[Row]) -> str:
    """Write a table in Markdown: the first column left, the others right."""
    return _written("pipe", markdown_text, header, rows)


def html(header: Row, rows: Sequence[Row]) -> str:
    """Write a table in HTML, for a notebook."""
    return str(
        tabulate([[*map(visible, row)] for row in rows], header, "html", disable_numparse=True)
    )


def latex(title: str, header: Row, rows: Sequence[Row]) -> str:
    """Write a table in LaTeX with its caption: the first column left, the others right."""
    table = _written("latex_raw", latex_text, header, rows)
    return f"\\begin{{table}}\n\\caption{{{latex_text(title)}}}\n{table}\\end{{table}}\n"


def _written(form: str, cell: Callable[[str], str], header: Row, rows: Sequence[Row]) -> str:
    alignment = ["left"] + ["right"] * (len(header) - 1)
    head, *body = ([*map(cell, row)] for row in (header, *rows))
    # Without a row there is no column to align.
    aligned = {"colalign": alignment} if body else {}
    table: str = tabulate(body, head, form, disable_numparse=True, **aligned)
    return f"{table}\n"


def text_columns(rows: Iterable[Row]) -> set[int]:
    """Find the columns with a cell that is no number."""
    return {
        column
        for column, cells in enumerate(zip(*rows, strict=True))
        if any(cell and not _NUMBER.match(cell) for cell in cells)
    }


def measured(value: float, error: float | None = None) -> str:
    """Write a value, ± its error if it is given, with one decimal, or with more for two digits.

    The digits are those of an error that is below one, or of the value if there is no error.
    """
    size = error or abs(value)
    digits = 1 if size == 0 or size >= 0.995 else 1 - math.floor(math.log10(size))
    form = f".{digits}f" if digits < 7 else ".1e"
    return f"{value:{form}}" if error is None else f"{value:{form}} ± {error:{form}}"


def show(header: Row, rows: Sequence[Row], title: str | None = None) -> None:
    """Print to standard output: drawn on a terminal that is wide enough, else as Markdown."""
    console = _console()
    table = Table(
        title=Text(visible(title)) if title else None, title_justify="left", box=box.SIMPLE_HEAD
    )
    words = text_columns(rows)
    for i, name in enumerate(header):
        # Of numbers with their errors rich would take the longest part for the least width.
        whole = 0 if i in words else max((cell_len(visible(row[i])) for row in rows), default=0)
        table.add_column(
            Text(visible(name)),
            justify="right" if i else "left",
            no_wrap=i not in words,
            min_width=whole,
        )
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    # Measured in a console of any width: rich gives no more than there is.
    least = console.measure(table, options=console.options.update_width(_WIDE)).minimum
    if console.is_terminal and least <= console.width:
        console.print(table)
        return
    if title:
        say(f"{title}\n")
    say(markdown(header, rows))


def say(line: str) -> None:
    """Print lines of text to standard output."""
    text = "\n".join(map(visible, line.split("\n")))
    _console().print(text, markup=False, highlight=False, soft_wrap=True)


def _console() -> Console:
    """Open standard output as a console; a width of zero is one that is not known."""
    size = shutil.get_terminal_size()
    # Without a height rich takes a terminal that says little of itself for 80 columns wide.
    return Console(width=size.columns, height=size.lines)
