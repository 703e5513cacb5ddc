"""Does every configuration give σ, or a reason? Random ones, run on the bundled sample and fitted.

    python benchmarks/random_configurations.py [--configurations 100] [--from 0] [--seed 2026]

Cuts within the limits of the sample (tighter than its own), binnings, variations, models of the fit. Printed is
what each gave: σ with its distance to what the pseudo-data were made with, or why there is none. A
configuration that ends without σ because a fit did not converge, and impacts that are not known, are counted
apart. Half a minute for three; `--from 40 --configurations 20` goes on where another piece ended.
"""

from __future__ import annotations

import argparse
import logging
import math
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from numpy.random import Generator, default_rng

from analysis.cli import main as command
from analysis.common.errors import AnalysisError, FitError
from analysis.common.tables import markdown
from analysis.inference.config import InferenceConfig
from analysis.inference.measurement import measure
from analysis.inference.templates import from_results
from analysis.inference.workspace import build
from analysis.results import load_normalised

TRUTH_PB = 1.07 * 831.76
"""What the pseudo-data of the bundled sample were made with."""


def some(rng: Generator, *values: Any) -> Any:
    """One of the values."""
    return values[rng.integers(len(values))]


def selection(rng: Generator) -> str:
    """Cuts that are tighter than those of the sample, and variations; TOML."""
    jets, tagged = int(rng.integers(4, 6)), int(rng.integers(0, 5))
    uniform = rng.uniform
    return f"""
[electron]
min_pt = {uniform(30, 45):.1f}
max_abs_eta = {uniform(1.2, 2.1):.2f}
[muon]
min_pt = {uniform(30, 45):.1f}
max_abs_eta = {uniform(1.2, 2.1):.2f}
max_isolation = {some(rng, 0.05, 0.1, 0.15)}
[jet]
min_pt = {uniform(30, 45):.1f}
max_abs_eta = {uniform(1.6, 2.4):.2f}
min_lepton_delta_r = {some(rng, 0.0, 0.4)}
btag_threshold = {uniform(0.8, 0.97):.3f}
[regions]
min_jets = {jets}
[trigger]
simulation = "{some(rng, "any", "channel")}"
[variations]
jet_energy = {some(rng, "true", "true", "false")}
btag_jets = {min(tagged, jets)}
btag_slope = {uniform(0.02, 0.15):.3f}
btag_scale_factors = {some(rng, "true", "false")}
[observable]
bins = {some(rng, 25, 50)}
low = 50
high = 550
[control]
enabled = false
[multijet]
enabled = false
"""


def model(rng: Generator) -> InferenceConfig:
    """Regions, bins, treatment of variations, and some lines left out or changed."""
    low = int(some(rng, 50, 90, 110, 130, 150))
    high = int(some(rng, 350, 450, 550))
    width = int(some(rng, 20, 40, 100))
    bins = max((high - low) // width, 1)
    everything = InferenceConfig()
    lines = [*everything.variations, *everything.cross_section_uncertainties]
    return InferenceConfig.model_validate(
        {
            "regions": some(rng, ("4j1b", "4j2b"), ("4j1b", "4j2b"), ("4j1b",), ("4j2b",)),
            "binning": {"bins": bins, "low": low, "high": low + bins * width},
            "one_sided": some(rng, "mirror", "flat"),
            "two_sided": some(rng, "symmetric", "asymmetric"),
            "pruning": some(rng, 0.0, 0.001, 0.02),
            "smoothing": bool(rng.integers(2)),
            "luminosity_uncertainty": float(rng.uniform(0.01, 0.1)),
            "luminosity_fraction": some(rng, 1.0, 1.0, 1.0, "free"),
            "cross_section_uncertainties": {
                "cross section W+jets": {"relative": float(rng.uniform(0.05, 0.6))}
            },
            "left_out": [name for name in lines if rng.random() < 0.15],
        }
    )


def outcome(folder: Path, settings: InferenceConfig) -> tuple[str, str]:
    """What the configuration gave: its kind and a line."""
    try:
        templates = from_results(load_normalised(folder), settings)
        built = build(templates, settings)
        found = measure(
            built.spec, cross_section_pb=templates.cross_section_pb, binning=settings.binning
        )
    except FitError as error:
        return "no fit", str(error)
    except AnalysisError as error:
        return "refused", str(error)
    unknown = [impact.name for impact in found.ranking if not impact.known]
    section = found.cross_section
    side = section.error_up if section.value < TRUTH_PB else section.error_down
    pull = (section.value - TRUTH_PB) / side if side else math.nan
    line = f"{section}, {pull:+.1f} σ from {TRUTH_PB:.0f} pb; {len(found.scan.values)} points"
    return ("impact not known", f"{line}; {unknown}") if unknown else ("σ", line)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--configurations", type=int, default=100)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--seed", type=int, default=2026)
    arguments = parser.parse_args()
    logging.getLogger("pyhf").setLevel(logging.WARNING)
    counts: Counter[str] = Counter()
    for number in range(arguments.first, arguments.first + arguments.configurations):
        rng = default_rng([arguments.seed, number])
        with tempfile.TemporaryDirectory() as name:
            folder, file = Path(name) / "run", Path(name) / "config.toml"
            file.write_text(selection(rng), encoding="utf-8")
            status = command(["process", "--config", str(file), "--output", str(folder), "--quiet"])
            kind, line = (
                outcome(folder, model(rng)) if status == 0 else ("no run", f"status {status}")
            )
        counts[kind] += 1
        print(f"{number}: {kind}: {line}", flush=True)  # noqa: T201
    print(markdown(["outcome", "configurations"], [[k, str(n)] for k, n in counts.items()]))  # noqa: T201
    return int(counts["no fit"] + counts["no run"] + counts["impact not known"] > 0)


if __name__ == "__main__":
    raise SystemExit(main())
