"""What the figures of a fit say besides the fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Self

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from analysis.config import Binning
from analysis.datasets.processes import DATA, PROCESS_LABELS
from analysis.plotting.annotations import jets_label, run_label, run_luminosity
from analysis.plotting.style import CENTRE_OF_MASS, annotate
from analysis.postprocess.normalisation import Normalised
from analysis.presets.lesson import REGIONS
from analysis.selection.description import RegionInfo

LESSON_REGIONS = {
    region.name: RegionInfo(axis_label=region.axis_label, label=region.label) for region in REGIONS
}
"""Regions of a file that does not describe its own."""

OBSERVED = {"data": "Data", "pseudodata": "Pseudo-data", "asimov": "Asimov data"}


def channel_bins(
    channel: str, bins: int, binning: Binning | None, regions: Mapping[str, RegionInfo]
) -> tuple[NDArray[np.float64], RegionInfo | None]:
    """Edges of the bins of a fitted channel, and its region; where nobody knows them, numbers and None."""
    if binning is None or channel not in regions or bins != binning.bins:
        return np.linspace(0.5, bins + 0.5, bins + 1), None
    return np.linspace(binning.low, binning.high, binning.bins + 1), regions[channel]


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
    regions: Mapping[str, RegionInfo] = LESSON_REGIONS
    simulation: str = ""
    """Label of figures without what was observed; empty for `label`."""

    @classmethod
    def of(cls, results: Normalised, binning: Binning, observed: str) -> Self:
        labels = results.ledger.labels
        # A catalogue of simulation says that its data are pseudo-data.
        seen = OBSERVED | {"data": labels.get(DATA, OBSERVED["data"])}
        return cls(
            run_label(results, simulated=observed != "data"),
            run_luminosity(results),
            CENTRE_OF_MASS,
            f"{jets_label(results)}, ",
            labels,
            seen[observed],
            binning,
            results.description.regions,
            run_label(results, simulated=True),
        )

    def annotate(self, axes: Axes, *, labelled_above: bool = False) -> None:
        annotate(
            axes, self.label, self.luminosity, self.centre_of_mass, labelled_above=labelled_above
        )
