"""What the treatments of independent samples make of noise: the width of its parameters after a fit.

    python benchmarks/two_point.py results [50 [SEED]]

In each toy the histograms of independent samples are random draws of the nominal ones, with their
statistical errors; the fit is of Asimov data, of the run's luminosity and of 45 times that. A parameter of
noise is to stay as wide as its prior, which is 1.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np

from analysis.common.tables import markdown
from analysis.datasets.sample import NOMINAL
from analysis.inference import templates, workspace
from analysis.inference.config import InferenceConfig
from analysis.inference.fit import fit
from analysis.inference.templates import Template, Templates
from analysis.results import load_normalised

SEED = 2015
TREATMENTS: dict[str, dict[str, Any]] = {
    "every shape": {"significance": 1},
    "every shape, smoothed": {"significance": 1, "smoothing": True},
    "p < 0.05": {"significance": 0.05},
    "p < 0.003": {},
    "p < 0.003, smoothed": {"smoothing": True},
}

logger = logging.getLogger("two_point")


def noise(nominal: Template, rng: np.random.Generator) -> Template:
    """Draw a sample of the nominal one's expectation and weights."""
    weights = np.divide(
        nominal.variances,
        nominal.values,
        out=np.ones_like(nominal.values),
        where=nominal.values > 0,
    )
    counts = rng.poisson(nominal.values / weights)
    return Template(weights * counts, weights**2 * counts)


def drawn(found: Templates, config: InferenceConfig, rng: np.random.Generator) -> Templates:
    """Replace the templates of independent samples by noise."""
    names = {n for v in config.systematics.values() if v.independent for n in (v.up, v.down) if n}
    by_key = {
        key: noise(found.by_key[(*key[:2], NOMINAL)], rng) if key[2] in names else template
        for key, template in found.by_key.items()
    }
    return found._replace(by_key=by_key)


def constraints(found: Templates, config: InferenceConfig, toys: int, seed: int) -> list[float]:
    """Fit Asimov data with noise in place of the independent samples: widths of their parameters."""
    rng = np.random.default_rng(seed)
    names = [name for name, v in config.systematics.items() if v.independent]
    widths = []
    for _ in range(toys):
        spec = workspace.build(drawn(found, config, rng), config, "asimov").spec
        there = {p.name: p.constraint for p in fit(spec).result.parameters}
        # A parameter that is left out is as free as its prior.
        widths += [there.get(name) or 1.0 for name in names]
    return widths


def summary(widths: list[float]) -> list[str]:
    low, least, below = np.percentile(widths, 5), min(widths), np.mean(np.array(widths) < 0.9)
    return [f"{np.mean(widths):.2f}", f"{low:.2f}", f"{least:.2f}", f"{below:.1%}"]


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("pyhf").setLevel(logging.WARNING)
    toys, seed = (int(x) for x in (sys.argv[2:] + ["50", str(SEED)][len(sys.argv) - 2 :])[:2])
    run = load_normalised(Path(sys.argv[1]))
    rows: list[list[object]] = []
    for name, settings in TREATMENTS.items():
        for factor in (1.0, 45.0):
            config = InferenceConfig(luminosity_fraction=factor, **settings)
            widths = constraints(templates.from_results(run, config), config, toys, seed)
            rows.append([name, f"{factor:g}", *summary(widths)])
    logger.info(markdown(["shapes", "luminosity", "mean", "5 %", "smallest", "below 0.9"], rows))


if __name__ == "__main__":
    main()
