"""Tables of text, for files and for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

Row = Sequence[str]


def markdown(header: Row, rows: Sequence[Row]) -> str:
    """A Markdown table; the first column left, the others right."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def line(cells: Row) -> str:
        first = cells[0].ljust(widths[0])
        others = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return f"| {' | '.join([first, *others])} |"

    return "\n".join([line(header), line(rule), *map(line, rows)]) + "\n"


def show(header: Row, rows: Sequence[Row], title: str | None = None) -> None:
    """Print to standard output: drawn on a terminal, Markdown in a pipe."""
    console = Console()
    if not console.is_terminal:
        if title:
            console.print(f"{title}\n", markup=False, highlight=False, soft_wrap=True)
        console.print(markdown(header, rows), markup=False, highlight=False, soft_wrap=True)
        return
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for i, name in enumerate(header):
        table.add_column(name, justify="right" if i else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def say(line: str) -> None:
    """Print a line to standard output."""
    Console().print(line, markup=False, highlight=False, soft_wrap=True)
