"""Whether fits and limits say what is there: pulls of five kinds of models, limits against exact ones.

    python benchmarks/closure.py WORKSPACE.json ... [--cases CASES] [--toys 200] [--seed 2015] [--processes 2]

Toys of each workspace, of a counting experiment (5 events over 0.5) and of a peak in 200 bins are fitted:
refusals, pulls and intervals of the parameter of interest. Then limits on a signal of 10 events over 3, at
counts of 0, 1, 2, 3 and 10, by asymptotic formulae and by toys, beside those of CLs with Poisson's
probabilities. `--cases` is a folder with workspaces `fits/*.json` and `limits/*.json` whose results are known.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm, poisson

sys.path.insert(0, str(Path(__file__).parents[1]))

from analysis.common.tables import markdown
from analysis.inference.fit import fit
from analysis.inference.likelihood import Likelihood
from analysis.inference.limit import SignalRate, read_signal, upper_limit
from analysis.inference.templates import Template
from analysis.inference.toys import Toys
from analysis.inference.workspace import load
from benchmarks.fit_toys import pulls

logger = logging.getLogger("closure")

Spec = Mapping[str, Any]
STRENGTH = {"name": "mu", "type": "normfactor", "data": None}
BACKGROUND, SIGNAL = 3.0, 10.0
LIMIT_TOYS = 10_000

FITS = {
    "refused_asimov": (1.0000, 0.150, 0.162, 0.140),
    "refused_poisson1": (1.0149, 0.155, 0.168, 0.143),
    "refused_poisson6": (1.0505, 0.158, 0.171, 0.147),
    "hesse_wrong_poisson9": (1.0224, 0.154, 0.167, 0.143),
    "cms2015_fulllumi_workspace": (0.9938, 0.153, 0.165, 0.142),
    "../../reference/ttbar_2015_workspace": (0.9644, 0.0756, 0.080, 0.077),
}
"""Workspace -> best fit, error, interval up and down, by a likelihood of its own in double precision."""

LIMITS: dict[str, tuple[str, float]] = {
    "zero": ("toys", 0.300),
    "n1": ("asymptotic", 0.33),
    "n3": ("toys", 0.537),
    "big": ("expected", 1.31),
}
"""Workspace -> which limit on `s1.root` of 10 events, and its right value."""


def model(signal: list[float], background: list[float], *modifiers: dict[str, Any]) -> Spec:
    """A channel of a signal over a background of these modifiers, with its expectation as data."""
    samples = [
        {"name": "signal", "data": signal, "modifiers": [STRENGTH]},
        {"name": "background", "data": background, "modifiers": list(modifiers)},
    ]
    data = np.add(signal, background).tolist()
    parameters = [{"name": "mu", "inits": [1.0], "bounds": [[0.0, 10.0]]}]
    return {
        "channels": [{"name": "region", "samples": samples}],
        "observations": [{"name": "region", "data": data}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": parameters}}],
        "version": "1.0.0",
    }


def counting() -> Spec:
    rate = {"name": "rate", "type": "normsys", "data": {"hi": 1.2, "lo": 0.8}}
    return model([5.0], [0.5], rate)


def peak() -> Spec:
    """800 events in a peak over 20,000 that fall, in 200 bins; rate, slope and statistics uncertain."""
    x = np.linspace(0, 1, 201)
    signal = 800 * np.diff(norm(0.4, 0.03).cdf(x))
    background = -20_000 * np.diff(np.exp(-2 * x)) / (1 - np.exp(-2))
    slope = 0.1 * (x[:-1] - 0.4) * background
    return model(
        signal.tolist(),
        background.tolist(),
        {"name": "rate", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}},
        {"name": "slope", "type": "histosys", "data": {
            "hi_data": (background + slope).tolist(), "lo_data": (background - slope).tolist()}},
        {"name": "statistics", "type": "staterror", "data": (0.03 * background).tolist()},
    )  # fmt: skip


class Task(NamedTuple):
    name: str
    spec: Spec
    toys: int
    seed: int


def fitted(task: Task) -> list[str]:
    """A row of the table."""
    begin = time.process_time()
    found = pulls(Likelihood(task.spec), task.toys, task.seed)
    seconds = time.process_time() - begin
    mean, width, coverage = found.mean, found.width, found.coverage
    return [
        task.name,
        str(found.values.size),
        str(found.failed),
        f"{mean[0]:+.2f} ± {mean[1]:.2f}",
        f"{width[0]:.2f} ± {width[1]:.2f}",
        f"{coverage[0]:.0%} ± {coverage[1]:.0%}",
        f"{seconds / task.toys:.2f} s",
    ]


def exact(count: int) -> float:
    """The CLs limit of a counting experiment without uncertainties; more events are more like signal."""

    def excess(strength: float) -> float:
        having = poisson.cdf(count, BACKGROUND + strength * SIGNAL)
        return float(having / poisson.cdf(count, BACKGROUND)) - 0.05

    return float(brentq(excess, 1e-3, 20))


def limit(count: int, toys: Toys) -> list[str]:
    spec = {**model([0.0], [BACKGROUND]), "observations": [{"name": "region", "data": [count]}]}
    spec["channels"] = [{"name": "region", "samples": [spec["channels"][0]["samples"][1]]}]
    rate = SignalRate(sum_of_weights=1, cross_section_pb=1, luminosity_ipb=1)
    signal = {"region": Template(np.array([SIGNAL]), np.zeros(1))}
    found = upper_limit(spec, signal, rate, toys=toys)
    by_toys = found.toys
    assert by_toys is not None
    right = exact(count)
    return [
        str(count),
        f"{right:.3f}",
        f"{found.observed:.3f} ({found.observed / right - 1:+.0%})",
        f"{by_toys.observed:.3f} ± {by_toys.observed_error:.3f} ({by_toys.observed / right - 1:+.1%})",
    ]


def known_fit(path: Path) -> list[str]:
    result = fit(load(path)).result
    assert result.error_up is not None
    assert result.error_down is not None
    value, *errors = FITS[path.with_suffix("").as_posix().split("fits/")[1]]
    found = (result.error, result.error_up, result.error_down)
    changes = (f"{one / right - 1:+.1%}" for one, right in zip(found, errors, strict=True))
    return [
        path.stem,
        f"{value:.4f} ± {errors[0]:.4g} +{errors[1]:.3f} -{errors[2]:.3f}",
        f"{result.value:.4f} ± {result.error:.4f} +{found[1]:.4f} -{found[2]:.4f}",
        f"{(result.value - value) / errors[0]:+.2%} of an error",
        " ".join(changes),
    ]


def known_limit(path: Path, toys: Toys) -> list[str]:
    spec = load(path)
    rate = SignalRate(sum_of_weights=1, cross_section_pb=1, luminosity_ipb=1)
    found = upper_limit(spec, read_signal(path.parent / "s1.root", spec), rate, toys=toys)
    assert found.toys is not None
    assert found.expected[2] is not None
    kind, right = LIMITS[path.stem]
    limits = {
        "toys": found.toys.observed, "asymptotic": found.observed, "expected": found.expected[2]
    }  # fmt: skip
    return [
        path.stem,
        kind,
        f"{right:g}",
        f"{limits[kind]:.4f}",
        f"{limits[kind] / right - 1:+.1%}",
    ]


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("pyhf").setLevel(logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workspaces", nargs="*", type=Path)
    parser.add_argument("--cases", type=Path)
    parser.add_argument("--toys", type=int, default=200)
    parser.add_argument("--seed", type=int, default=2015)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    specs: dict[str, Spec] = {path.stem: load(path) for path in given.workspaces}
    specs |= {"counting, b = 0.5": counting(), "peak in 200 bins": peak()}
    tasks = [Task(name, spec, given.toys, given.seed) for name, spec in specs.items()]
    header = ["model", "toys", "refused", "pull mean", "pull width", "interval covers", "a toy"]
    with ProcessPoolExecutor(given.processes) as pool:
        logger.info(markdown(header, list(pool.map(fitted, tasks))))
        toys = Toys(LIMIT_TOYS, given.seed, pool.map)
        header = ["events", "exact", "asymptotic", f"{LIMIT_TOYS} toys"]
        logger.info(markdown(header, [limit(count, toys) for count in (0, 1, 2, 3, 10)]))
        if given.cases is not None:
            fits = [known_fit(given.cases / "fits" / f"{name}.json") for name in FITS]
            header = ["workspace", "right", "found", "best fit", "error, up, down"]
            logger.info(markdown(header, fits))
            limits = [known_limit(given.cases / "limits" / f"{name}.json", toys) for name in LIMITS]
            logger.info(markdown(["workspace", "limit", "right", "found", "difference"], limits))


if __name__ == "__main__":
    main()
