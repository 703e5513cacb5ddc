"""Comparison of simulated datasets with the CMS full-simulation templates: table and figure.

Yields, per-bin ratios and chi2 of every process that the catalogue of a folder holds, normalised by
that catalogue to the luminosity of the templates. What was tuned on them agrees by construction.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.common.errors import CatalogueError
from analysis.common.files import write_text
from analysis.datasets import ntuples
from analysis.datasets.units import cross_section_pb
from analysis.postprocess.normalisation import scale_factor
from analysis.simulation import layout, reference
from analysis.simulation.observables import REGIONS, observables
from analysis.simulation.production import CATALOGUE, read_records

if TYPE_CHECKING:
    from pathlib import Path

    from analysis.datasets.ntuples import Columns

IMPORTANT = 0.02
"""Bins with more than this share of the yield are asked to agree within 10 %."""
EDGES = reference.FIRST_EDGE_GEV + reference.BIN_WIDTH_GEV * np.arange(reference.BINS + 1)
_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Template:
    """A process in a region: weighted counts, their variances, and the CMS counts."""

    process: str
    region: str
    values: _Floats
    variances: _Floats
    expected: _Floats

    @property
    def ratio(self) -> _Floats:
        """Simulation over CMS in each bin."""
        return self.values / self.expected

    @property
    def ratio_error(self) -> _Floats:
        """Statistical error of the ratio."""
        return np.sqrt(self.variances) / self.expected

    @property
    def yield_ratio(self) -> tuple[float, float]:
        """Ratio of the sums and its statistical error."""
        total = self.expected.sum()
        return float(self.values.sum() / total), float(np.sqrt(self.variances.sum()) / total)

    @property
    def chi2(self) -> tuple[float, int]:
        """Sum of squared pulls over the bins with entries, and their number; no fit."""
        filled = self.variances > 0
        pulls = (self.values - self.expected)[filled] / np.sqrt(self.variances[filled])
        return float(np.sum(pulls**2)), int(filled.sum())

    @property
    def largest_deviation(self) -> float:
        """Largest |ratio - 1| of the important bins."""
        important = self.expected > IMPORTANT * self.expected.sum()
        return float(np.max(np.abs(self.ratio - 1)[important]))


def _catalogue(folder: Path) -> dict[str, Any]:
    path = folder / CATALOGUE
    try:
        datasets = json.loads(path.read_text(encoding="utf-8"))["datasets"]
    except (OSError, ValueError, KeyError) as err:
        msg = f"{path}: no catalogue of simulated datasets ({err}); run 'simulate' first"
        raise CatalogueError(msg) from err
    return dict(datasets)


def event_weight(entry: dict[str, Any], luminosity_ipb: float) -> float:
    """Weight of each event of a catalogue entry at a luminosity."""
    return scale_factor(
        sum_of_weights=entry["sum_of_weights"],
        cross_section_pb=cross_section_pb(entry["cross_section"]),
        luminosity_ipb=luminosity_ipb,
        filter_efficiency=entry["filter_efficiency"],
        k_factor=entry["k_factor"],
    )


def _read(folder: Path, entry: dict[str, Any]) -> Columns:
    names = layout.SAMPLE_BRANCHES
    files = [folder / entry["path"] / file for file in entry["files"]]
    return ntuples.concatenate([ntuples.read(file, names) for file in files])


def _reference_name(process: str, variation: str, region: str) -> str | None:
    templates = reference.TEMPLATES[region]
    return next((n for n in (f"{process}__{variation}", process) if n in templates), None)


def templates(folder: Path) -> list[Template]:
    """Templates of all processes of `folder` that CMS templates exist for; slices are added up."""
    sums: dict[tuple[str, str], tuple[_Floats, _Floats]] = {}
    for entry in _catalogue(folder).values():
        if entry["kind"] == "collision":
            continue
        weight = event_weight(entry, reference.LUMINOSITY_IPB)
        values = observables(_read(folder, entry))
        for region in REGIONS:
            name = _reference_name(entry["process"], entry["variation"], region)
            if name is not None:
                counts = np.histogram(values[region], EDGES)[0]
                old = sums.get((name, region), (np.zeros(reference.BINS), np.zeros(reference.BINS)))
                sums[name, region] = (old[0] + weight * counts, old[1] + weight**2 * counts)
    return [
        Template(name, region, *sums[name, region], np.array(reference.TEMPLATES[region][name]))
        for name, region in sums
    ]


def _bin_table(template: Template) -> list[str]:
    rows = [
        f"### {template.process}, {template.region}",
        "",
        "| bin [GeV] | CMS | simulation | ratio |",
        "|---|---|---|---|",
    ]
    for i in range(reference.BINS):
        rows.append(
            f"| {EDGES[i]:.0f} to {EDGES[i + 1]:.0f} | {template.expected[i]:.0f} "
            f"| {template.values[i]:.0f} "
            f"| {template.ratio[i]:.2f} ± {template.ratio_error[i]:.2f} |"
        )
    return [*rows, ""]


def report(found: list[Template], folder: Path) -> str:
    """The comparison as Markdown: a summary, pre-selection efficiencies, bins of nominal ttbar."""
    lines = [
        "# Simulation and CMS full simulation (2015)",
        "",
        (
            f"Templates at {reference.LUMINOSITY_IPB} /pb, {reference.BINS} bins from "
            f"{EDGES[0]:.0f} to {EDGES[-1]:.0f} GeV. Errors are those of the simulation's statistics. "
            "Nominal ttbar was tuned on these templates: its agreement is not a validation."
        ),
        "",
        "| process | region | CMS | simulation | ratio | chi2 / bins | largest deviation |",
        "|---|---|---|---|---|---|---|",
    ]
    for t in found:
        ratio, error = t.yield_ratio
        chi2, bins = t.chi2
        lines.append(
            f"| {t.process} | {t.region} | {t.expected.sum():.0f} | {t.values.sum():.0f} "
            f"| {ratio:.3f} ± {error:.3f} | {chi2:.1f} / {bins} | {t.largest_deviation:.2f} |"
        )
    lines += [
        "",
        (
            f"Largest deviation: of the ratio from one, in bins with more than {IMPORTANT:.0%} of the "
            "yield."
        ),
        "",
        *_efficiency_table(folder),
    ]
    for t in found:
        if t.process == "ttbar__nominal":
            lines += _bin_table(t)
    return "\n".join(lines) + "\n"


def _efficiency_table(folder: Path) -> list[str]:
    rows = ["| process | pre-selection | CMS skim |", "|---|---|---|"]
    for name, record in read_records(folder).items():
        known = reference.PRESELECTION_EFFICIENCY
        expected = known.get(name, known.get(name.split("__", 1)[0]))
        if expected is not None:
            rows.append(f"| {name} | {record['selected'] / record['tried']:.3f} | {expected:.3f} |")
    return [*rows, ""] if len(rows) > 2 else []


def figure(found: list[Template], path: Path) -> Path:
    """Simulation over CMS for ttbar (nominal and variations): shapes above, ratio below."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(
        2, 2, figsize=(11, 7), sharex=True, height_ratios=(3, 1.3), layout="constrained"
    )
    labels = {"4j1b": "$H_T$ [GeV]", "4j2b": "trijet mass [GeV]"}
    for column, region in enumerate(REGIONS):
        upper, lower = axes[0][column], axes[1][column]
        for t in found:
            if t.region == region and t.process in ("ttbar__nominal", "wjets"):
                _draw(t, upper, lower)
        upper.set_title(f"{region}, {reference.LUMINOSITY_IPB} /pb")
        upper.set_ylabel("events / 40 GeV")
        upper.set_ylim(0, 1.4 * upper.get_ylim()[1])
        upper.legend(frameon=False, fontsize="small")
        lower.axhspan(0.9, 1.1, color="0.9")
        lower.axhline(1, color="0.5", lw=1)
        lower.set(ylim=(0.5, 1.5), xlabel=labels[region], ylabel="simulation / CMS")
    fig.savefig(path, dpi=120)
    plt.close(fig)
    return path


COLOURS = {"ttbar__nominal": "#3f90da", "wjets": "#e76300"}  # of the CMS colour-blind-safe cycle


def _draw(t: Template, upper: Any, lower: Any) -> None:
    colour = COLOURS[t.process]
    centres = (EDGES[1:] + EDGES[:-1]) / 2
    upper.stairs(t.expected, EDGES, color=colour, lw=2, label=f"{t.process}, CMS full simulation")
    upper.errorbar(
        centres,
        t.values,
        np.sqrt(t.variances),
        fmt="o",
        color=colour,
        label=f"{t.process}, this simulation",
    )
    lower.errorbar(centres, t.ratio, t.ratio_error, fmt="o", color=colour)


def validate(folder: Path) -> list[Path]:
    """Compare the datasets of `folder` with CMS; write and return `validation.md`, `.png`."""
    found = templates(folder)
    if not found:
        msg = f"{folder / CATALOGUE}: none of its datasets has a CMS template to compare with"
        raise CatalogueError(msg)
    table = folder / "validation.md"
    write_text(table, report(found, folder))
    return [table, figure(found, folder / "validation.png")]
