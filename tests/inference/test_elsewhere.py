"""Regions that are not fitted, with the parameters of the fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis import Catalogue, TtbarAnalysis, normalise, run, stages
from analysis.inference.likelihood import Likelihood
from analysis.plotting.fit import elsewhere_figure
from analysis.postprocess.normalisation import Normalised
from analysis.presets.cms import CMS, REGIONS, checks
from analysis.report.distributions import elsewhere_chart

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def scaled(catalogue: Catalogue) -> Normalised:
    """Of the preset, with a fitted region twice, one that is in two of them, and one of other observable."""
    same = replace(REGIONS[1], name="same")
    wide = replace(REGIONS[0], name="wide", where=lambda s: s.n_btags >= 1)
    (other,) = [region for region in checks() if region.name == "4j1b_lepton_pt"]
    return normalise(run(TtbarAnalysis(preset=CMS).adding(regions=[same, wide, other]), catalogue))


@pytest.fixture(scope="module")
def model(scaled: Normalised) -> stages.Model:
    return stages.model_of(scaled, observed="data", allow_incomplete=True)


def test_only_regions_within_a_fitted_one_are_shown(model: stages.Model) -> None:
    assert list(model.elsewhere) == ["same", "4j1b_lepton_pt"]
    assert any(
        note.startswith("region wide: not shown after the fit, as it shares events with 3j1b and")
        for note in model.built.notes
    )
    assert model.caption.binnings["4j1b_lepton_pt_muon"].bins == 12
    assert model.caption.binnings["4j1b_muon"].bins == 11


def test_parameters_act_as_in_the_region_whose_events_they_are(model: stages.Model) -> None:
    found = stages.measure(model, with_ranking=False, force=True)
    fitted = {yields.channel: yields for yields in found.fit.yields}
    likelihood = Likelihood(model.built.spec)
    values = np.array([parameter.value for parameter in found.fit.parameters])
    # The statistics of the simulation are not the fit's.
    own = ["staterror" in name for name in likelihood.names]
    after = likelihood.expected(np.where(own, 1.0, values))
    slices, lepton = likelihood.model.config.channel_slices, found.elsewhere["4j1b_lepton_pt"][0]
    figure = elsewhere_figure(found.elsewhere["same"], model.caption)
    assert len(figure.axes) == 4
    chart = elsewhere_chart(found.elsewhere, model.caption)
    assert chart is not None
    assert len(chart.specs) == len(chart.rows) == 4
    assert elsewhere_chart({}, model.caption) is None
    for like, yields in (("4j1b_electron", lepton), ("3j2b_muon", found.elsewhere["same"][1])):
        assert sum(yields.data) == sum(fitted[like].data)
        assert np.sum(yields.prefit) == pytest.approx(np.sum(fitted[like].prefit))
        assert yields.prefit_total_error == pytest.approx(fitted[like].prefit_total_error)
        assert np.sum(yields.postfit) == pytest.approx(np.sum(after[slices[like]]), rel=1e-3)
        # The fit knows the rates better than before, but not the statistics of these bins.
        assert (
            fitted[like].postfit_total_error
            < yields.postfit_total_error
            < yields.prefit_total_error
        )
