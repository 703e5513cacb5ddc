"""How precise σ(tt̄) is at 2256 /pb, by the default analysis and by `cms`, and what may go wrong.

    python benchmarks/precision.py FOLDER [--toys 500] [--workers 2]

Simulates two samples with seeds of their own in FOLDER (28 minutes of processor time; what is there already is kept):
`templates`, which make the model together with the bundled sample, and `truth` for pseudo-data. Fills them by both
analyses, scaled to 2256 /pb; then prints, as tables in Markdown:

- σ of the bundled sample's pseudo-data, by both analyses and by parts of the categories;
- the uncertainty of σ, parameter by parameter, of Asimov data, and pull, width and coverage of toys;
- what a truth shifted by one standard deviation of each parameter does to σ, beside what the ranking says;
- what σ becomes where the pseudo-data are of another simulation than the model (stress tests).
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import chi2, norm

sys.path.insert(0, str(Path(__file__).parents[1]))

from analysis import Catalogue, Shift, TtbarAnalysis, Weight, stages
from analysis.common.files import write_json
from analysis.common.folders import NORMALISATION
from analysis.common.tables import Row, markdown
from analysis.datasets.bundled import REAL_DATA, SAMPLE
from analysis.datasets.processes import DATA
from analysis.datasets.sample import NOMINAL
from analysis.inference.fit import BestFit, fit, minimum_and_interval
from analysis.inference.impacts import breakdown, error_of, ranking
from analysis.inference.likelihood import Likelihood
from analysis.inference.minimise import minimum
from analysis.inference.templates import Template, rebinned
from analysis.inference.visible import visible
from analysis.postprocess.normalisation import Normalised
from analysis.results import load_normalised
from analysis.simulation import processes, production
from analysis.simulation.sample import TTBAR_STRENGTH
from analysis.stages import Model
from benchmarks.fit_toys import pulls

logger = logging.getLogger("precision")

ANALYSES = ("lesson", "cms")
SEED = 2015
SEEDS = {"templates": 20152256, "truth": 20150713}
# Pre-selected events of each dataset, at least, in each part; the model has those of the bundled sample too.
EVENTS: dict[str, tuple[int, int]] = {
    "ttbar__nominal": (12_000, 16_000),
    "ttbar__scaleup": (8_000, 0),
    "ttbar__scaledown": (6_000, 0),
    "ttbar__ME_var": (8_000, 0),
    "ttbar__PS_var": (8_000, 0),
    "single_top_t_chan__nominal": (0, 800),
    "single_atop_t_chan__nominal": (0, 800),
    "single_top_tW__nominal": (0, 900),
    "wjets__nominal__pthat40to80": (6_000, 3_500),
    "wjets__nominal__pthat80": (0, 3_500),
}
MORE = 4.0
"""Times the simulated events for which the total is computed too."""
LEFT_OUT = ("data", "qcd")
"""Processes of the bundled sample that are none of the templates."""
VERTICES = 10.7
"""Mean of the simulation."""
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


def combined(folder: Path) -> Path:
    """Write a catalogue of the bundled sample with the templates' events: each has its part of the weight."""
    places = {"": SAMPLE, "more": folder / "templates" / production.CATALOGUE}
    content = {part: json.loads(path.read_text("utf-8")) for part, path in places.items()}
    datasets = {}
    for name, bundled in content[""]["datasets"].items():
        if bundled["process"] in LEFT_OUT:
            continue
        parts = {part: c["datasets"][name] for part, c in content.items() if name in c["datasets"]}
        total = sum(entry["sum_of_weights"] for entry in parts.values())
        for part, entry in parts.items():
            k_factor = entry["k_factor"] * entry["sum_of_weights"] / total
            path = str((places[part].parent / entry["path"]).absolute())
            called = f"{name}__{part}" if part else name
            datasets[called] = {**entry, "k_factor": k_factor, "path": path}
    luminosity = {"luminosity": f"{production.LUMINOSITY_IPB:g} /pb"}
    whole = {**content[""], **luminosity, "processes": {}, "datasets": datasets}
    write_json(folder / "templates.json", whole)
    return folder / "templates.json"


def filled(folder: Path, catalogue: Path, analysis: TtbarAnalysis) -> Normalised:
    """Fill the histograms of a sample, scaled to 2256 /pb, or read them where they are."""
    output = folder / f"{analysis.name}_{catalogue.parent.stem}_{catalogue.stem}"
    if not (output / NORMALISATION).exists():
        stages.process(analysis, Catalogue.load(catalogue), output, catalogue_path=str(catalogue))
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


def observed(spec: Mapping[str, Any], data: Mapping[str, Template]) -> dict[str, Any]:
    """The workspace with other data."""
    found = [{"name": c["name"], "data": data[c["name"]].values.tolist()} for c in spec["channels"]]
    return {**spec, "observations": found}


def with_more_events(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The workspace as `MORE` times the simulated events would have it."""
    found = copy.deepcopy(dict(spec))
    modifiers = (m for c in found["channels"] for s in c["samples"] for m in s["modifiers"])
    for modifier in modifiers:
        if modifier["type"] == "staterror":
            modifier["data"] = [error / MORE**0.5 for error in modifier["data"]]
    return found


def as_the_real(spec: Mapping[str, Any], catalogue: Catalogue) -> dict[str, Any]:
    """The workspace as it would be with the simulated events of another catalogue, scaled to 2256 /pb.

    A bin of expected events N has the error √(N × weight): each event counts for luminosity × cross section / number.
    """
    found = copy.deepcopy(dict(spec))
    nominal = [d for d in catalogue.datasets.values() if d.variation == NOMINAL]
    for sample in (s for c in found["channels"] for s in c["samples"]):
        parts = [d for d in nominal if d.process == sample["name"]]
        sections = sum(d.cross_section or 0.0 for d in parts)
        weight = production.LUMINOSITY_IPB * sections / sum(d.sum_of_weights or 0.0 for d in parts)
        for modifier in sample["modifiers"]:
            if modifier["type"] == "staterror":
                modifier["data"] = np.sqrt(weight * np.array(sample["data"])).tolist()
    return found


def uncertainties(expected: Mapping[str, Expected]) -> str:
    """Each parameter's impact on σ in pb with its constraint, the parts, and the total."""
    rows: dict[str, dict[str, str]] = {}
    sums: dict[str, dict[str, str]] = {}
    for name, found in expected.items():
        best = found.best
        for impact in ranking(best):
            constraint = best.result[impact.name].constraint or 0.0
            shown = f"{found.part_pb(impact.size):.1f} ({constraint:.2f})"
            rows.setdefault(impact.name, {})[name] = shown
        for group, part in breakdown(best).items():
            sums.setdefault(f"all: {group}", {})[name] = f"{found.part_pb(part):.1f}"
        spec = found.model.built.spec
        more, real = fit(with_more_events(spec)), fit(as_the_real(spec, Catalogue.load(REAL_DATA)))
        simulated = (
            ("", best),
            (f", {MORE:g} × the simulation", more),
            (", the real ntuples'", real),
        )
        for what, one in simulated:
            total, luminosity = one.result.error, breakdown(one).get("luminosity", 0.0)
            without = (total**2 - luminosity**2) ** 0.5
            for which, part in (("total", total), ("total without luminosity", without)):
                shown = f"{found.part_pb(part):.1f} = {part / one.result.value:.1%}"
                sums.setdefault(f"{which}{what}", {})[name] = shown
        if (seen := visible(best, found.model.luminosity_ipb)) is not None:
            error = error_of(best.covariance, seen.slopes)
            shown = f"{error:.2f} = {error / seen.value:.1%}"
            sums.setdefault("total of the visible cross section", {})[name] = shown
    header = ["parameter", *(f"{name}, pb (constraint)" for name in expected)]
    table: list[Row] = [
        [row, *(parts.get(n, "") for n in expected)]
        for row, parts in [*rows.items(), *sums.items()]
    ]
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
    """Weight that rises by `slope` with each vertex, and is one on average."""
    return np.maximum(1 + slope * (selection.n_vertices - VERTICES), 0.0)


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
    """Pseudo-data of another simulation than the model, of the model's own events where it has them."""

    what: str
    variation: str
    multijets: float = 0.0
    """Multijet events, in units of those that the model then has."""


STRESSES = (
    Stress("ME variation", "ME_var"),
    Stress("PS variation", "PS_var"),
    Stress("scale up", "scaleup"),
    Stress("scale down", "scaledown"),
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
ALTERNATIVE = ("ME_var", "PS_var", "scaleup", "scaledown")
"""Variations that are samples of tt̄."""
MULTIJETS = {"electron": 0.2, "muon": 0.1}
"""Channel -> multijet events that a stress test adds, of those of W+jets, softer: no simulated ones are selected."""
DRAWS = 400
"""Of pseudo-data without a change, with the statistical errors of independent samples."""


def pseudo_data(run: Normalised, model: Model, variation: str, own: bool) -> dict[str, Template]:
    """The expectation of a sample at the cross section of the pseudo-data, in the bins of a model.

    Variances are those that the events of the model have no part in: where the sample is its `own`, of
    alternative samples.
    """
    config = stages.own_model(run)
    regions = run.regions_by_channel if config.channels == "apart" else run.regions
    data = {}
    for channel in model.built.spec["channels"]:
        name, bins = channel["name"], len(channel["samples"][0]["data"])
        values, variances = np.zeros(bins), np.zeros(bins)
        for process, there in run.normalisation.variations.items():
            used = variation if variation in there else NOMINAL
            if used in there and process != DATA:
                scale = TTBAR_STRENGTH if process == config.signal else 1.0
                one = regions[name][{"process": process, "variation": used}]
                found = rebinned(name, one, config.binning_of(name), overflow=config.overflow)
                values += scale * found.values
                if not own or (used != NOMINAL and used not in run.description.variations):
                    variances += scale**2 * found.variances
        data[name] = Template(values, variances)
    return data


def acceptance(run: Normalised, variation: str) -> float:
    """Compute the relative change of all selected signal in an alternative sample."""
    chosen = (run.regions[region] for region in stages.own_model(run).regions)
    sums = [
        [
            region[{"process": "ttbar", "variation": name}].sum(flow=True).value
            for name in (variation, NOMINAL)
        ]
        for region in chosen
    ]
    varied, nominal = np.sum(sums, axis=0)
    return float(varied / nominal - 1)


def expectation(
    spec: Mapping[str, Any], data: Mapping[str, Template], own: bool
) -> dict[str, Template]:
    """What the model expects of pseudo-data, with the variances of their samples and of its own that they replace.

    Only the signal is another sample where data are the model's `own`.
    """
    found = {}
    for channel in spec["channels"]:
        values, variances = np.zeros_like(data[channel["name"]].values), 0.0
        for sample in channel["samples"]:
            scale = TTBAR_STRENGTH if sample["name"] == "ttbar" else 1.0
            values += scale * np.array(sample["data"])
            if not own or sample["name"] == "ttbar":
                variances += scale**2 * sum(
                    np.square(m["data"]) for m in sample["modifiers"] if m["type"] == "staterror"
                )
        found[channel["name"]] = Template(values, data[channel["name"]].variances + variances)
    return found


def drawn(data: Mapping[str, Template], rng: np.random.Generator) -> dict[str, Template]:
    """Let data fluctuate as samples with their errors do."""
    return {
        name: Template(np.maximum(rng.normal(x.values, np.sqrt(x.variances)), 0), x.values)
        for name, x in data.items()
    }


def with_counts(likelihood: Likelihood, data: Mapping[str, Template]) -> Likelihood:
    """The model with other data of its channels."""
    counts = [data[channel].values for channel in likelihood.model.config.channels]
    return likelihood.with_data(np.concatenate([*counts, likelihood.auxiliary]))


def with_multijets(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Add multijet events of an uncertain rate, by the shape of W+jets."""
    channels = []
    for channel in spec["channels"]:
        flavour = channel["name"].rpartition("_")[2]
        name = f"cross section QCD, {flavour}"
        rate = {"name": name, "type": "normsys", "data": {"hi": 1.5, "lo": 0.5}}
        (wjets,) = (np.array(s["data"]) for s in channel["samples"] if s["name"] == "wjets")
        softer = MULTIJETS[flavour] * np.linspace(1.5, 0.5, wjets.size) * wjets
        sample = {"name": "qcd", "data": softer.tolist(), "modifiers": [rate]}
        channels.append({**channel, "samples": [*channel["samples"], sample]})
    return {**spec, "channels": channels}


def stress_test(test: Stress, model: Model, run: Normalised, own: bool) -> Row:
    """Fit the pseudo-data. Expectations have no fluctuation: p is that of a χ² higher by its degrees of
    freedom; where a sample is independent, it is of draws with the errors of both samples, which give that of the
    bias.
    """
    spec, data = model.built.spec, pseudo_data(run, model, test.variation, own)
    if test.multijets:
        spec = with_multijets(spec)
        added = {c["name"]: np.array(c["samples"][-1]["data"]) for c in spec["channels"]}
        data = {
            n: Template(x.values + test.multijets * added[n], x.variances) for n, x in data.items()
        }
    best = fit(observed(spec, data))
    result = best.result
    bias, goodness = result.value - TTBAR_STRENGTH, result.goodness
    p_value = chi2.sf(goodness.chi2 + goodness.degrees_of_freedom, goodness.degrees_of_freedom)
    reference, error = model.reference_pb, ""
    if any(np.any(x.variances) for x in data.values()):
        rng, nominal = np.random.default_rng(SEED), expectation(spec, data, own)
        toys = [with_counts(best.likelihood, drawn(nominal, rng)) for _ in range(DRAWS)]
        found = [minimum(toy, best.values) for toy in toys]
        heights = [one.twice_nll - toy.saturated for one, toy in zip(found, toys, strict=True)]
        p_value = norm.sf((goodness.chi2 - np.mean(heights)) / np.std(heights, ddof=1))
        spread = float(np.std([one.values[best.likelihood.poi] for one in found], ddof=1))
        error = f" ± {reference * spread:.0f}"
    change = acceptance(run, test.variation) if test.variation in ALTERNATIVE else 0.0
    worst = max(
        (p for p in result.parameters if p.pull is not None and "staterror" not in p.name),
        key=lambda p: abs(p.pull or 0),
    )
    part = bias / result.error
    verdict = "yes" if abs(part) < 0.5 else "no: found" if p_value < FOUND else "no"
    return [
        test.what, f"{reference * result.value:.0f} ± {reference * result.error:.0f}",
        f"{reference * bias:+.0f}{error}",
        f"{reference * TTBAR_STRENGTH * change:+.0f}" if change else "-", f"{part:+.2f}",
        f"{p_value:.2g}",
        f"{worst.name} {worst.pull:+.1f}", verdict,
    ]  # fmt: skip


def stress(model: Model, templates: Normalised, truth: Normalised) -> str:
    """Fit pseudo-data of σ(tt̄) = 890 pb that are of another simulation than the model."""
    rows = [stress_test(Stress("an independent sample", NOMINAL), model, truth, own=False)]
    rows += [stress_test(test, model, templates, own=True) for test in STRESSES]
    header = [
        "pseudo-data", "σ, pb", "bias, pb", "acceptance, pb", "bias / error", "p", "largest pull",
        "below half the error",
    ]  # fmt: skip
    return markdown(header, rows)


PARTS = ("electron", "muon", "3j", "4j", "1b", "2b")
"""Of the names of channels: fitted by themselves."""


def bundled(folder: Path, analyses: Mapping[str, TtbarAnalysis]) -> str:
    """Fit the pseudo-data of the bundled sample, and for `cms` parts of the categories."""
    rows: list[Row] = []
    for name, analysis in analyses.items():
        model = stages.model_of(filled(folder, SAMPLE, analysis))
        spec, reference = model.built.spec, model.reference_pb
        for part in ("", *(PARTS if name == "cms" else ())):
            chosen = [channel for channel in spec["channels"] if part in channel["name"]]
            names = {channel["name"] for channel in chosen}
            data = [o for o in spec["observations"] if o["name"] in names]
            best = fit({**spec, "channels": chosen, "observations": data}).result
            value, error, p_value = best.value, best.error, best.goodness.p_value
            rows.append([
                f"{name}{part and ', ' + part}", f"{reference * value:.0f} ± {reference * error:.0f}",
                f"{error / value:.1%}", f"{(value - TTBAR_STRENGTH) / error:+.2f}", f"{p_value:.2g}",
            ])  # fmt: skip
    return markdown(["bundled sample, 50 /pb", "σ, pb", "relative", "pull", "p"], rows)


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
    templates, truth = combined(given.folder), given.folder / "truth" / production.CATALOGUE
    analyses = {name: stages.named_analysis(name) for name in ANALYSES}
    stressed = analyses["cms"].adding(shifts=STRESSED, weights=WEIGHTED).called("stressed")
    runs = {name: filled(given.folder, templates, of) for name, of in analyses.items()}
    of_events = [filled(given.folder, where, stressed) for where in (templates, truth)]
    expected = {name: Expected.of(run) for name, run in runs.items()}
    logger.info("%s", bundled(given.folder, analyses))
    logger.info("%s", uncertainties(expected))
    logger.info("%s", shifts(expected["cms"]))
    logger.info("%s", stress(expected["cms"].model, *of_events))
    if given.toys:
        logger.info("%s", toys(expected, given.toys))


if __name__ == "__main__":
    main()
