"""Comparison of simulated datasets with the CMS full-simulation templates: table and figure.

Yields, per-bin ratios and chi2 of every process that the catalogue of a folder holds, normalised by
that catalogue to the luminosity of the templates. What was tuned on them agrees by construction.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.common.errors import CatalogueError
from analysis.common.files import write_text
from analysis.common.tables import markdown
from analysis.datasets import ntuples
from analysis.datasets.catalogue import Catalogue, Dataset
from analysis.postprocess.normalisation import scale_factor
from analysis.simulation import layout
from analysis.simulation.observables import REGIONS, observables
from analysis.simulation.production import CATALOGUE, read_records
from analysis.simulation.reference import reference

IMPORTANT = 0.02
"""Bins with more than this share of the yield are asked to agree within 10 %."""
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


def event_weight(dataset: Dataset, luminosity_ipb: float) -> float:
    """Compute the weight of each event of a dataset at a luminosity.

    Raises CatalogueError where its cross section or sum of weights is not known.
    """
    if dataset.cross_section is None or dataset.sum_of_weights is None:
        msg = f"{dataset.path}: cross section or sum of weights not known: run 'simulate' first"
        raise CatalogueError(msg)
    return scale_factor(
        sum_of_weights=dataset.sum_of_weights,
        cross_section_pb=dataset.cross_section,
        luminosity_ipb=luminosity_ipb,
        filter_efficiency=dataset.filter_efficiency,
        k_factor=dataset.k_factor,
    )


def templates(folder: Path) -> list[Template]:
    """Fill the templates of all processes of `folder` that CMS templates exist for; slices are added up.

    Raises CatalogueError without a catalogue of simulated datasets.
    """
    cms = reference()
    none = np.zeros(len(cms.edges_gev) - 1)
    sums: dict[tuple[str, str], tuple[_Floats, _Floats]] = {}
    catalogue = Catalogue.load(folder / CATALOGUE)
    for name, dataset in catalogue.datasets.items():
        if not dataset.is_simulation:
            continue
        weight = event_weight(dataset, cms.luminosity_ipb)
        files = [Path(file.url) for file in catalogue.files_of(name)]
        read = [ntuples.read(file, layout.SAMPLE_BRANCHES) for file in files]
        values = observables(ntuples.concatenate(read))
        for region in REGIONS:
            known = cms.templates[region]
            alike = (f"{dataset.process}__{dataset.variation}", dataset.process)
            if key := next((name for name in alike if name in known), None):
                counts = np.histogram(values[region], cms.edges_gev)[0]
                old = sums.get((key, region), (none, none))
                sums[key, region] = (old[0] + weight * counts, old[1] + weight**2 * counts)
    return [
        Template(process, region, *found, np.array(cms.templates[region][process]))
        for (process, region), found in sums.items()
    ]


def _bin_table(template: Template) -> list[str]:
    edges = reference().edges_gev
    rows = [
        [
            f"{low:.0f} to {high:.0f}",
            f"{template.expected[i]:.0f}",
            f"{template.values[i]:.0f}",
            f"{template.ratio[i]:.2f} ± {template.ratio_error[i]:.2f}",
        ]
        for i, (low, high) in enumerate(itertools.pairwise(edges))
    ]
    header = ["bin [GeV]", "CMS", "simulation", "ratio"]
    return [f"### {template.process}, {template.region}\n", markdown(header, rows)]


def report(found: list[Template], folder: Path) -> str:
    """Write the comparison as Markdown: a summary, pre-selection efficiencies, bins of nominal ttbar."""
    cms = reference()
    header = ["process", "region", "CMS", "simulation", "ratio", "chi2 / bins", "largest deviation"]
    rows = []
    for t in found:
        (ratio, error), (chi2, bins) = t.yield_ratio, t.chi2
        counts = [f"{t.expected.sum():.0f}", f"{t.values.sum():.0f}", f"{ratio:.3f} ± {error:.3f}"]
        worst = f"{t.largest_deviation:.2f}"
        rows.append([t.process, t.region, *counts, f"{chi2:.1f} / {bins}", worst])
    lines = [
        "# Simulation and CMS full simulation (2015)\n",
        (
            f"Templates at {cms.luminosity_ipb} /pb, {len(cms.edges_gev) - 1} bins from "
            f"{cms.edges_gev[0]:.0f} to {cms.edges_gev[-1]:.0f} GeV. Errors are those of the simulation's "
            "statistics. Nominal ttbar was tuned on these templates: its agreement is not a validation.\n"
        ),
        markdown(header, rows),
        f"Largest deviation: of the ratio from one, in bins with more than {IMPORTANT:.0%} of the yield.\n",
        *_efficiency_table(folder),
    ]
    for t in found:
        if t.process == "ttbar__nominal":
            lines += _bin_table(t)
    return "\n".join(lines)


def _efficiency_table(folder: Path) -> list[str]:
    known = reference().preselection_efficiency
    rows = []
    for name, record in read_records(folder).items():
        expected = known.get(name, known.get(name.split("__", 1)[0]))
        if expected is not None:
            rows.append([name, f"{record['selected'] / record['tried']:.3f}", f"{expected:.3f}"])
    return [markdown(["process", "pre-selection", "CMS skim"], rows)] if rows else []


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
        upper.set_title(f"{region}, {reference().luminosity_ipb} /pb")
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
    edges = np.array(reference().edges_gev)
    centres = (edges[1:] + edges[:-1]) / 2
    upper.stairs(t.expected, edges, color=colour, lw=2, label=f"{t.process}, CMS full simulation")
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
