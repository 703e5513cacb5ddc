"""Channels of a run, fitted together or each by itself."""

from __future__ import annotations

import numpy as np
import pytest

from analysis import Catalogue, InferenceConfig, TtbarAnalysis, normalise, run
from analysis.config import AnalysisConfig
from analysis.inference.templates import Templates, from_results
from analysis.postprocess.normalisation import Normalised

MODEL = InferenceConfig(processes=("ttbar", "wjets"))


@pytest.fixture(scope="module")
def normalised(catalogue: Catalogue) -> Normalised:
    config = AnalysisConfig(variations={"jet_energy": False, "btag_jets": 0})
    return normalise(run(TtbarAnalysis(config), catalogue))


def templates(normalised: Normalised, **changes: object) -> Templates:
    return from_results(normalised, MODEL.model_copy(update=changes))


def test_channels_apart_add_up_to_the_channels_together(normalised: Normalised) -> None:
    together, apart = templates(normalised), templates(normalised, channels="apart")
    assert together.regions == ["4j1b", "4j2b"]
    assert apart.regions == ["4j1b_electron", "4j1b_muon", "4j2b_electron", "4j2b_muon"]
    for process in ("ttbar", "wjets"):
        for region in together.regions:
            whole = together.nominal(region, process)
            parts = [apart.nominal(f"{region}_{name}", process) for name in ("electron", "muon")]
            assert whole is not None
            assert all(part is not None and part.values.sum() > 0 for part in parts)
            np.testing.assert_allclose(sum(p.values for p in parts if p), whole.values)
            np.testing.assert_allclose(sum(p.variances for p in parts if p), whole.variances)


def test_a_channel_that_the_analysis_does_not_have_is_in_no_region(catalogue: Catalogue) -> None:
    muons = TtbarAnalysis().of_channels("muon")
    scaled = normalise(run(muons, catalogue.select(["ttbar__nominal"])))
    assert list(scaled.regions_by_channel) == ["4j1b_muon", "4j2b_muon"]
    assert scaled.region_infos["4j2b_muon"].label.startswith(r"$\mu$, ")
