"""The figures of a fit's parameters: pulls, impacts, correlations, and the scan of the strength."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.common.names import figure_text
from analysis.inference.config import TTBAR
from analysis.inference.fit import Parameter
from analysis.inference.measurement import Measurement
from analysis.plotting.captions import FitCaption
from analysis.plotting.style import DOWN, UP, annotate, new_figure, one_panel

HIGHEST = 12.0
"""-2 Δ ln L up to which a scan is shown."""
PULLS_SHOWN = 3.0
"""Up to where an axis of pulls goes at least, in standard deviations."""
MOST_IMPACTS = 20
"""Parameters of a ranking that are shown."""
CORRELATED = 0.05
"""Parameters are shown in the matrix if any correlation of theirs is above this."""


def reach(parameters: Sequence[Parameter], least: float) -> float:
    """Where an axis ends that shows every pull with its error: `least`, or further out."""
    ends = [abs(p.pull) + (p.constraint or 0.0) for p in parameters if p.pull is not None]
    return max(least, 1.05 * max(ends, default=0.0))


def pulls_figure(measurement: Measurement, caption: FitCaption) -> Figure:
    """Every constrained parameter, in units of its prior error; bands of one and two of them."""
    shown = [
        p for p in measurement.fit.parameters if p.pull is not None and not is_of_one_bin(p.name)
    ]
    figure, axes = _list_axes([p.name for p in shown])
    places = np.arange(len(shown))[::-1]
    axes.axvspan(-2, 2, color="0.93")
    axes.axvspan(-1, 1, color="0.85")
    axes.axvline(0, color="black", linewidth=1, linestyle=":")
    axes.errorbar(
        [p.pull or 0.0 for p in shown], places, xerr=[p.constraint or 0.0 for p in shown], fmt="ko"
    )
    furthest = reach(shown, PULLS_SHOWN)
    axes.set_xlim(-furthest, furthest)
    axes.set_xlabel(r"$(\hat{\theta} - \theta_0)\ /\ \Delta\theta$")
    annotate(axes, caption.above)
    return figure


def ranking_figure(measurement: Measurement, caption: FitCaption) -> Figure:
    """Impacts on the strength, largest first: post-fit filled, pre-fit outlined; pulls on top."""
    impacts = measurement.ranking[:MOST_IMPACTS]
    figure, axes = _list_axes(
        [i.name if i.known else f"{i.name} (not known)" for i in impacts], above=0.9
    )
    places = np.arange(len(impacts))[::-1]
    for direction, colour in (("up", UP), ("down", DOWN)):
        before, after = (
            np.array([getattr(impact, f"{when}_{direction}") for impact in impacts], dtype=float)
            for when in ("prefit", "postfit")
        )
        axes.barh(
            places, before, 0.8, fill=False, edgecolor=colour, linewidth=1.2,
            label=f"pre-fit, {direction}",
        )  # fmt: skip
        axes.barh(places, after, 0.5, color=colour, alpha=0.75, label=f"post-fit, {direction}")
    largest = max(
        abs(x or 0.0) for i in impacts for x in (i.prefit_up, i.prefit_down, i.size)
    ) or 1.0  # fmt: skip
    axes.set_xlim(-1.15 * largest, 1.15 * largest)
    axes.xaxis.set_major_locator(MaxNLocator(5, symmetric=True))
    axes.set_xlabel(r"Impact $\Delta\hat{\mu}$")
    pulls = axes.twiny()
    by_name = {p.name: p for p in measurement.fit.parameters}
    chosen: list[Parameter] = [by_name[impact.name] for impact in impacts]
    pulls.errorbar(
        [p.pull or 0.0 for p in chosen], places, xerr=[p.constraint or 0.0 for p in chosen],
        fmt="ko", markersize=4, linewidth=1, label=r"pull $(\hat{\theta}-\theta_0)/\Delta\theta$ (top axis)",
    )  # fmt: skip
    furthest = reach(chosen, 2.3)
    pulls.set_xlim(-furthest, furthest)
    for value in (-1, 1):
        pulls.axvline(value, color="0.6", linewidth=1, linestyle="--")
    handles = [*axes.get_legend_handles_labels()[0], *pulls.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, ncols=3, loc="upper center", fontsize=11)
    axes.tick_params(axis="x", which="both", top=False)
    annotate(axes, caption.above, rise=30)
    return figure


def correlations_figure(measurement: Measurement, caption: FitCaption) -> Figure:
    """Correlations of the parameters, those of single bins and the nearly free ones left out."""
    names = [p.name for p in measurement.fit.parameters]
    matrix = np.array(measurement.fit.correlation)
    named = [i for i, name in enumerate(names) if not is_of_one_bin(name)]
    others = np.abs(matrix[np.ix_(named, named)]) - np.eye(len(named))
    kept = [i for i, row in zip(named, others, strict=True) if np.max(row) > CORRELATED]
    kept = kept or named[:1]
    labels = [figure_text(names[i]) for i in kept]
    beside = _room(labels, 11)
    size = beside + 0.4 + 0.62 * len(kept)
    below = max(0.87 * beside, 0.6)
    figure = new_figure(
        size, size - 0.3, left=beside / size, right=0.97, bottom=below / size, top=1 - 0.5 / size
    )
    axes = figure.subplots()
    image = matrix[np.ix_(kept, kept)]
    axes.imshow(image, vmin=-1, vmax=1, cmap="RdBu_r", aspect="auto")
    for (row, column), value in np.ndenumerate(image):
        colour = "white" if abs(value) > 0.7 else "black"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(len(kept)), labels, rotation=45, ha="right", fontsize=11)
    axes.set_yticks(range(len(kept)), labels, fontsize=11)
    axes.minorticks_off()
    axes.tick_params(which="both", length=0)
    annotate(axes, caption.above)
    return figure


def scan_figure(measurement: Measurement, caption: FitCaption) -> Figure:
    """Draw the profile likelihood of the strength, and the parabola of the error."""
    fit, scan = measurement.fit, measurement.scan
    figure, axes = one_panel()
    values = np.array(scan.values)
    fine = np.linspace(values[0], values[-1], 200)
    axes.plot(fine, ((fine - fit.value) / fit.error) ** 2, "--", color=DOWN, label="parabola")
    axes.plot(
        values, scan.twice_delta_nll, "o-", color="black", markersize=4, label="profile likelihood"
    )
    for height, text in ((1, "68 %"), (4, "95 %")):
        axes.axhline(height, color="0.6", linewidth=1, linestyle=":")
        axes.text(fit.value, height + 0.06, text, ha="center", color="0.4", fontsize=12)
    axes.set_xlim(values[0], values[-1])
    axes.set_ylim(0, min(1.4 * max(scan.twice_delta_nll), HIGHEST))
    quantity = (
        r"$\sigma(t\bar{t})$" if measurement.signal == TTBAR else figure_text(measurement.quantity)
    )
    axes.set_xlabel(rf"$\mu$ = {quantity} / {measurement.cross_section.reference:.4g} pb")
    axes.set_ylabel(r"$-2\,\Delta\ln L$")
    axes.legend(loc="upper center", ncols=2)
    annotate(axes, caption.above)
    return figure


def _list_axes(names: Sequence[str], above: float = 0.0) -> tuple[Figure, Axes]:
    """Open a figure with a row for each name, the first on top, and `above` inches over them."""
    labels = [figure_text(name) for name in names]
    beside = _room(labels, 12)
    width, height = beside + 6.1, 1.6 + above + 0.36 * len(labels)
    top = 1 - (0.5 + above) / height
    figure = new_figure(
        width, height, left=beside / width, right=0.97, bottom=0.8 / height, top=top
    )
    axes = figure.subplots()
    axes.set_yticks(np.arange(len(labels))[::-1], labels, fontsize=12)
    axes.tick_params(axis="y", which="minor", left=False, right=False)
    axes.set_ylim(-0.7, len(labels) - 0.3)
    return figure, axes


def _room(labels: Sequence[str], size: float) -> float:
    """Compute the inches that labels of this size in points need beside an axis."""
    return 0.3 + 0.0078 * size * max(map(len, labels), default=0)


def is_of_one_bin(name: str) -> bool:
    """Whether the parameter is the statistical error of the simulation in a bin."""
    return name.startswith("staterror")
