"""What the figures of a run say of it: whose events, and of what luminosity."""

from __future__ import annotations

from matplotlib.axes import Axes

from analysis.datasets.processes import DATA
from analysis.histograms import CONTROL
from analysis.plotting.style import annotate
from analysis.postprocess.normalisation import Normalised

CHANNEL_LABELS = {"electron": "e", "muon": r"$\mu$"}


def annotate_run(
    axes: Axes, results: Normalised, channels: list[str], *, simulated: bool = False
) -> None:
    """Whose events they are, and the luminosity of `channels`, above the axes."""
    annotate(axes, run_label(results, simulated=simulated), run_luminosity(results, channels))


def run_label(results: Normalised, *, simulated: bool = False) -> str:
    """Whose events a figure shows; `simulated` if none of them are data."""
    label = results.ledger.figure_label
    no_data = simulated or DATA not in results.labels
    if no_data and "Simulation" not in label:
        label = f"{label} Simulation"
    return label if results.normalisation.complete else f"{label}, incomplete"


def run_luminosity(results: Normalised, channels: list[str]) -> str:
    """Text in 1/pb; of each channel, where they differ."""
    known = results.normalisation.luminosity
    values = {name: f"{known[name]:.4g}" for name in channels if name in known}
    if len(set(values.values())) > 1:
        values = {name: f"{value} ({CHANNEL_LABELS[name]})" for name, value in values.items()}
    return ", ".join(dict.fromkeys(values.values()))


def jets_label(results: Normalised) -> str:
    """The number of jets that the run asked for."""
    return rf"$\geq$ {results.ledger.config['regions']['min_jets']} jets"


def control_entries(name: str) -> str:
    """What a control histogram counts."""
    return "Jets" if name == f"{CONTROL}jet_pt" else "Events"
