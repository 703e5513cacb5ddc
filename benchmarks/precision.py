"""How precise σ(tt̄) is at 2256 /pb, by the default analysis and by `cms`, and what may go wrong.

    python benchmarks/precision.py FOLDER [--toys 500] [--workers 2]

Simulates two samples with seeds of their own in FOLDER (what is there already is kept), `templates` for the model
and `truth` for pseudo-data; fills them by both analyses; then prints, as tables in Markdown:

- the uncertainty of σ, parameter by parameter, of Asimov data, and pull, width and coverage of toys;
- what a truth shifted by one standard deviation of each parameter does to σ, beside what the ranking says;
- what σ becomes where the pseudo-data are of another simulation than the model (stress tests).
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

sys.path.insert(0, str(Path(__file__).parents[1]))

from analysis import Catalogue, Shift, TtbarAnalysis, Weight, stages
from analysis.common.tables import Row, markdown
from analysis.datasets.sample import NOMINAL
from analysis.inference.fit import BestFit, fit, minimum_and_interval
from analysis.inference.impacts import breakdown, ranking
from analysis.inference.likelihood import Likelihood
from analysis.inference.templates import rebinned
from analysis.postprocess.normalisation import Normalised
from analysis.results import load_normalised
from analysis.simulation import processes, production
from analysis.simulation.sample import TTBAR_STRENGTH
from analysis.stages import Model
from benchmarks.fit_toys import pulls

logger = logging.getLogger("precision")

Array = NDArray[np.float64]
ANALYSES = ("lesson", "cms")
SEEDS = {"templates": 20152256, "truth": 20150713}
SEED = 2015
# Pre-selected events of each dataset, at least: of the model and of the pseudo-data.
EVENTS: dict[str, tuple[int, int]] = {
    "ttbar__nominal": (12_000, 7_000),
    "ttbar__scaleup": (4_000, 0),
    "ttbar__scaledown": (4_000, 0),
    "ttbar__ME_var": (4_000, 0),
    "ttbar__PS_var": (4_000, 0),
    "single_top_t_chan__nominal": (1_500, 800),
    "single_atop_t_chan__nominal": (1_500, 800),
    "single_top_tW__nominal": (1_500, 900),
    "wjets__nominal__pthat40to80": (6_000, 3_500),
    "wjets__nominal__pthat80": (6_000, 3_500),
}
FOUND = 0.05
"""Probability of the data below which a fit is noticed."""


def make(folder: Path, workers: int) -> None:
    """Simulate what is not there."""
    for column, (part, seed) in enumerate(SEEDS.items()):
        for name, events in EVENTS.items():
            if events[column]:
                production.produce(
                    [processes.BY_NAME[name]], folder / part,
                    events=events[column], seed=seed, workers=workers,
                )  # fmt: skip


def filled(folder: Path, part: str, analysis: TtbarAnalysis) -> Normalised:
    """Fill the histograms of a sample, scaled to 2256 /pb, or read them where they are."""
    output = folder / f"{part}_{analysis.name}"
    if not (output / "normalisation.json").exists():
        path = folder / part / production.CATALOGUE
        stages.process(analysis, Catalogue.load(path), output, catalogue_path=str(path))
        stages.normalise(output)
    return load_normalised(output)


class Expected(NamedTuple):
    """A fit of Asimov data."""

    model: Model
    best: BestFit

    @classmethod
    def of(cls, run: Normalised) -> Expected:
        model = stages.model_of(run, observed="asimov")
        return cls(model, fit(model.built.spec))

    def part_pb(self, change: float) -> float:
        return change * self.model.reference_pb


def observed(spec: Mapping[str, Any], data: Mapping[str, Array]) -> dict[str, Any]:
    """The workspace with other data."""
    found = [{"name": c["name"], "data": data[c["name"]].tolist()} for c in spec["channels"]]
    return {**spec, "observations": found}


def uncertainties(expected: Mapping[str, Expected]) -> str:
    """Each parameter's impact on σ in pb with its constraint, the parts, and the total."""
    rows: dict[str, dict[str, str]] = {}
    for name, found in expected.items():
        best = found.best
        for impact in ranking(best):
            constraint = best.result[impact.name].constraint or 0.0
            shown = f"{found.part_pb(impact.size):.1f} ({constraint:.2f})"
            rows.setdefault(impact.name, {})[name] = shown
        for group, part in breakdown(best).items():
            rows.setdefault(f"all: {group}", {})[name] = f"{found.part_pb(part):.1f}"
        total, luminosity = best.result.error, breakdown(best).get("luminosity", 0.0)
        without = (total**2 - luminosity**2) ** 0.5
        for what, part in (("total", total), ("total without luminosity", without)):
            shown = f"{found.part_pb(part):.1f} = {part / best.result.value:.1%}"
            rows.setdefault(what, {})[name] = shown
    header = ["parameter", *(f"{name}, pb (constraint)" for name in expected)]
    table: list[Row] = [[row, *(parts.get(n, "") for n in expected)] for row, parts in rows.items()]
    return markdown(header, table)


def toys(expected: Mapping[str, Expected], number: int) -> str:
    """Pull, width and coverage of toys of each model, drawn with its auxiliary measurements."""
    rows: list[Row] = []
    for name, found in expected.items():
        result = pulls(Likelihood(found.model.built.spec), number, SEED)
        (mean, width, covers) = result.mean, result.width, result.coverage
        rows.append([
            name, str(result.values.size), str(result.failed), f"{mean[0]:+.2f} ± {mean[1]:.2f}",
            f"{width[0]:.2f} ± {width[1]:.2f}", f"{covers[0]:.0%} ± {covers[1]:.0%}",
        ])  # fmt: skip
    return markdown(["analysis", "toys", "failed", "pull", "width", "coverage"], rows)


def shifts(found: Expected) -> str:
    """Move the truth of each parameter by one standard deviation, and fit data of that.

    The auxiliary measurement stays at 0. In a linear model σ then moves by minus the impact of the
    parameter's error × its constraint: of what is not measured in place nothing is corrected for.
    """
    best, rows = found.best, []
    likelihood = Likelihood(found.model.built.spec)
    for impact in ranking(best):
        index = likelihood.names.index(impact.name)
        truth = best.values.copy()
        truth[index] += 1.0
        data = np.concatenate([likelihood.expected(truth), likelihood.auxiliary])
        moved = minimum_and_interval(likelihood.with_data(data))[0]
        change = float(moved.values[likelihood.poi] - best.result.value)
        constraint = best.result[impact.name].constraint or 0.0
        said = -(impact.postfit_up or 0.0) * constraint
        rows.append([impact.name, *(f"{found.part_pb(x):+.1f}" for x in (change, said))])
    return markdown(["parameter", "σ moves by, pb", "by the ranking"], rows)


def _efficiency(selection: Any, loss: float) -> Any:
    """Weight of events whose b jets are tagged less often, the more so the harder they are (100 GeV)."""
    flavour, tagged, pt = (selection.jets.flat(field) for field in ("hflav", "btagged", "pt"))
    factor = np.where(flavour == 5, 1 - loss * (0.5 + np.minimum(pt, 200.0) / 100), 1.0)
    each = np.log(np.where(tagged, factor, (1 - 0.7 * factor) / (1 - 0.7)))
    return np.exp(selection.jets.summed(each))


def _pile_up(selection: Any, slope: float) -> Any:
    """Weight that rises by `slope` with each vertex above ten."""
    return np.maximum(1 + slope * (selection.n_vertices - 10.0), 0.0)


def _heavy_flavour(selection: Any, factor: float) -> Any:
    heavy = np.isin(selection.jets.flat("hflav"), (4, 5))
    return np.where(selection.jets.summed(heavy) > 0, factor, 1.0)


def _by_jets(selection: Any, three: float, more: float) -> Any:
    return np.where(selection.n_jets[0] >= 4, more, three)


STRESSED = (
    Shift("stress_jes", up=lambda jets: 1.02 * jets.pt, down=lambda jets: 0.98 * jets.pt),
    Shift("stress_jer", up=lambda jets: jets.pt + 2 * (jets.corrptSmearUp - jets.pt),
          uses={"jet.corrptSmearUp"}),
)  # fmt: skip
"""Shifts of jets that are not those of the model."""
WEIGHTED = (
    Weight("stress_btag", up=partial(_efficiency, loss=0.04), down=partial(_efficiency, loss=-0.04),
           uses={"jet.hflav"}),
    Weight("stress_pile_up", up=partial(_pile_up, slope=0.05), down=partial(_pile_up, slope=-0.05),
           uses={"PV.npvs"}),
    Weight("stress_heavy", up=partial(_heavy_flavour, factor=1.5), uses={"jet.hflav"},
           processes={"wjets"}),
    Weight("stress_wjets", up=partial(_by_jets, three=1.2, more=1.7), processes={"wjets"}),
)  # fmt: skip


class Stress(NamedTuple):
    """Pseudo-data of another simulation."""

    what: str
    variation: str
    from_templates: bool = False
    """Of the alternative samples, which the sample of the pseudo-data has not."""
    multijets: float = 0.0
    """Multijet events, in units of those that the model then has."""


STRESSES = (
    Stress("ME variation", "ME_var", from_templates=True),
    Stress("PS variation", "PS_var", from_templates=True),
    Stress("scale up", "scaleup", from_templates=True),
    Stress("scale down", "scaledown", from_templates=True),
    Stress("b tags less efficient, 2 to 10 % with pT", "stress_btag_up"),
    Stress("b tags more efficient, 2 to 10 % with pT", "stress_btag_down"),
    Stress("jet energy + 2 %, every jet", "stress_jes_up"),
    Stress("jet energy - 2 %, every jet", "stress_jes_down"),
    Stress("jet resolution, two standard deviations", "stress_jer_up"),
    Stress("W+jets heavy flavour × 1.5", "stress_heavy_up"),
    Stress("W+jets × 1.2 and 1.7 with 3 and 4 jets", "stress_wjets_up"),
    Stress("multijets doubled", NOMINAL, multijets=2.0),
    Stress("more pile-up, 5 % a vertex", "stress_pile_up_up"),
    Stress("less pile-up, 5 % a vertex", "stress_pile_up_down"),
)


MULTIJETS = 0.15
"""Of W+jets: multijet events that stress tests add, in its shape, as no simulated ones are selected."""


def pseudo_data(run: Normalised, model: Model, variation: str) -> dict[str, Array]:
    """The expectation of a sample at the cross section of the pseudo-data, in the bins of a model."""
    config = stages.own_model(run)
    regions = run.regions_by_channel if config.channels == "apart" else run.regions
    data = {}
    for channel in model.built.spec["channels"]:
        name, total = channel["name"], np.zeros(len(channel["samples"][0]["data"]))
        for process, there in run.normalisation.variations.items():
            used = variation if variation in there else NOMINAL
            if used in there:
                scale = TTBAR_STRENGTH if process == config.signal else 1.0
                one = regions[name][{"process": process, "variation": used}]
                total += scale * rebinned(name, one, config.binning_of(name)).values
        data[name] = total
    return data


def with_multijets(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Add multijet events of an uncertain rate, in the shape of W+jets."""
    rate = {"name": "cross section QCD", "type": "normsys", "data": {"hi": 1.5, "lo": 0.5}}
    channels = []
    for channel in spec["channels"]:
        (wjets,) = (s["data"] for s in channel["samples"] if s["name"] == "wjets")
        sample = {"name": "qcd", "data": [MULTIJETS * x for x in wjets], "modifiers": [rate]}
        channels.append({**channel, "samples": [*channel["samples"], sample]})
    return {**spec, "channels": channels}


def stress(model: Model, templates: Normalised, truth: Normalised) -> str:
    """Fit each of the pseudo-data; the bias is that to the pseudo-data of the same sample unchanged.

    Pseudo-data are expectations, without fluctuation: p is that of a χ² higher by its degrees of freedom.
    """
    spec, rows = model.built.spec, []
    multijets = {
        channel["name"]: np.array(channel["samples"][-1]["data"])
        for channel in with_multijets(spec)["channels"]
    }

    def fitted(test: Stress) -> BestFit:
        run = templates if test.from_templates else truth
        data, used = pseudo_data(run, model, test.variation), spec
        if test.multijets:
            used = with_multijets(spec)
            data = {name: x + test.multijets * multijets[name] for name, x in data.items()}
        return fit(observed(used, data))

    unchanged = {
        (of, qcd): fitted(Stress("", NOMINAL, of, float(qcd)))
        for of, qcd in {(test.from_templates, bool(test.multijets)) for test in STRESSES}
    }
    for test in (Stress("unchanged, independent sample", NOMINAL), *STRESSES):
        best, before = fitted(test), unchanged[test.from_templates, bool(test.multijets)]
        bias = best.result.value - before.result.value
        if test.variation == NOMINAL and not test.multijets:
            bias = best.result.value - TTBAR_STRENGTH
        goodness = best.result.goodness
        p_value = chi2.sf(goodness.chi2 + goodness.degrees_of_freedom, goodness.degrees_of_freedom)
        worst = max(
            (p for p in best.result.parameters if p.pull is not None and "staterror" not in p.name),
            key=lambda p: abs(p.pull or 0),
        )
        part = bias / best.result.error
        verdict = "" if abs(part) < 0.5 else "found" if p_value < FOUND else "not found"
        rows.append([
            test.what, f"{model.reference_pb * best.result.value:.1f} ± {model.reference_pb * best.result.error:.1f}",
            f"{model.reference_pb * bias:+.1f}", f"{part:+.2f}", f"{p_value:.2g}",
            f"{worst.name} {worst.pull:+.1f}", verdict,
        ])  # fmt: skip
    header = [
        "pseudo-data", "σ, pb", "bias, pb", "of the error", "p", "largest pull", "beyond half the error",
    ]  # fmt: skip
    return markdown(header, rows)


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger.setLevel(logging.INFO)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--toys", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    make(given.folder, given.workers)
    analyses = {name: stages.named_analysis(name) for name in ANALYSES}
    runs = {name: filled(given.folder, "templates", of) for name, of in analyses.items()}
    expected = {name: Expected.of(run) for name, run in runs.items()}
    logger.info("%s", uncertainties(expected))
    logger.info("%s", shifts(expected["cms"]))
    stressed = analyses["cms"].adding(shifts=STRESSED, weights=WEIGHTED)
    truth = filled(given.folder, "truth", stressed)
    logger.info("%s", stress(expected["cms"].model, runs["cms"], truth))
    logger.info("%s", toys(expected, given.toys))


if __name__ == "__main__":
    main()
