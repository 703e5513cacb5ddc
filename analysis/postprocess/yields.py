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
    """Header and rows: events of each dataset and channel after each step, unscaled."""
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


def region_yield(observable: Hist, region: str, process: str) -> tuple[float, float]:
    """Nominal yield with its statistical uncertainty; under- and overflow included.

    `observable` has the tutorial's axes.
    """
    chosen = observable[{"region": region, "process": process, "variation": NOMINAL}]
    total = chosen.sum(flow=True)
    return float(total.value), float(np.sqrt(total.variance))


def yield_table(observable: Hist, labels: Mapping[str, str]) -> Table:
    """Header and rows: nominal yield of each process in each region, total and data last."""
    regions = list(observable.axes["region"])
    present = list(observable.axes["process"]) if NOMINAL in observable.axes["variation"] else []
    simulated = [name for name in labels if name in present and name != DATA]
    rows = []
    for process in simulated:
        cells = [region_yield(observable, region, process) for region in regions]
        rows.append([process, *(measured(*cell) for cell in cells)])
    if simulated:
        totals = []
        for region in regions:
            parts = [region_yield(observable, region, process) for process in simulated]
            error = float(np.sqrt(sum(part[1] ** 2 for part in parts)))
            totals.append(measured(sum(part[0] for part in parts), error))
        rows.append(["prediction", *totals])
    if DATA in present:
        rows.append([DATA, *(f"{region_yield(observable, r, DATA)[0]:.0f}" for r in regions)])
    return ["process", *regions], rows
