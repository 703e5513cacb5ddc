"""Samples of their own: what fluctuates is left out, what differs is taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from analysis.inference import workspace
from analysis.inference.config import InferenceConfig
from analysis.inference.fit import fit
from analysis.inference.templates import Template, Templates
from analysis.inference.two_point import rates_p_value, shapes_p_value

SHAPE = 4000 * np.exp(-np.arange(11) / 4)
MODEL = InferenceConfig(processes=("ttbar",))
NAMES = ("ME variation", "PS variation", "ttbar scale variations")


def counts(*values: float) -> Template:
    return Template(np.array(values), np.array(values))


def test_shapes_by_hand() -> None:
    """Differences of 20 and -20, with variances of 220 and 180."""
    chi2 = 20**2 / 220 + 20**2 / 180
    found = shapes_p_value(counts(120, 80), counts(100, 100))
    assert found == pytest.approx(stats.chi2.sf(chi2, 1))
    # The rate is no shape: the second sample is scaled to the first, by 2.
    chi2 = 20**2 / (120 + 200) + 20**2 / (80 + 200)
    found = shapes_p_value(counts(120, 80), counts(50, 50))
    assert found == pytest.approx(stats.chi2.sf(chi2, 1))


def test_bins_of_few_events_are_added_up() -> None:
    assert shapes_p_value(counts(100, 4, 4, 2), counts(100, 4, 2, 4)) == pytest.approx(
        shapes_p_value(counts(100, 10), counts(100, 10))
    )
    assert shapes_p_value(counts(3, 1), counts(0, 4)) == 1
    assert shapes_p_value(counts(0, 0), counts(10, 10)) == 1


def test_templates_without_errors_differ_where_they_differ() -> None:
    one, other = (Template(np.array(v), np.zeros(2)) for v in ([120.0, 80.0], [100.0, 100.0]))
    assert shapes_p_value(one, one) == 1
    assert shapes_p_value(one, other) == 0
    # Against a sample, its error is the only one.
    found = shapes_p_value(one, counts(100, 100))
    assert found == pytest.approx(stats.chi2.sf(2 * 20**2 / 100, 1))


def test_rates_by_hand() -> None:
    """Ratios of 1.2 and 0.8 of samples of 100 events."""
    pairs = [(counts(60, 60), counts(50, 50)), (counts(40, 40), counts(50, 50))]
    logarithms = np.log([1.2, 0.8])
    variances = np.array([1 / 120 + 1 / 100, 1 / 80 + 1 / 100])
    mean = np.sum(logarithms / variances) / np.sum(1 / variances)
    chi2 = np.sum((logarithms - mean) ** 2 / variances)
    assert rates_p_value(pairs) == pytest.approx(stats.chi2.sf(chi2, 1))
    assert rates_p_value(pairs[:1]) == 1


def test_p_values_of_noise_are_flat() -> None:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(2000):
        one, other = (rng.poisson(SHAPE / 10).astype(float) for _ in "ab")
        found.append(shapes_p_value(Template(one, one), Template(other, other)))
    assert stats.kstest(found, "uniform").pvalue > 1e-4


def made(varied: dict[tuple[str, str], Any]) -> Templates:
    """Templates of tt̄ as large as the data; `varied`: region and variation -> events."""
    regions = list(dict.fromkeys(region for region, _ in varied))
    by_key = {
        (region, process, "nominal"): Template(SHAPE, SHAPE)
        for region in regions
        for process in ("ttbar", "data")
    }
    for (region, name), values in varied.items():
        by_key[region, "ttbar", name] = Template(values, values)
    return Templates(regions, ["ttbar"], by_key, [], 831.76)


def noise(seed: int) -> Templates:
    rng = np.random.default_rng(seed)
    names = ("ME_var", "PS_var", "scaleup", "scaledown")
    return made(
        {
            (region, name): rng.poisson(SHAPE).astype(float)
            for region in ("4j1b", "4j2b")
            for name in names
        }
    )


def widths(templates: Templates, model: InferenceConfig) -> list[float]:
    found = fit(workspace.build(templates, model, "asimov").spec).result
    # What is not in the model is as wide as its prior.
    there = {p.name: p.constraint for p in found.parameters}
    return [there.get(name) or 1.0 for name in NAMES]


def test_noise_does_not_constrain_its_parameter() -> None:
    found = [width for seed in range(20) for width in widths(noise(seed), MODEL)]
    assert np.mean(np.array(found) < 0.9) < 0.05
    every = MODEL.model_copy(update={"significance": 1.0})
    taken = [width for seed in range(3) for width in widths(noise(seed), every)]
    assert np.mean(taken) < 0.7


def test_what_is_left_out_is_said() -> None:
    notes = workspace.build(noise(0), MODEL, "asimov").notes
    assert any(n.startswith("ttbar / ME variation: one rate in all regions") for n in notes)
    assert any(n.startswith("4j2b / ttbar / PS variation: shape left out, as the") for n in notes)


@pytest.mark.parametrize("region", ["4j1b", "4j2b"])
def test_a_difference_that_the_samples_tell_is_taken(region: str) -> None:
    """A slope in one region only; the other one has the common rate, and no shape."""
    slope = SHAPE * np.linspace(0.8, 1.3, 11)
    slope *= np.sum(SHAPE) / np.sum(slope)
    varied = {(r, "ME_var"): 1.1 * (slope if r == region else SHAPE) for r in ("4j1b", "4j2b")}
    spec = workspace.build(made(varied), MODEL, "asimov").spec
    kinds = {
        channel["name"]: {
            m["type"]: m["data"]
            for m in channel["samples"][0]["modifiers"]
            if m["name"] == "ME variation"
        }
        for channel in spec["channels"]
    }
    assert {name for name, found in kinds.items() if "histosys" in found} == {region}
    assert all(found["normsys"]["hi"] == pytest.approx(1.1) for found in kinds.values())
    np.testing.assert_allclose(kinds[region]["histosys"]["hi_data"], slope)


def test_rates_that_the_samples_tell_apart_are_of_each_region() -> None:
    varied = {("4j1b", "ME_var"): 1.1 * SHAPE, ("4j2b", "ME_var"): 0.9 * SHAPE}
    spec = workspace.build(made(varied), MODEL, "asimov").spec
    rates = [
        m["data"]["hi"]
        for channel in spec["channels"]
        for m in channel["samples"][0]["modifiers"]
        if m["name"] == "ME variation"
    ]
    assert rates == [pytest.approx(1.1), pytest.approx(0.9)]
    common = {("4j1b", "ME_var"): 1.101 * SHAPE, ("4j2b", "ME_var"): 1.099 * SHAPE}
    spec = workspace.build(made(common), MODEL, "asimov").spec
    for channel in spec["channels"]:
        (rate,) = (m for m in channel["samples"][0]["modifiers"] if m["name"] == "ME variation")
        assert rate["data"] == {"hi": pytest.approx(1.1), "lo": pytest.approx(0.9)}


def test_a_run_knows_which_samples_are_its_own() -> None:
    """Variations that the analysis makes of the events of nominal are no samples of their own."""
    filled = {"ttbar": ["nominal", "pt_scale_up", "pt_scale_down", "ME_var", "other"]}
    given = InferenceConfig.model_validate({"variations": {"mine": {"up": "other"}}})
    found = given.with_parts_of(filled, ["pt_scale_up", "pt_scale_down"]).variations
    assert {name for name, v in found.items() if v.independent} == {
        "ME variation", "PS variation", "ttbar scale variations", "mine",
    }  # fmt: skip
    own = given.with_parts_of(filled, ["pt_scale_up", "pt_scale_down", "ME_var"]).variations
    assert not own["ME variation"].independent


def test_channels_of_a_region_have_one_rate_where_only_regions_are_told_apart() -> None:
    factors = {"4j1b_electron": 1.1, "4j1b_muon": 1.102, "4j2b_electron": 0.9, "4j2b_muon": 0.898}
    varied = {(region, "ME_var"): factor * SHAPE for region, factor in factors.items()}
    built = workspace.build(made(varied), MODEL.model_copy(update={"channels": "apart"}), "asimov")
    found = {
        channel["name"]: m["data"]["hi"]
        for channel in built.spec["channels"]
        for m in channel["samples"][0]["modifiers"]
        if m["name"] == "ME variation"
    }
    expected = dict(zip(factors, (1.101, 1.101, 0.899, 0.899), strict=True))
    assert found == pytest.approx(expected)
    said = "ttbar / ME variation: one rate in 4j1b_electron, 4j1b_muon, as the samples"
    assert any(note.startswith(said) for note in built.notes)
