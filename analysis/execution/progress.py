"""The line that shows how far a run is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

from analysis.execution.account import Answer

_REFRESH_S = 0.2


class Progress:
    """Chunks done and failed, events and bytes a second, on standard error."""

    def __init__(self, items: Sequence[Any], *, shown: bool) -> None:
        self._events_done = 0
        self._chunks_done = 0
        self._bytes = 0
        self._started = self._shown_at = time.monotonic()
        self._bar = RichProgress(
            TextColumn("[bold blue]{task.completed}/{task.total} chunks merged"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[said]}"),
            TimeElapsedColumn(),
            auto_refresh=False,
            console=Console(stderr=True),
            disable=not shown,
        )
        self._task = self._bar.add_task("", total=len(items), said="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.refresh()
        self._bar.stop()

    def show(self, answer: Answer, failed: int) -> None:
        """Show an answer; `failed` is the number of chunks that were given up so far."""
        if answer.output is not None:
            metrics = answer.output["metrics"]
            self._chunks_done += len(answer.done)
            self._events_done += metrics.get("entries", 0)
            self._bytes += metrics.get("bytesread", 0)
        seconds = max(time.monotonic() - self._started, 1e-3)
        said = f"{self._events_done / seconds:,.0f} events/s, read {self._bytes / 1e6 / seconds:.1f} MB/s"
        if failed:
            said += f", [red]{failed} failed[/red]"
        self._bar.update(self._task, completed=self._chunks_done, said=said)
        if time.monotonic() - self._shown_at > _REFRESH_S:
            self._shown_at = time.monotonic()
            self._bar.refresh()
