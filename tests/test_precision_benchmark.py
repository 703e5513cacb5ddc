"""What `benchmarks/precision.py` makes pseudo-data and models of."""

from __future__ import annotations

import numpy as np
import pytest

from analysis import Catalogue, TtbarAnalysis, normalise, run, stages
from analysis.datasets.bundled import REAL_DATA
from analysis.datasets.sample import NOMINAL
from analysis.inference.config import InferenceConfig
from analysis.inference.templates import Template
from analysis.postprocess.normalisation import Normalised
from analysis.presets.cms import CMS
from analysis.simulation.sample import TTBAR_STRENGTH
from benchmarks import precision


@pytest.fixture(scope="module")
def stressed(catalogue: Catalogue) -> Normalised:
    analysis = TtbarAnalysis(preset=CMS).adding(
        shifts=precision.STRESSED, weights=precision.WEIGHTED
    )
    return normalise(run(analysis, catalogue))


def test_pseudo_data_are_those_of_the_model_but_for_the_cross_section(
    stressed: Normalised,
) -> None:
    model = stages.model_of(stressed, _leaving_out(stressed), "asimov", allow_incomplete=True)
    own = precision.pseudo_data(stressed, model, NOMINAL, own=True)
    other = precision.pseudo_data(stressed, model, NOMINAL, own=False)
    for channel in model.built.spec["channels"]:
        expected = sum(
            np.array(s["data"]) * (TTBAR_STRENGTH if s["name"] == "ttbar" else 1)
            for s in channel["samples"]
        )
        np.testing.assert_allclose(own[channel["name"]].values, expected)
        assert not own[channel["name"]].variances.any()
        assert other[channel["name"]].variances.any()


def test_the_acceptance_is_that_of_all_selected_signal(stressed: Normalised) -> None:
    assert precision.acceptance(stressed, NOMINAL) == 0.0
    signal = [region[{"process": "ttbar"}] for region in stressed.regions.values()]
    varied, nominal = (
        sum(region[{"variation": name}].sum(flow=True).value for region in signal)
        for name in ("stress_jes_up", NOMINAL)
    )
    assert precision.acceptance(stressed, "stress_jes_up") == pytest.approx(varied / nominal - 1)


def _leaving_out(scaled: Normalised) -> InferenceConfig:
    own = stages.own_model(scaled)
    names = [part.name for part in (*precision.STRESSED, *precision.WEIGHTED)]
    return own.model_copy(update={"left_out": (*own.left_out, *names)})


def test_the_real_simulation_has_the_errors_of_its_events() -> None:
    errors = {"name": "staterror_a", "type": "staterror", "data": [9.0, 9.0]}
    samples = [{"name": "single_top_tW", "data": [25.0, 100.0], "modifiers": [errors]}]
    found = precision.as_the_real(
        {"channels": [{"name": "a", "samples": samples}]}, Catalogue.load(REAL_DATA)
    )
    # tW has 35.6 pb twice, and 1,999,400 events.
    weight = 2256.38 * 71.2 / 1_999_400
    (modifier,) = found["channels"][0]["samples"][0]["modifiers"]
    assert modifier["data"] == pytest.approx([5 * weight**0.5, 10 * weight**0.5], rel=1e-4)
    assert errors["data"] == [9.0, 9.0]


def test_pseudo_data_of_another_sample_have_the_statistics_of_both() -> None:
    errors = {"name": "staterror_a", "type": "staterror", "data": [3.0]}
    samples = [
        {"name": name, "data": [100.0], "modifiers": [errors]} for name in ("ttbar", "wjets")
    ]
    spec = {"channels": [{"name": "a", "samples": samples}]}
    data = {"a": Template(np.array([180.0]), np.array([16.0]))}
    signal = TTBAR_STRENGTH**2 * 9
    for own, model in ((True, signal), (False, signal + 9)):
        found = precision.expectation(spec, data, own)["a"]
        assert found.values == pytest.approx(100 * TTBAR_STRENGTH + 100)
        assert found.variances == pytest.approx(16 + model)


def test_more_events_have_smaller_errors() -> None:
    errors = {"name": "staterror_a", "type": "staterror", "data": [2.0, 4.0]}
    rate = {"name": "rate", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}}
    samples = [{"name": "wjets", "data": [10.0, 20.0], "modifiers": [errors, rate]}]
    spec = {"channels": [{"name": "a_muon", "samples": samples}]}
    (channel,) = precision.with_more_events(spec)["channels"]
    assert channel["samples"][0]["modifiers"] == [{**errors, "data": [1.0, 2.0]}, rate]
    (channel,) = precision.with_multijets(spec)["channels"]
    assert channel["samples"][-1]["data"] == pytest.approx([0.1 * 1.5 * 10, 0.1 * 0.5 * 20])
