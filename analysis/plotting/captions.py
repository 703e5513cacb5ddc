"""What figures say of their events: whose they are, of what luminosity, and what is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType
from typing import NamedTuple, Self

from matplotlib.cbook import is_math_text
from matplotlib.mathtext import MathTextParser

from analysis.common.names import figure_text, visible
from analysis.config import Binning
from analysis.datasets.processes import DATA, PROCESS_LABELS
from analysis.execution.ledger import Ledger
from analysis.postprocess.normalisation import Normalised
from analysis.presets.lesson import REGIONS
from analysis.selection.description import RegionInfo

CENTRE_OF_MASS = "13 TeV"

OBSERVED = {"data": "Data", "pseudodata": "Pseudo-data", "asimov": "Asimov data"}


LESSON_REGIONS = {region.name: region.info for region in REGIONS}
"""Regions of a file that does not describe its own."""


class Caption(NamedTuple):
    """Words above the axes of a figure."""

    label: str
    """Whose events are shown, `CMS Open Data` for example; drawn as it is written."""
    luminosity: str = ""
    """Luminosity in 1/pb, empty if it is not known."""
    centre_of_mass: str = ""
    """Centre-of-mass energy with its unit, empty if it is not known."""


def run_caption(
    results: Normalised, channels: Iterable[str] | None = None, *, simulated: bool = False
) -> Caption:
    """Caption the figures of a run's `channels`, by default of all; `simulated` if none shows data."""
    label = results.ledger.figure_label
    if (simulated or DATA not in results.labels) and "Simulation" not in label:
        label = f"{label} Simulation"
    if not results.normalisation.complete:
        label = f"{label}, incomplete"
    return Caption(label, _luminosity(results, channels), CENTRE_OF_MASS)


def _luminosity(results: Normalised, channels: Iterable[str] | None) -> str:
    """Write the luminosity in 1/pb, of each channel where they differ."""
    described = results.description.channels
    known = results.normalisation.luminosity
    values = {n: f"{known[n]:.4g}" for n in channels or known if n in known}
    if len(set(values.values())) > 1:
        values = {
            name: f"{value} ({figure_label(described[name].label)})"
            for name, value in values.items()
        }
    return ", ".join(dict.fromkeys(values.values()))


class PeakCaption(NamedTuple):
    """What the figure of a peak says besides the fit."""

    axis_label: str
    """Label of the mass, with its unit."""
    above: Caption
    points: str = "Data"
    """What the points are."""


class FitCaption(NamedTuple):
    """What the figures of a fit say besides the fit; of a workspace, only what is known of it."""

    above: Caption
    simulation: Caption
    """Caption of figures without what was observed."""
    labels: Mapping[str, str] = PROCESS_LABELS
    observed: str = "Observed"
    binning: Binning | None = None
    """Bins of the channels; None where they are only numbered."""
    regions: Mapping[str, RegionInfo] = LESSON_REGIONS
    jets: str = ""
    """Number of jets that the run asks for."""
    binnings: Mapping[str, Binning] = MappingProxyType({})
    """Channel -> its bins, where they are not the common ones."""
    overflow: bool = False
    """Whether the first and the last bin have what lies beyond them, too."""

    @classmethod
    def of_file(
        cls,
        name: str,
        binning: Binning | None = None,
        observed: str = "workspace",
        binnings: Mapping[str, Binning] = MappingProxyType({}),
    ) -> Self:
        """Caption a fit of a file of which only the name is known."""
        above = Caption(name)
        seen = OBSERVED.get(observed, "Observed")
        return cls(above, above, binning=binning, observed=seen, binnings=binnings)

    @classmethod
    def of(
        cls,
        results: Normalised,
        binning: Binning,
        observed: str,
        binnings: Mapping[str, Binning] = MappingProxyType({}),
    ) -> Self:
        """Caption a fit of a run; `observed` is a key of `OBSERVED`."""
        labels = results.ledger.labels
        # A catalogue of simulation says that its data are pseudo-data.
        seen = OBSERVED | {"data": labels.get(DATA, OBSERVED["data"])}
        return cls(
            run_caption(results, simulated=observed != "data"),
            run_caption(results, simulated=True),
            labels,
            seen[observed],
            binning,
            results.region_infos,
            jets_label(results.ledger),
            binnings,
        )

    def label(self, sample: str) -> str:
        """Label a sample: by its process, else by its name as it is written."""
        known = self.labels.get(sample)
        return figure_text(sample) if known is None else figure_label(known)


def jets_label(ledger: Ledger) -> str:
    """Label the number of jets that a run asks for."""
    return rf"$\geq$ {ledger.config['regions']['min_jets']} jets"


def region_title(jets: str, label: str) -> str:
    """Put the number of jets that a run asks for before the label of a region, unless it has its own."""
    return label if not jets or "jet" in label else f"{jets}, {label}"


@cache
def figure_label(label: str) -> str:
    """Write a label for Matplotlib: with its mathematics if that is valid, else as it is written."""
    try:
        MathTextParser("path").parse(label)
        # A lone `$` is none, until another one comes after it in a line.
        return visible(label) if is_math_text(label) else figure_text(label)
    except ValueError:
        return figure_text(label)
