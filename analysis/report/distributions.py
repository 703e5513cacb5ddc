"""Charts of distributions: the regions with their variations, control plots, the fitted regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from hist import Hist
from numpy.typing import NDArray

from analysis.common.tables import Row
from analysis.config import Binning
from analysis.datasets.processes import DATA
from analysis.datasets.sample import NOMINAL
from analysis.histograms import CONTROL
from analysis.inference.fit import Yields
from analysis.plotting.annotations import control_entries
from analysis.plotting.captions import channel_bins
from analysis.plotting.style import colours, colours_of_samples, events_per_bin
from analysis.postprocess.normalisation import Normalised
from analysis.report.charts import PROCESSES, VARIATIONS, Box, Chart
from analysis.report.stacks import Bin, Look, data_rows, stack
from analysis.report.text import plain
from analysis.selection.description import RegionInfo
from analysis.selection.variations import source

Array = NDArray[np.float64]

LINE_COLOURS = (
    "#ffa90e", "#3f90da", "#832db6", "#92dadd", "#e76300", "#b9ac70", "#a96b59", "#94a4a2", "#717581",
    "#bd1f01",
)  # fmt: skip
"""Of variations: first those that are seen on the red of the signal and on the grey band."""


def region_charts(results: Normalised) -> list[Chart]:
    """Prediction, data and variations of each region, both channels added up."""
    names = list(results.labels)
    if not names:
        return []
    return [
        _region_chart(results, observable, region, names)
        for region, observable in results.regions.items()
    ]


def _region_chart(results: Normalised, observable: Hist, region: str, names: list[str]) -> Chart:
    nominal = {name: observable[{"process": name, "variation": NOMINAL}] for name in names}
    edges = observable.axes["observable"].edges
    simulated, colour = _ordered(nominal, results)
    bins = []
    sources: dict[str, list[str]] = {}
    for name in simulated:
        varied = {}
        for variation in results.normalisation.variations[name]:
            if variation != NOMINAL:
                where = {"process": name, "variation": variation}
                varied[variation] = observable[where].values()
                known = sources.setdefault(source(variation), [])
                if variation not in known:
                    known.append(variation)
        bins += _bins(name, plain(results.ledger.labels[name]), nominal[name], varied)
    variation_colours = dict(zip(sources, cycle(LINE_COLOURS), strict=False))
    points = plain(results.ledger.labels.get(DATA, "Data"))
    observed = data_rows(edges, nominal[DATA].values()) if DATA in nominal else []
    info = results.description.regions[region]
    axis = plain(info.axis_label)
    look = Look(
        _limits(edges), colour, axis, events_per_bin(edges, axis), points, sources=variation_colours
    )
    variations = [
        Box(sources[name], name, variation_colours[name], checked=False) for name in sources
    ]
    header, rows = _table(edges, nominal, simulated, results)
    tags = plain(info.label)
    return Chart(
        name=region,
        title=f"{region}: {axis.removesuffix(' [GeV]')}, {tags}",
        description=_description(region, nominal, simulated, results.ledger.labels),
        specs={"": stack(bins, observed, look)},
        header=header,
        rows=rows,
        boxes={
            PROCESSES: _process_boxes(simulated, colour, results.ledger.labels),
            VARIATIONS: variations,
        },
        zooms=True,
    )


def control_chart(results: Normalised) -> Chart | None:
    """All control histograms in one chart, to choose from; None without any."""
    names = list(results.labels)
    controls = [name for name in results.histograms if name.startswith(CONTROL)]
    if not names or not controls:
        return None
    points = plain(results.ledger.labels.get(DATA, "Data"))
    specs = {}
    rows: list[Row] = []
    drawn: list[str] = []
    colour: dict[str, str] = {}
    for control in controls:
        for channel in results.description.channels:
            content = results.histograms[control]
            parts = {name: content[{"channel": channel, "process": name}] for name in names}
            edges = content.axes["value"].edges
            simulated, _ = _ordered(parts, results)
            if not colour:
                drawn, colour = _ordered(parts, results)
            axis = plain(content.axes["value"].label)
            bins = [
                b
                for name in drawn
                for b in _bins(name, plain(results.ledger.labels[name]), parts[name], {})
            ]
            observed = data_rows(edges, parts[DATA].values()) if DATA in parts else []
            choice = f"{axis.removesuffix(' [GeV]')}, {channel}"
            look = Look(_limits(edges), colour, axis, control_entries(control), points)
            specs[choice] = stack(bins, observed, look)
            predicted = sum(float(parts[name].sum(flow=True).value) for name in simulated)
            found = f"{parts[DATA].sum(flow=True).value:.0f}" if DATA in parts else "-"
            rows.append([choice, f"{predicted:.1f}", found])
    return Chart(
        name="control",
        title="Control distributions, before b tagging",
        description=f"Prediction and {points.lower()} of {len(controls)} quantities in each channel.",
        specs=specs,
        header=["quantity, channel", "prediction", points],
        rows=rows,
        boxes={PROCESSES: _process_boxes(drawn, colour, results.ledger.labels)},
        zooms=True,
    )


def fit_chart(
    yields: Yields,
    labels: Mapping[str, str],
    binning: Binning | None,
    regions: Mapping[str, RegionInfo],
) -> Chart:
    """Prediction and data of a fitted channel, before and after the fit."""
    edges, axis = _axis(yields, binning, regions)
    specs = {}
    palette = colours_of_samples(yields.samples, labels)
    sums = dict(zip(yields.samples, map(sum, yields.postfit), strict=True))
    order = sorted(sums, key=lambda name: sums[name])
    for when, contents, error in (
        ("after the fit", yields.postfit, yields.postfit_error),
        ("before the fit", yields.prefit, yields.prefit_error),
    ):
        bins = [
            # The uncertainty is that of the sum; it is given to the first sample, once.
            Bin(name, plain(labels.get(name, name)), low, high, events,
                wrong**2 if name == order[0] else 0.0)
            for name, values in zip(yields.samples, contents, strict=True)
            for low, high, events, wrong in zip(edges[:-1], edges[1:], values, error, strict=True)
        ]  # fmt: skip
        shown = {name: palette[name] for name in order}
        look = Look(_limits(edges), shown, axis, events_per_bin(edges, axis), "Observed")
        specs[when] = stack(bins, data_rows(edges, yields.data), look)
    before, after = (np.sum(part, axis=0) for part in (yields.prefit, yields.postfit))
    rows: list[Row] = [
        [f"{edges[i]:.0f}", f"{edges[i + 1]:.0f}",
         f"{before[i]:.1f} ± {yields.prefit_error[i]:.1f}",
         f"{after[i]:.1f} ± {yields.postfit_error[i]:.1f}", f"{yields.data[i]:.0f}"]
        for i in range(len(yields.data))
    ]  # fmt: skip
    where = "" if axis == "Bin" else f" from {edges[0]:g} to {edges[-1]:g} GeV"
    description = (
        f"{yields.channel}{where}: {sum(before):.0f} ± {yields.prefit_total_error:.0f} events expected "
        f"before the fit, {sum(after):.0f} ± {yields.postfit_total_error:.0f} after it, "
        f"{sum(yields.data):.0f} observed."
    )
    return Chart(
        name=f"fit-{_name(yields.channel)}",
        title=f"{yields.channel}, before and after the fit",
        description=description,
        specs=specs,
        header=["from", "to", "pre-fit", "post-fit", "observed"],
        rows=rows,
        legend={plain(labels.get(name, name)): palette[name] for name in reversed(order)},
        zooms=True,
    )


def _axis(
    yields: Yields, binning: Binning | None, regions: Mapping[str, RegionInfo]
) -> tuple[Array, str]:
    """Edges and label of a fitted channel."""
    edges, region = channel_bins(yields.channel, len(yields.data), binning, regions)
    return edges, "Bin" if region is None else plain(region.axis_label)


def _limits(edges: Array) -> tuple[float, float]:
    return float(edges[0]), float(edges[-1])


def _ordered(parts: Mapping[str, Hist], results: Normalised) -> tuple[list[str], dict[str, str]]:
    """Simulated processes, smallest first, and their colours: those of the run's other figures."""
    simulated = [name for name in results.labels if name != DATA]
    palette = colours(simulated)
    order = sorted(simulated, key=lambda name: float(parts[name].sum().value))
    return order, {name: palette[name] for name in order}


def _bins(name: str, label: str, content: Hist, varied: Mapping[str, Array]) -> list[Bin]:
    edges = content.axes[0].edges
    return [
        Bin(
            name, label, low, high, float(value), float(variance),
            {variation: float(values[i]) for variation, values in varied.items()},
        )
        for i, (low, high, value, variance) in enumerate(
            zip(edges[:-1], edges[1:], content.values(), content.variances(), strict=True)
        )
    ]  # fmt: skip


def _process_boxes(
    simulated: Sequence[str], colour: Mapping[str, str], labels: Mapping[str, str]
) -> list[Box]:
    """Largest first, as they stand in the stack from above."""
    return [
        Box([name], plain(labels[name]), colour[name], checked=True) for name in reversed(simulated)
    ]


def _table(
    edges: Array, parts: Mapping[str, Hist], simulated: Sequence[str], results: Normalised
) -> tuple[Row, list[Row]]:
    shown = list(reversed(simulated))
    labels = [plain(results.ledger.labels[name]) for name in shown]
    header = ["from", "to", *labels, "prediction"]
    data = parts.get(DATA)
    if data is not None:
        header.append(plain(results.ledger.labels[DATA]))
    rows: list[Row] = []
    for i in range(len(edges) - 1):
        values = [float(parts[name].values()[i]) for name in shown]
        row = [f"{edges[i]:g}", f"{edges[i + 1]:g}", *(f"{v:.1f}" for v in [*values, sum(values)])]
        rows.append(row if data is None else [*row, f"{data.values()[i]:.0f}"])
    return header, rows


def _description(
    region: str, parts: Mapping[str, Hist], simulated: Sequence[str], labels: Mapping[str, str]
) -> str:
    total = sum(float(parts[name].sum(flow=True).value) for name in simulated)
    text = f"{region}: {total:.0f} events expected"
    if simulated and total > 0:
        largest = simulated[-1]
        part = float(parts[largest].sum(flow=True).value) / total
        text += f", {part:.0%} of them {plain(labels[largest])}"
    if DATA in parts:
        data = parts[DATA]
        text += f"; {data.sum(flow=True).value:.0f} in {plain(labels[DATA]).lower()}"
        centre = data.axes[0].centers[int(np.argmax(data.values()))]
        text += f", the fullest bin at {centre:.0f} GeV"
    return f"{text}. Events beyond the axis are counted."


def _name(text: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in text)
