"""What `benchmarks/precision.py` makes pseudo-data and models of."""

from __future__ import annotations

import numpy as np
import pytest

from analysis import Catalogue, TtbarAnalysis, normalise, run, stages
from analysis.datasets.sample import NOMINAL
from analysis.inference.config import InferenceConfig
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


def _leaving_out(scaled: Normalised) -> InferenceConfig:
    own = stages.own_model(scaled)
    names = [part.name for part in (*precision.STRESSED, *precision.WEIGHTED)]
    return own.model_copy(update={"left_out": (*own.left_out, *names)})


def test_more_events_have_smaller_errors() -> None:
    errors = {"name": "staterror_a", "type": "staterror", "data": [2.0, 4.0]}
    rate = {"name": "rate", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}}
    samples = [{"name": "wjets", "data": [10.0, 20.0], "modifiers": [errors, rate]}]
    spec = {"channels": [{"name": "a_muon", "samples": samples}]}
    (channel,) = precision.with_more_events(spec)["channels"]
    assert channel["samples"][0]["modifiers"] == [{**errors, "data": [1.0, 2.0]}, rate]
    (channel,) = precision.with_multijets(spec)["channels"]
    assert channel["samples"][-1]["data"] == pytest.approx([0.1 * 1.5 * 10, 0.1 * 0.5 * 20])
