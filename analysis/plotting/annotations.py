"""What the figures of a run say of it: whose events, and of what luminosity."""

from __future__ import annotations

from matplotlib.axes import Axes

from analysis.datasets.processes import DATA
from analysis.histograms import CONTROL
from analysis.plotting.style import annotate
from analysis.postprocess.normalisation import Normalised


def annotate_run(
    axes: Axes,
    results: Normalised,
    channels: list[str] | None = None,
    *,
    simulated: bool = False,
) -> None:
    """Write whose events they are, and the luminosity of `channels` (None: all), above the axes."""
    annotate(axes, run_label(results, simulated=simulated), run_luminosity(results, channels))


def run_label(results: Normalised, *, simulated: bool = False) -> str:
    """Whose events a figure shows; `simulated` if none of them are data."""
    label = results.ledger.figure_label
    no_data = simulated or DATA not in results.labels
    if no_data and "Simulation" not in label:
        label = f"{label} Simulation"
    return label if results.normalisation.complete else f"{label}, incomplete"


def run_luminosity(results: Normalised, channels: list[str] | None = None) -> str:
    """Give the luminosity of `channels` (None: all) in 1/pb; of each, where they differ."""
    known = results.normalisation.luminosity
    values = {
        name: f"{value:.4g}"
        for name, value in known.items()
        if channels is None or name in channels
    }
    if len(set(values.values())) > 1:
        found = results.description.channels
        values = {name: f"{value} ({found[name].label})" for name, value in values.items()}
    return ", ".join(dict.fromkeys(values.values()))


def jets_label(results: Normalised) -> str:
    """The number of jets that the run asked for."""
    return rf"$\geq$ {results.ledger.config['regions']['min_jets']} jets"


def control_entries(name: str) -> str:
    """What a control histogram counts."""
    return "Jets" if name == f"{CONTROL}jet_pt" else "Events"
