"""Processors that cost nothing, leave a trace of each chunk, and misbehave where they are told to."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import awkward as ak
import hist
import numpy as np
from hist import Hist

from analysis.execution.processor import CatalogueProcessor
from schemas import MuonTreeSchema


class Counting(CatalogueProcessor):
    """A weighted histogram of the leading muon's pT, and the number of events.

    It reads `Muon_pt` only, takes `seconds` for a chunk, and adds a line to the file `trace` when a
    chunk has been computed. At its start a chunk of a file whose name begins with `kill` kills its
    worker; with `kill_once` the first time only.
    """

    schema = MuonTreeSchema

    def __init__(self, trace: Path | None = None, seconds: float = 0.0) -> None:
        self.trace = trace
        self.seconds = seconds

    def columns(self, _metadata: Any) -> frozenset[str]:
        return frozenset({"muon.pt"})

    def process(self, events: ak.Array) -> dict[str, Any]:
        told = events.metadata
        path = Path(told["filename"])
        if path.name.startswith("kill") and _first_time(path):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.seconds)
        pt = ak.to_numpy(ak.fill_none(ak.firsts(events.muon.pt), 0))
        booked = Hist(hist.axis.Regular(20, 0, 200, name="pt"), storage=hist.storage.Weight())
        booked.fill(pt=pt, weight=1 + np.sin(pt))
        if self.trace is not None:
            with self.trace.open("a", encoding="utf-8") as trace:
                trace.write(f"{path.name} {told['entrystart']}\n")
        counts = {"events": len(events), "sum_of_weights": float(len(events))}
        return {told["dataset"]: {"observable": booked, "counts": counts}}

    def postprocess(self, accumulator: Any) -> Any:
        return accumulator


def killing_once(mark: Path, value: Any) -> Any:
    """The value; the first time this process is killed instead."""
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def _first_time(path: Path) -> bool:
    """Always, unless the file's name says that it kills once."""
    if not path.name.startswith("kill_once"):
        return True
    mark = path.with_suffix(".killed")
    first = not mark.exists()
    mark.touch()
    return first
