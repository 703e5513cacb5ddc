"""Charts of distributions: the regions with their variations, control plots, the fitted regions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from analysis.common.names import file_names, source
from analysis.common.tables import Row, measured
from analysis.histograms import CONTROL
from analysis.inference.fit import Yields
from analysis.plotting.captions import FitCaption
from analysis.plotting.content import Stack, control_stacks, fit_stacks, region_stack
from analysis.plotting.style import colours
from analysis.postprocess.normalisation import Normalised
from analysis.report.charts import PROCESSES, VARIATIONS, Box, Chart, plain
from analysis.report.stacks import variations_of, vega_stack

SEEN_ON_THE_STACK = 2
"""Colour of the palette from which on lines are seen on the signal and on the grey band."""


def region_charts(results: Normalised) -> list[Chart]:
    """Chart prediction, data and variations of each region, all channels added up."""
    if not results.labels:
        return []
    regions = list(results.regions)
    names = file_names(("region", region) for region in regions)
    return [
        _region_chart(name, region_stack(results, region))
        for name, region in zip(names, regions, strict=True)
    ]


def _region_chart(name: str, stack: Stack) -> Chart:
    varied = variations_of(stack)
    sources: dict[str, list[str]] = {}
    for i, variation in enumerate(varied):
        sources.setdefault(source(variation), []).append(f"v{i}")
    colour = colours(list(sources), SEEN_ON_THE_STACK)
    axis, title = plain(stack.axis_label), plain(stack.title)
    return Chart(
        name=name,
        title=f"{stack.name}: {_quantity(axis)}, {title}",
        description=_description(stack),
        specs={"": vega_stack(stack, colour)},
        header=[
            "from",
            "to",
            *(plain(p.label) for p in reversed(stack.parts)),
            "prediction",
            *_data(stack),
        ],
        rows=_rows(stack),
        boxes={
            PROCESSES: _process_boxes(stack),
            VARIATIONS: [
                Box(keys, name, colour[name], checked=False) for name, keys in sources.items()
            ],
        },
        zooms=True,
    )


def control_chart(results: Normalised) -> Chart | None:
    """Chart all control histograms in one figure, to choose from; None without any."""
    controls = [name for name in results.histograms if name.startswith(CONTROL)]
    if not results.labels or not controls:
        return None
    stacks = {
        f"{_quantity(plain(stack.axis_label))}, {channel}": stack
        for name in controls
        for channel, stack in control_stacks(results, name).items()
    }
    first = next(iter(stacks.values()))
    # One order of all, as they share their check boxes.
    names = [part.name for part in first.parts]
    ordered = {
        choice: stack._replace(parts=sorted(stack.parts, key=lambda part: names.index(part.name)))
        for choice, stack in stacks.items()
    }
    rows: list[Row] = [
        [
            choice,
            measured(_expected(stack)),
            *([] if stack.data is None else [f"{stack.observed:.0f}"]),
        ]
        for choice, stack in ordered.items()
    ]
    points = "" if first.data is None else f" and {plain(first.data.label).lower()}"
    return Chart(
        name="control",
        title="Control distributions, before b tagging",
        description=f"Prediction{points} of {len(controls)} quantities in each channel.",
        specs={choice: vega_stack(stack) for choice, stack in ordered.items()},
        header=["quantity, channel", "prediction", *_data(first)],
        rows=rows,
        boxes={PROCESSES: _process_boxes(first)},
        zooms=True,
    )


def fit_charts(fitted: Sequence[Yields], caption: FitCaption) -> list[Chart]:
    """Chart the fitted channels."""
    names = file_names(("fit", yields.channel) for yields in fitted)
    return [_fit_chart(name, y, caption) for name, y in zip(names, fitted, strict=True)]


def _fit_chart(name: str, yields: Yields, caption: FitCaption) -> Chart:
    """Chart prediction and data of a fitted channel, before and after the fit."""
    stacks = fit_stacks(yields, caption)
    before, after = stacks["pre-fit"], stacks["post-fit"]
    edges = after.edges
    rows: list[Row] = [
        [f"{low:g}", f"{high:g}", measured(*early), measured(*late), f"{seen:.0f}"]
        for low, high, early, late, seen in zip(
            edges[:-1], edges[1:], zip(before.total, before.error, strict=True),
            zip(after.total, after.error, strict=True), yields.data, strict=True,
        )
    ]  # fmt: skip
    unit = _unit(after)
    where = "" if after.axis_label == "Bin" else f" from {edges[0]:g} to {edges[-1]:g}{unit}"
    description = (
        f"{yields.channel}{where}: {np.sum(before.total):.0f} ± {yields.prefit_total_error:.0f} events expected "
        f"before the fit, {np.sum(after.total):.0f} ± {yields.postfit_total_error:.0f} after it, "
        f"{sum(yields.data):.0f} observed."
    )
    return Chart(
        name=name,
        title=f"{yields.channel}, before and after the fit",
        description=description,
        specs={"after the fit": vega_stack(after), "before the fit": vega_stack(before)},
        header=["from", "to", "pre-fit", "post-fit", "observed"],
        rows=rows,
        legend={plain(part.label): part.colour for part in reversed(after.parts)},
        zooms=True,
    )


def elsewhere_chart(elsewhere: Mapping[str, Sequence[Yields]], caption: FitCaption) -> Chart | None:
    """Chart all channels that are not fitted in one figure, to choose from; None without any."""
    fitted = [yields for channels in elsewhere.values() for yields in channels]
    if not fitted:
        return None
    stacks = {
        f"{_quantity(plain(after.axis_label))}, {plain(after.title)}": after
        for after in (fit_stacks(yields, caption)["post-fit"] for yields in fitted)
    }
    rows: list[Row] = [
        [
            choice,
            measured(np.sum(yields.prefit), yields.prefit_total_error),
            measured(np.sum(yields.postfit), yields.postfit_total_error),
            f"{sum(yields.data):.0f}",
        ]
        for choice, yields in zip(stacks, fitted, strict=True)
    ]
    first = next(iter(stacks.values()))
    return Chart(
        name="elsewhere",
        title="Observables that are not fitted, after the fit",
        description=f"Prediction and observation of {len(stacks)} distributions. Every parameter has its value, "
        "error and correlations of the fit; the statistics of the simulation in these bins are not of it.",
        specs={choice: vega_stack(stack) for choice, stack in stacks.items()},
        header=["quantity, channel", "pre-fit", "post-fit", "observed"],
        rows=rows,
        legend={plain(part.label): part.colour for part in reversed(first.parts)},
        zooms=True,
    )


def _quantity(axis_label: str) -> str:
    """Name what an axis shows, without its unit."""
    return axis_label.partition(" [")[0]


def _process_boxes(stack: Stack) -> list[Box]:
    """Check boxes of the processes, the largest first, as they stand in the stack from above."""
    boxes = [
        Box([f"p{i}"], plain(part.label), part.colour, checked=True)
        for i, part in enumerate(stack.parts)
    ]
    return boxes[::-1]


def _data(stack: Stack) -> list[str]:
    return [] if stack.data is None else [plain(stack.data.label)]


def _expected(stack: Stack) -> float:
    return sum(part.events for part in stack.parts)


def _rows(stack: Stack) -> list[Row]:
    """Contents of each bin: of the processes, the largest first, of their sum, and of the data."""
    columns = [part.values for part in reversed(stack.parts)]
    rows: list[Row] = []
    for i, total in enumerate(stack.total):
        cells = [measured(float(v)) for v in [*(column[i] for column in columns), total]]
        if stack.data is not None:
            cells.append(f"{stack.data.values[i]:.0f}")
        rows.append([f"{stack.edges[i]:g}", f"{stack.edges[i + 1]:g}", *cells])
    return rows


def _unit(stack: Stack) -> str:
    """Take the unit after a space of an axis, ` GeV` of `$H_T$ [GeV]`; empty without one."""
    found = re.search(r" \[([^]]*)\]$", stack.axis_label)
    return f" {plain(found[1])}" if found else ""


def _description(stack: Stack) -> str:
    total = _expected(stack)
    text = f"{stack.name}: {total:.0f} events expected"
    if total > 0:
        largest = stack.parts[-1]
        text += f", {largest.events / total:.0%} of them {plain(largest.label)}"
    if stack.data is not None:
        data = stack.data
        fullest = data.centres[int(np.argmax(data.values))]
        text += (
            f"; {stack.observed:.0f} in {plain(data.label).lower()}, the fullest bin at "
            f"{fullest:.4g}{_unit(stack)}"
        )
    return f"{text}. Events beyond the axis are counted."
