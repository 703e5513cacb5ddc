"""The model that preset `cms` brings: its names, its likelihood against pyhf's, its fit against cabinetry's."""

from __future__ import annotations

from pathlib import Path

import cabinetry
import numpy as np
import pytest
from cabinetry import model_utils

from analysis import Catalogue, TtbarAnalysis, normalise, run, stages
from analysis.common.names import source
from analysis.datasets.bundled import SAMPLE
from analysis.inference.config import InferenceConfig
from analysis.inference.fit import fit
from analysis.inference.likelihood import Likelihood
from analysis.postprocess.normalisation import Normalised
from analysis.presets.cms import CMS
from analysis.presets.cms_fit import MODEL

POINTS = 20
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
CATEGORIES = ("3j1b", "3j2b", "4j1b", "4j2b")


@pytest.fixture(scope="module")
def scaled(catalogue: Catalogue) -> Normalised:
    return normalise(run(TtbarAnalysis(preset=CMS), catalogue))


@pytest.fixture(scope="module")
def bundled() -> Normalised:
    return normalise(run(TtbarAnalysis(preset=CMS), Catalogue.load(SAMPLE)))


def test_the_model_names_what_the_analysis_fills() -> None:
    analysis, model = TtbarAnalysis(preset=CMS), InferenceConfig.of_run(MODEL)
    assert tuple(region.name for region in analysis.regions) == model.regions == CATEGORIES
    parts = (*analysis.shifts, *analysis.weights, *analysis.corrections)
    filled = {name for part in parts for name in part.variations}
    default = InferenceConfig().systematics.keys() & model.systematics.keys()
    own = {
        n for name, v in model.systematics.items() if name not in default for n in (v.up, v.down)
    }
    assert filled - {"pt_res_up", "pt_res_down"} == own
    for region in analysis.regions:
        axis, bins = region.binning or analysis.config.observable, model.binning_of(region.name)
        width, fine = (bins.high - bins.low) / bins.bins, (axis.high - axis.low) / axis.bins
        for value in (width / fine, (bins.low - axis.low) / fine, (axis.high - bins.high) / fine):
            assert value == pytest.approx(round(value))


def test_the_run_is_fitted_by_the_model_that_it_brings(scaled: Normalised) -> None:
    built = stages.model_of(scaled, observed="asimov", allow_incomplete=True).built
    names = [channel["name"] for channel in built.spec["channels"]]
    assert names == [
        f"{region}_{flavour}" for region in CATEGORIES for flavour in ("electron", "muon")
    ]
    found = {
        m["name"] for c in built.spec["channels"] for s in c["samples"] for m in s["modifiers"]
    }
    assert {
        "Lepton efficiency, muon",
        "W+jets with 3 jets",
        "ttbar scale variations, acceptance",
    } <= found
    assert not {source(name) for name in found} & {"Jet energy scale", "b-tag NP 1"}


@pytest.mark.full
def test_the_charge_divides_each_category(catalogue: Catalogue, scaled: Normalised) -> None:
    analysis = stages.named_analysis(str(EXAMPLES / "charge.py"))
    apart = normalise(run(analysis, catalogue))
    for region, both in scaled.regions.items():
        parts = [apart.regions[f"{region}_{sign}"] for sign in ("plus", "minus")]
        np.testing.assert_allclose(
            sum(part.values(flow=True) for part in parts), both.values(flow=True)
        )
    model = stages.model_of(apart, observed="asimov", allow_incomplete=True)
    assert set(model.ways["charge"]) == {"plus", "minus"}
    assert len(model.built.spec["channels"]) == 16
    rates = {
        m["name"]
        for channel in model.built.spec["channels"]
        for sample in channel["samples"]
        for m in sample["modifiers"]
        if channel["name"].startswith("3j2b_minus")
    }
    assert {"W+jets with 3 jets"} == {name for name in rates if name.startswith("W+jets with")}


@pytest.mark.full
def test_the_likelihood_is_that_of_pyhf(bundled: Normalised) -> None:
    spec = stages.model_of(bundled).built.spec
    likelihood = Likelihood(spec)
    rng = np.random.default_rng(22)
    low, high = likelihood.bounds
    data = np.concatenate([likelihood.main, likelihood.auxiliary])
    for _ in range(POINTS):
        point = np.clip(likelihood.initial + rng.normal(0, 0.3, low.size), low + 0.1, high)
        point[likelihood.constant] = likelihood.initial[likelihood.constant]
        expected = float(-2 * likelihood.model.logpdf(point, data)[0])
        assert likelihood.value(point) == pytest.approx(expected, rel=1e-9)


@pytest.mark.full
def test_cabinetry_fits_the_same(bundled: Normalised) -> None:
    spec = stages.model_of(bundled).built.spec
    ours = fit(spec).result
    model, data = model_utils.model_and_data(spec)
    theirs = cabinetry.fit.fit(model, data)
    poi = theirs.labels.index(ours.poi)
    assert theirs.bestfit[poi] == pytest.approx(ours.value, abs=0.02 * ours.error)
    assert theirs.uncertainty[poi] == pytest.approx(ours.error, rel=0.05)
    assert theirs.best_twice_nll >= ours.twice_nll - 1e-3
