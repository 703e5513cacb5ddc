"""Tables of what is in the histograms: cutflow, yields of the regions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from hist import Hist

from analysis.common.tables import measured
from analysis.datasets.processes import DATA
from analysis.datasets.sample import NOMINAL

Table = tuple[list[str], list[list[str]]]


def cutflow_table(cutflow: Mapping[str, Any]) -> Table:
    """Make header and rows: events of each dataset and channel after each step, unscaled."""
    header = ["dataset", "channel", "all"]
    rows = []
    for dataset, flow in cutflow.items():
        for channel, steps in flow.items():
            if channel == "all":
                continue
            header = ["dataset", "channel", "all", *steps]
            counts = [f"{step['events']}" for step in steps.values()]
            rows.append([dataset, channel, f"{flow['all']['events']}", *counts])
    return header, rows


def region_yield(observable: Hist, process: str) -> tuple[float, float]:
    """Sum the nominal events of a process, with statistical uncertainty; under- and overflow included.

    `observable` has the axes (observable, process, variation).
    """
    chosen = observable[{"process": process, "variation": NOMINAL}]
    total = chosen.sum(flow=True)
    return float(total.value), float(np.sqrt(total.variance))


def yield_table(regions: Mapping[str, Hist], labels: Mapping[str, str]) -> Table:
    """Make header and rows: nominal yield of each process in each region, total and data last."""
    present = [
        process
        for process in labels
        if any(
            process in observable.axes["process"] and NOMINAL in observable.axes["variation"]
            for observable in regions.values()
        )
    ]
    simulated = [name for name in labels if name in present and name != DATA]
    rows = []
    for process in simulated:
        cells = [region_yield(observable, process) for observable in regions.values()]
        rows.append([process, *(measured(*cell) for cell in cells)])
    if simulated:
        totals = []
        for observable in regions.values():
            parts = [region_yield(observable, process) for process in simulated]
            error = float(np.sqrt(sum(part[1] ** 2 for part in parts)))
            totals.append(measured(sum(part[0] for part in parts), error))
        rows.append(["prediction", *totals])
    if DATA in present:
        rows.append([DATA, *(f"{region_yield(found, DATA)[0]:.0f}" for found in regions.values())])
    return ["process", *regions], rows
