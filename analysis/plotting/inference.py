"""The figures of a fit: before and after it, pulls, impacts, correlations, scan, templates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import mplhep
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from analysis.config import Binning
from analysis.files import writable_folder
from analysis.inference.fit import Parameter, Yields
from analysis.inference.measurement import Measurement
from analysis.metadata import CHANNELS
from analysis.plotting.style import (
    CENTRE_OF_MASS,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    annotate,
    colours,
    save_figure,
    style,
)
from analysis.processes import PROCESS_LABELS
from analysis.regions import REGIONS
from analysis.results import Normalised

Array = NDArray[np.float64]

_UP, _DOWN = "#bd1f01", "#3f90da"
OBSERVED = {"data": "Data", "pseudodata": "Pseudo-data", "asimov": "Asimov data"}

HIGHEST = 12.0
"""-2 Δ ln L up to which a scan is shown."""
CORRELATED = 0.05
"""Parameters are shown in the matrix if any correlation of theirs is above this."""


class Caption(NamedTuple):
    """What figures say besides the fit; of a file only what is known of it."""

    label: str
    luminosity: str = ""
    centre_of_mass: str = ""
    jets: str = ""
    """The number of jets that the run asked for."""
    labels: dict[str, str] = PROCESS_LABELS
    observed: str = "Observed"
    binning: Binning | None = None
    """None: bins are numbered."""

    @classmethod
    def of(cls, results: Normalised, binning: Binning, observed: str) -> Self:
        known = results.normalisation.luminosity
        values = {f"{known[name]:.4g}" for name in CHANNELS if name in known}
        return cls(
            results.ledger.figure_label,
            "–".join(sorted(values)),
            CENTRE_OF_MASS,
            rf"$\geq$ {results.ledger.config['regions']['min_jets']} jets, ",
            results.ledger.labels,
            OBSERVED[observed],
            binning,
        )

    def annotate(self, axes: Axes) -> None:
        annotate(axes, self.label, self.luminosity, self.centre_of_mass)


def make_figures(
    measurement: Measurement, spec: dict[str, Any], caption: Caption, folder: Path
) -> list[Path]:
    """Write every figure of the fit to the folder as `fit_*`; return the files."""
    writable_folder(folder)
    paths = []
    with style():
        for name, figure in _all_figures(measurement, spec, caption):
            paths += save_figure(figure, folder, f"fit_{name}")
    return paths


def _all_figures(
    measurement: Measurement, spec: dict[str, Any], caption: Caption
) -> Iterator[tuple[str, Figure]]:
    for yields in measurement.fit.yields:
        yield f"yields_{_file(yields.channel)}", yields_figure(yields, caption)
    yield "pulls", pulls_figure(measurement, caption)
    if measurement.ranking:
        yield "ranking", ranking_figure(measurement, caption)
    yield "correlations", correlations_figure(measurement, caption)
    yield "scan", scan_figure(measurement, caption)
    for channel in spec["channels"]:
        for sample in channel["samples"]:
            if any(m["type"] == "normfactor" for m in sample["modifiers"]):
                name = f"templates_{_file(channel['name'])}_{_file(sample['name'])}"
                yield name, templates_figure(channel["name"], sample, caption)


def yields_figure(yields: Yields, caption: Caption) -> Figure:
    """Prediction and data of a channel before the fit (left) and after it, with ratios."""
    figure, axes = plt.subplots(
        2, 2, figsize=(2 * PANEL_WIDTH, PANEL_HEIGHT), sharex="col", sharey="row",
        gridspec_kw={"height_ratios": [3, 1], "hspace": 0.07, "wspace": 0.05},
    )  # fmt: skip
    figure.subplots_adjust(left=0.08, right=0.98, bottom=0.1, top=0.94)
    edges, axis_label, title = _axis(yields.channel, len(yields.data), caption)
    data = np.array(yields.data)
    for i, (name, samples, error) in enumerate(
        (("pre-fit", yields.prefit, yields.prefit_error),
         ("post-fit", yields.postfit, yields.postfit_error))
    ):  # fmt: skip
        main, ratio = axes[0, i], axes[1, i]
        total = np.sum(samples, axis=0)
        _stack(main, edges, dict(zip(yields.samples, map(np.array, samples), strict=True)), caption)
        _band(main, edges, total, np.array(error), "Uncertainty")
        _points(main, edges, data, np.ones_like(data), caption.observed)
        filled = np.where(total > 0, total, np.nan)
        _band(ratio, edges, np.ones_like(total), np.array(error) / filled)
        _points(ratio, edges, data, filled)
        main.legend(title=f"{title}, {name}", title_fontsize=13, ncols=2, loc="upper right")
        ratio.axhline(1, color="black", linewidth=1, linestyle=":")
        ratio.set_xlabel(axis_label)
        caption.annotate(main)
    highest = max(float(np.max(data)), float(np.max(np.sum(yields.prefit, axis=0))))
    highest = max(highest, float(np.max(np.sum(yields.postfit, axis=0))))
    axes[0, 0].set_xlim(edges[0], edges[-1])
    axes[0, 0].set_ylim(0, 1.9 * highest)
    axes[1, 0].set_ylim(0.5, 1.5)
    axes[0, 0].set_ylabel(_entries(edges, axis_label))
    axes[1, 0].set_ylabel("Obs. / pred.", loc="center")
    axes[1, 1].set_xlim(edges[0], edges[-1])
    return figure


def pulls_figure(measurement: Measurement, caption: Caption) -> Figure:
    """Every constrained parameter, in units of its prior error; bands of one and two of them."""
    shown = [p for p in measurement.fit.parameters if p.pull is not None and not _is_bin(p.name)]
    figure, axes = _list_axes(len(shown))
    places = np.arange(len(shown))[::-1]
    axes.axvspan(-2, 2, color="0.93")
    axes.axvspan(-1, 1, color="0.85")
    axes.axvline(0, color="black", linewidth=1, linestyle=":")
    axes.errorbar(
        [p.pull or 0.0 for p in shown], places, xerr=[p.constraint or 0.0 for p in shown], fmt="ko"
    )
    _name_rows(axes, [p.name for p in shown])
    axes.set_xlim(-3, 3)
    axes.set_xlabel(r"$(\hat{\theta} - \theta_0)\ /\ \Delta\theta$")
    caption.annotate(axes)
    return figure


def ranking_figure(measurement: Measurement, caption: Caption, most: int = 20) -> Figure:
    """Impacts on the strength, largest first: post-fit filled, pre-fit outlined; pulls on top."""
    impacts = measurement.ranking[:most]
    figure, axes = _list_axes(len(impacts), above=0.9)
    places = np.arange(len(impacts))[::-1]
    for direction, colour in (("up", _UP), ("down", _DOWN)):
        before, after = (
            [getattr(impact, f"{when}_{direction}") for impact in impacts]
            for when in ("prefit", "postfit")
        )
        axes.barh(
            places, before, 0.8, fill=False, edgecolor=colour, linewidth=1.2,
            label=f"pre-fit, {direction}",
        )  # fmt: skip
        axes.barh(places, after, 0.5, color=colour, alpha=0.75, label=f"post-fit, {direction}")
    largest = max(abs(x) for i in impacts for x in (i.prefit_up, i.prefit_down, i.size))
    axes.set_xlim(-1.15 * largest, 1.15 * largest)
    axes.xaxis.set_major_locator(MaxNLocator(5, symmetric=True))
    axes.set_xlabel(r"Impact $\Delta\hat{\mu}$")
    _name_rows(axes, [impact.name for impact in impacts])
    pulls = axes.twiny()
    by_name = {p.name: p for p in measurement.fit.parameters}
    chosen: list[Parameter] = [by_name[impact.name] for impact in impacts]
    pulls.errorbar(
        [p.pull or 0.0 for p in chosen], places, xerr=[p.constraint or 0.0 for p in chosen],
        fmt="ko", markersize=4, linewidth=1, label=r"pull $(\hat{\theta}-\theta_0)/\Delta\theta$ (top axis)",
    )  # fmt: skip
    pulls.set_xlim(-2.3, 2.3)
    for value in (-1, 1):
        pulls.axvline(value, color="0.6", linewidth=1, linestyle="--")
    handles = [*axes.get_legend_handles_labels()[0], *pulls.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, ncols=3, loc="upper center", fontsize=11)
    axes.tick_params(axis="x", which="both", top=False)
    caption.annotate(axes)
    return figure


def correlations_figure(measurement: Measurement, caption: Caption) -> Figure:
    """Correlations of the parameters, those of single bins and the nearly free ones left out."""
    names = [p.name for p in measurement.fit.parameters]
    matrix = np.array(measurement.fit.correlation)
    named = [i for i, name in enumerate(names) if not _is_bin(name)]
    others = np.abs(matrix[np.ix_(named, named)]) - np.eye(len(named))
    kept = [i for i, row in zip(named, others, strict=True) if np.max(row) > CORRELATED]
    size = 3.5 + 0.62 * len(kept)
    figure, axes = plt.subplots(figsize=(size, size - 0.3))
    figure.subplots_adjust(left=3.1 / size, right=0.97, bottom=2.7 / size, top=1 - 0.5 / size)
    image = matrix[np.ix_(kept, kept)]
    axes.imshow(image, vmin=-1, vmax=1, cmap="RdBu_r", aspect="auto")
    for (row, column), value in np.ndenumerate(image):
        colour = "white" if abs(value) > 0.7 else "black"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=9)
    labels = [names[i] for i in kept]
    axes.set_xticks(range(len(kept)), labels, rotation=45, ha="right", fontsize=11)
    axes.set_yticks(range(len(kept)), labels, fontsize=11)
    axes.minorticks_off()
    axes.tick_params(which="both", length=0)
    caption.annotate(axes)
    return figure


def scan_figure(measurement: Measurement, caption: Caption) -> Figure:
    """Profile likelihood of the strength, and the parabola of the HESSE error."""
    fit, scan = measurement.fit, measurement.scan
    figure, axes = plt.subplots(figsize=(PANEL_WIDTH, 0.85 * PANEL_HEIGHT))
    figure.subplots_adjust(left=0.13, right=0.97, bottom=0.12, top=0.93)
    values = np.array(scan.values)
    fine = np.linspace(values[0], values[-1], 200)
    axes.plot(
        fine, ((fine - fit.value) / fit.error) ** 2, "--", color=_DOWN, label="parabola (HESSE)"
    )
    axes.plot(
        values, scan.twice_delta_nll, "o-", color="black", markersize=4, label="profile likelihood"
    )
    for height, text in ((1, "68 %"), (4, "95 %")):
        axes.axhline(height, color="0.6", linewidth=1, linestyle=":")
        axes.text(fit.value, height + 0.06, text, ha="center", color="0.4", fontsize=12)
    axes.set_xlim(values[0], values[-1])
    axes.set_ylim(0, min(1.4 * max(scan.twice_delta_nll), HIGHEST))
    axes.set_xlabel(
        r"$\mu = \sigma(t\bar{t})\ /\ $" + f"{measurement.cross_section.reference:.4g} pb"
    )
    axes.set_ylabel(r"$-2\,\Delta\ln L$")
    axes.legend(loc="upper center", ncols=2)
    caption.annotate(axes)
    return figure


def templates_figure(channel: str, sample: dict[str, Any], caption: Caption) -> Figure:
    """Ratio to nominal of the varied templates of a sample, a panel a parameter."""
    varied = _varied(sample)
    nominal = np.array(sample["data"])
    edges, axis_label, title = _axis(channel, nominal.size, caption)
    columns = 3
    rows = max(-(-len(varied) // columns), 1)
    figure, axes = plt.subplots(
        rows, columns, figsize=(5 * columns, 3 * rows + 1.2), sharex=True, sharey=True, squeeze=False,
        gridspec_kw={"hspace": 0.08, "wspace": 0.05},
    )  # fmt: skip
    height = 3 * rows + 1.2
    figure.subplots_adjust(left=0.06, right=0.985, bottom=0.8 / height, top=1 - 0.5 / height)
    for panel, (name, (up, down)) in zip(axes.flat, varied.items(), strict=False):
        for ratio, colour, direction in ((up, _UP, "up"), (down, _DOWN, "down")):
            panel.stairs(ratio, edges, baseline=None, color=colour, linewidth=1.8, label=direction)
        panel.axhline(1, color="black", linewidth=1, linestyle=":")
        panel.text(0.04, 0.93, name, transform=panel.transAxes, va="top", fontsize=13)
    for panel in axes.flat[len(varied) :]:
        panel.axis("off")
    axes[0, 0].set_xlim(edges[0], edges[-1])
    axes[0, 0].set_ylim(0.5, 1.6)
    axes[0, 0].legend(loc="lower left", ncols=2)
    for panel in axes[:, 0]:
        panel.set_ylabel("Var. / nominal", loc="center", fontsize=13)
    for i in range(columns):
        last = [panel for panel in axes[:, i] if panel.axison][-1:]
        for panel in last:
            panel.set_xlabel(axis_label)
            panel.tick_params(labelbottom=True)
    annotate(axes[0, 0], caption.label, "", "")
    sample_name = caption.labels.get(sample["name"], sample["name"])
    axes[0, columns - 1].set_title(f"{sample_name}, {title}", loc="right", fontsize=14)
    return figure


def _varied(sample: dict[str, Any]) -> dict[str, tuple[Array, Array]]:
    """Parameter -> ratio to nominal, up and down; normalisation and shape together."""
    nominal = np.array(sample["data"])
    filled = np.where(nominal > 0, nominal, np.nan)
    ones = np.ones_like(nominal)
    found: dict[str, tuple[Array, Array]] = {}
    for modifier in sample["modifiers"]:
        up, down = found.get(modifier["name"], (ones, ones))
        data = modifier["data"]
        if modifier["type"] == "normsys":
            found[modifier["name"]] = up * data["hi"], down * data["lo"]
        elif modifier["type"] == "histosys":
            shapes = [np.array(data[key]) / filled for key in ("hi_data", "lo_data")]
            found[modifier["name"]] = up * shapes[0], down * shapes[1]
    return found


def _axis(channel: str, bins: int, caption: Caption) -> tuple[Array, str, str]:
    """Edges, label and title of a channel; bins are only numbered where nobody knows their edges."""
    binning = caption.binning
    if binning is None or channel not in REGIONS or bins != binning.bins:
        return np.linspace(0.5, bins + 0.5, bins + 1), "Bin", channel
    edges = np.linspace(binning.low, binning.high, binning.bins + 1)
    region = REGIONS[channel]
    return edges, region.axis_label, caption.jets + region.tags


def _entries(edges: Array, axis_label: str) -> str:
    return f"Events / {edges[1] - edges[0]:.3g} GeV" if "[GeV]" in axis_label else "Events"


def _stack(axes: Axes, edges: Array, samples: dict[str, Array], caption: Caption) -> None:
    order = sorted(samples, key=lambda name: float(np.sum(samples[name])))
    # The colours of the run's own figures, which go by the order of the labels.
    known = [name for name in caption.labels if name in samples]
    colour = colours([*known, *(name for name in samples if name not in known)])
    mplhep.histplot(
        [samples[name] for name in order],
        edges,
        stack=True,
        histtype="fill",
        color=[colour[name] for name in order],
        label=[caption.labels.get(name, name) for name in order],
        edgecolor="black",
        linewidth=0.5,
        ax=axes,
    )


def _band(axes: Axes, edges: Array, middle: Array, error: Array, label: str | None = None) -> None:
    axes.stairs(
        middle + error, edges, baseline=middle - error, fill=True, facecolor="none",
        edgecolor="0.35", hatch="/////", linewidth=0, label=label,
    )  # fmt: skip


def _points(
    axes: Axes, edges: Array, data: Array, divided_by: Array, label: str | None = None
) -> None:
    centres, errors = (edges[1:] + edges[:-1]) / 2, np.sqrt(data)
    axes.errorbar(
        centres, data / divided_by, yerr=errors / divided_by, fmt="ko", markersize=5, label=label
    )


def _list_axes(rows: int, above: float = 0.0) -> tuple[Figure, Axes]:
    """Axes with one row a parameter, and `above` inches of room over them."""
    height = 1.6 + above + 0.36 * rows
    figure, axes = plt.subplots(figsize=(1.2 * PANEL_WIDTH, height))
    top = 1 - (0.5 + above) / height
    figure.subplots_adjust(left=0.32, right=0.97, bottom=0.8 / height, top=top)
    return figure, axes


def _name_rows(axes: Axes, names: list[str]) -> None:
    places = np.arange(len(names))[::-1]
    axes.set_yticks(places, names, fontsize=12)
    axes.tick_params(axis="y", which="minor", left=False, right=False)
    axes.set_ylim(-0.7, len(names) - 0.3)


def _is_bin(name: str) -> bool:
    return name.startswith("staterror")


def _file(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name).strip("_")
