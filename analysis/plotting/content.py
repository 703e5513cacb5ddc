"""What a figure shows, in numbers and words: Matplotlib and the page draw the same.

Arrays have one entry a bin, edges one more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
from hist import Hist
from hist.intervals import poisson_interval
from numpy.typing import ArrayLike, NDArray

from analysis.common.errors import OutputError, did_you_mean
from analysis.common.names import figure_text
from analysis.datasets.processes import DATA
from analysis.datasets.sample import NOMINAL
from analysis.histograms import CONTROL
from analysis.plotting.captions import FitCaption, figure_label, jets_label, region_title
from analysis.plotting.style import colours
from analysis.postprocess.normalisation import Normalised

# They bring the libraries of fits.
if TYPE_CHECKING:
    from analysis.inference.fit import Yields
    from analysis.postprocess.sidebands.goodness import FittedBins

Array = NDArray[np.float64]


class Points(NamedTuple):
    """Contents of bins with their intervals of 68 %."""

    edges: Array
    values: Array
    low: Array
    high: Array
    """Ends of the intervals."""
    drawn: NDArray[np.bool_]
    """Bins that have entries, or where some are expected: no event seen is a measurement, too."""
    label: str = ""

    @classmethod
    def of(
        cls,
        edges: ArrayLike,
        values: ArrayLike,
        *,
        expected: ArrayLike = 0.0,
        variances: ArrayLike | None = None,
        label: str = "",
    ) -> Self:
        """Make points with Garwood's intervals (F. Garwood, Biometrika 28 (1936) 437).

        Where the `variances` are not those of counts, the intervals are ± the standard deviation.
        """
        counts = np.asarray(values, dtype=np.float64)
        low, high = np.nan_to_num(poisson_interval(counts))
        seen = counts != 0
        if variances is None or np.allclose(counts, variances):
            seen |= np.broadcast_to(np.asarray(expected) > 0, counts.shape)
        else:
            error = np.sqrt(variances)
            low, high = counts - error, counts + error
        return cls(np.asarray(edges, dtype=np.float64), counts, low, high, seen, label)

    @property
    def centres(self) -> Array:
        return (self.edges[1:] + self.edges[:-1]) / 2

    def times(self, factors: Array) -> Self:
        """Scale each bin; a bin whose factor is not finite is not drawn."""
        return self._replace(
            values=self.values * factors,
            low=self.low * factors,
            high=self.high * factors,
            drawn=self.drawn & np.isfinite(factors),
        )

    def per_first_width(self) -> Self:
        """Scale contents to the width of the first bin, in which curves are drawn."""
        widths = np.diff(self.edges)
        scale = widths[0] / widths
        return self.times(np.where(np.isclose(scale, 1), 1.0, scale))

    @property
    def highest(self) -> float:
        """Upper end of the highest interval that is drawn; 0 without any."""
        return float(np.max(self.high[self.drawn], initial=0.0))


class Part(NamedTuple):
    """A process of a stack."""

    name: str
    label: str
    """Label as Matplotlib draws it."""
    colour: str
    values: Array
    variances: Array
    events: float
    """Sum of all bins, and of what is beyond the axis."""
    varied: Mapping[str, Array] = MappingProxyType({})
    """Variation -> contents."""


ENDS = "; end bins include overflow"
"""What is said of bins that have what lies beyond the axis."""


class Stack(NamedTuple):
    """Processes on top of each other, the smallest first, and data."""

    name: str
    edges: Array
    parts: Sequence[Part]
    data: Points | None
    axis_label: str
    title: str
    """What is selected."""
    entries: str = "Events"
    """What is counted."""
    uncertainty: str = "Stat. uncertainty"
    observed: float = 0.0
    """Data of all bins, and beyond the axis."""
    overflow: bool = False
    """Whether the first and the last bin have what lies beyond the axis."""

    @property
    def total(self) -> Array:
        return _sum(self.edges, (part.values for part in self.parts))

    @property
    def error(self) -> Array:
        """Standard deviation of the total."""
        return np.sqrt(_sum(self.edges, (part.variances for part in self.parts)))

    @property
    def inverse(self) -> Array:
        """1 / total: what makes ratios; NaN where nothing is predicted."""
        return 1 / np.where(self.total > 0, self.total, np.nan)

    @property
    def per_bin(self) -> str:
        """Label of the vertical axis, with the width of the bins where the other axis has a unit."""
        return per_bin(self.edges, self.axis_label, self.entries)

    @property
    def across(self) -> str:
        """Label of the horizontal axis, with what its ends have."""
        return f"{self.axis_label}{ENDS if self.overflow else ''}"

    @property
    def highest(self) -> float:
        highest = float(np.max(self.total + self.error, initial=0.0))
        return highest if self.data is None else max(highest, self.data.highest)


def _sum(edges: Array, contents: Iterable[Array]) -> Array:
    summed_up: Array = np.sum([np.zeros(len(edges) - 1), *contents], axis=0)
    return summed_up


def per_bin(edges: Array, axis_label: str, entries: str = "Events") -> str:
    """Label an axis of contents: `Events / 20 GeV`, or `Events` for whole numbers."""
    widths = np.diff(edges)
    unit = re.search(r"\[(.+)\]$", axis_label)
    if not np.allclose(widths, widths[0]):
        return f"{entries} / bin"
    if unit is None and np.isclose(widths[0], 1):
        return entries
    return f"{entries} / {widths[0]:.3g}{'' if unit is None else f' {unit[1]}'}"


def region_stack(results: Normalised, region: str) -> Stack:
    """Prediction with its variations, and data, of a region; all channels added up.

    Raises OutputError for a region that the run does not have.
    """
    if region not in results.regions:
        msg = f"no region {region!r}: {did_you_mean(region, results.regions)}"
        raise OutputError(msg)
    content = results.regions[region]
    info = results.description.regions[region]
    contents = {name: content[{"process": name, "variation": NOMINAL}] for name in results.labels}
    varied = {
        name: {
            variation: content[{"process": name, "variation": variation}].values()
            for variation in results.normalisation.variations[name]
            if variation != NOMINAL
        }
        for name in results.labels
        if name != DATA
    }
    title = region_title(jets_label(results.ledger), figure_label(info.label))
    return _stack(results, region, contents, info.axis_label, title, varied=varied)


def control_stacks(results: Normalised, name: str) -> dict[str, Stack]:
    """Prediction and data of one control histogram: channel -> stack.

    Raises OutputError for a histogram that the run does not have.
    """
    if name not in results.histograms:
        known = [n for n in results.histograms if n.startswith(CONTROL)]
        msg = f"no control histogram {name!r}: {did_you_mean(name, known)}"
        raise OutputError(msg)
    content = results.histograms[name]
    channels = results.description.channels
    return {
        channel: _stack(
            results,
            f"{name.removeprefix(CONTROL)}, {channel}",
            {p: content[{"channel": channel, "process": p}] for p in results.labels},
            content.axes["value"].label,
            f"{figure_label(channels[channel].label)}, {jets_label(results.ledger)}",
            entries="Jets" if name == f"{CONTROL}jet_pt" else "Events",
        )
        for channel in content.axes["channel"]
    }


def _stack(
    results: Normalised,
    name: str,
    contents: Mapping[str, Hist],
    axis_label: str,
    title: str,
    *,
    varied: Mapping[str, Mapping[str, Array]] = MappingProxyType({}),
    entries: str = "Events",
) -> Stack:
    labels = results.ledger.labels
    simulated = [process for process in contents if process != DATA]
    colour = colours(simulated)
    parts = [
        Part(
            process, figure_label(labels[process]), colour[process], contents[process].values(),
            contents[process].variances(), _events(contents[process]), varied.get(process, {}),
        )
        for process in simulated
    ]  # fmt: skip
    edges = next(iter(contents.values())).axes[0].edges
    stack = Stack(
        name, edges, _smallest_first(parts), None, figure_label(axis_label), title, entries
    )
    if DATA not in contents:
        return stack
    observed, label = contents[DATA].values(), figure_label(labels[DATA])
    points = Points.of(edges, observed, expected=stack.total, label=label)
    return stack._replace(data=points, observed=_events(contents[DATA]))


def _events(content: Hist) -> float:
    return float(content.sum(flow=True).value)


def fit_stacks(yields: Yields, caption: FitCaption) -> dict[str, Stack]:
    """Prediction and data of a fitted channel, `pre-fit` and `post-fit`."""
    edges, axis_label, title = fitted_axis(yields.channel, len(yields.data), caption)
    # The colours are those of the run's own figures, which go by the order of its labels.
    known = [name for name in caption.labels if name in yields.samples]
    colour = colours([*known, *(name for name in yields.samples if name not in known)])
    stacks = {}
    for when, contents, error in (
        ("pre-fit", yields.prefit, yields.prefit_error),
        ("post-fit", yields.postfit, yields.postfit_error),
    ):
        parts = _smallest_first(
            Part(
                name,
                caption.label(name),
                colour[name],
                np.array(values),
                np.zeros(len(values)),
                sum(values),
            )
            for name, values in zip(yields.samples, contents, strict=True)
        )
        # The uncertainty is that of the sum, in which samples are correlated: one of them has it.
        parts[0] = parts[0]._replace(variances=np.square(error))
        points = Points.of(
            edges, yields.data, expected=np.sum(contents, axis=0),
            label=figure_label(caption.observed),
        )  # fmt: skip
        stacks[when] = Stack(
            yields.channel, edges, parts, points, axis_label, f"{title}, {when}",
            uncertainty="Uncertainty", observed=sum(yields.data), overflow=caption.overflow,
        )  # fmt: skip
    return stacks


def fitted_axis(channel: str, bins: int, caption: FitCaption) -> tuple[Array, str, str]:
    """Edges, axis label and title of a fitted channel; bins that nobody knows are numbered."""
    words = caption.regions.get(channel)
    binning = caption.binnings.get(channel, caption.binning)
    title = figure_text(channel)
    if words is not None:
        title = region_title(caption.jets, figure_label(words.label))
    if binning is None or bins != binning.bins:
        return np.linspace(0.5, bins + 0.5, bins + 1), "Bin", title
    label = "Observable [GeV]" if words is None else figure_label(words.axis_label)
    return np.linspace(binning.low, binning.high, binning.bins + 1), label, title


def fitted_points(bins: FittedBins, label: str = "") -> Points:
    """Points of the bins of a fit, which touch each other, in the width of the first of them."""
    edges = np.array([*bins.low, bins.high[-1]])
    points = Points.of(
        edges, bins.values, expected=bins.expected, variances=np.array(bins.variances), label=label
    )
    return points.per_first_width()


def _smallest_first(parts: Iterable[Part]) -> list[Part]:
    """Order the parts of a stack, so that the largest one stands on top of all."""
    return sorted(parts, key=lambda part: float(np.sum(part.values)))
