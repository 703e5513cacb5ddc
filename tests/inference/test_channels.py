"""Channels of a run, fitted together or each by itself."""

from __future__ import annotations

import numpy as np
import pytest

from analysis import Catalogue, InferenceConfig, Scaling, TtbarAnalysis, normalise, run, stages
from analysis.common.errors import ConfigError, WorkspaceError
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


def test_channels_apart_have_the_bins_of_their_region(normalised: Normalised) -> None:
    own = {"4j2b": {"bins": 4, "low": 150, "high": 550}}
    found = templates(normalised, channels="apart", binnings=own)
    sizes = {name: t.values.size for name in found.regions if (t := found.nominal(name, "ttbar"))}
    assert sizes == {"4j1b_electron": 11, "4j1b_muon": 11, "4j2b_electron": 4, "4j2b_muon": 4}


LINE = {"scale": {"up": "nowhere"}}
"""Of an analysis, it may be without a histogram; a user's may not."""


def built_upon(model: dict[str, object]) -> InferenceConfig:
    own = InferenceConfig.model_validate(model)
    return own.model_copy(update={"variations": {**own.variations, "other": {"up": "elsewhere"}}})


def test_an_analysis_brings_its_model(catalogue: Catalogue) -> None:
    config = AnalysisConfig(variations={"jet_energy": False, "btag_jets": 0})
    model = {
        "processes": ["ttbar", "wjets"],
        "channels": "apart",
        "pruning": 0.01,
        "variations": LINE,
    }
    scaled = normalise(run(TtbarAnalysis(config, model=model), catalogue))
    assert stages.own_model(scaled) == InferenceConfig.model_validate(model)
    built = stages.model_of(scaled, observed="asimov")
    assert len(built.built.spec["channels"]) == 4
    assert "scale: no histogram 'nowhere', the model has no such parameter" in built.built.notes
    with pytest.raises(WorkspaceError, match=r"variation .other.: no histogram .elsewhere."):
        stages.model_of(scaled, built_upon(model), "asimov")
    wrong = scaled._replace(ledger=scaled.ledger.model_copy(
        update={"analysis": {**scaled.ledger.analysis, "model": {"prunning": 0.01}}}
    ))  # fmt: skip
    with pytest.raises(ConfigError, match="model of the analysis: prunning: unknown key, did you"):
        stages.own_model(wrong)


def test_an_acceptance_of_its_own_is_not_of_the_cross_section(catalogue: Catalogue) -> None:
    filled = run(TtbarAnalysis(AnalysisConfig(variations={"jet_energy": False})), catalogue)
    larger = normalise(filled, Scaling(cross_sections_pb={"ttbar__scaleup": 2 * 831.76}))
    line = {"up": "scaleup", "processes": ["ttbar"]}
    found = [
        templates(
            scaled,
            variations={"scale": {**line, "acceptance": word}},
            left_out=["ttbar scale variations"],
        )
        for scaled in (normalise(filled), larger)
        for word in ("apart", "together")
    ]
    one, _, other, together = (t.by_key["4j1b", "ttbar", "scaleup"].values for t in found)
    np.testing.assert_allclose(other, one)
    np.testing.assert_allclose(together, 2 * one)


def test_the_last_bins_may_have_what_lies_beyond_them(normalised: Normalised) -> None:
    usual, whole = templates(normalised), templates(normalised, overflow=True)
    for region, histogram in normalised.regions.items():
        (one, other), filled = (
            (t.by_key[region, "ttbar", "nominal"] for t in (usual, whole)),
            histogram[{"process": "ttbar", "variation": "nominal"}],
        )
        np.testing.assert_allclose(other.values[1:-1], one.values[1:-1])
        everything = filled.sum(flow=True)
        assert other.values.sum() == pytest.approx(everything.value)
        assert other.variances.sum() == pytest.approx(everything.variance)
        assert other.values[-1] > one.values[-1]
