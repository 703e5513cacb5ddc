"""The fit against numbers known otherwise: by hand, from a reference, or that it must refuse."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import iminuit
import numpy as np
import pytest

from analysis.common.errors import FitError, WorkspaceError
from analysis.inference import impacts, minimise, profile
from analysis.inference.fit import BestFit, fit
from analysis.inference.impacts import breakdown, ranking, scan
from analysis.inference.likelihood import Array, Likelihood
from analysis.inference.measurement import measure
from analysis.inference.minimise import minimum
from tests.inference.models import BACKGROUND, SIGNAL, counting, sample, shapes, workspace


@pytest.fixture(scope="module")
def best() -> BestFit:
    return fit(shapes())


def test_a_counting_experiment_has_its_textbook_answer() -> None:
    best = fit(counting(130))
    assert best.result.value == pytest.approx(1.0, abs=1e-4)
    assert best.result.error == pytest.approx(math.sqrt(130) / 100, rel=2e-3)
    # -2 Δ ln L = 1 solved for n = 130: 11.74 up, 11.07 down.
    assert best.result.error_up == pytest.approx(0.1174, abs=3e-4)
    assert best.result.error_down == pytest.approx(0.1107, abs=3e-4)
    assert breakdown(best) == pytest.approx(
        {"statistical": best.result.error, "systematic": 0.0}, abs=1e-6
    )


def test_data_as_predicted_pull_nothing(best: BestFit) -> None:
    assert best.result.value == pytest.approx(1.0, abs=1e-4)
    assert best.result.goodness.chi2 == pytest.approx(0.0, abs=1e-3)
    assert best.result.goodness.degrees_of_freedom == 5
    for parameter in best.result.parameters:
        if parameter.pull is not None:
            assert parameter.pull == pytest.approx(0.0, abs=1e-3)
    luminosity = best.result["Luminosity"]
    assert luminosity.constraint == pytest.approx(1.0, abs=0.02)
    with pytest.raises(KeyError, match="Luminosity"):
        best.result["luminosity"]


def test_yields_are_those_of_the_workspace_before_and_the_data_after(best: BestFit) -> None:
    for yields, factor in zip(best.result.yields, (1.0, 2.0), strict=True):
        total = [sum(bins) for bins in zip(*yields.postfit, strict=True)]
        assert total == pytest.approx(yields.data, rel=1e-3)
        assert yields.prefit[yields.samples.index("signal")][1] == pytest.approx(60 * factor)
        assert yields.postfit_total_error < yields.prefit_total_error


def test_groups_add_up_to_the_error(best: BestFit) -> None:
    parts = breakdown(best)
    total = math.hypot(parts["statistical"], parts["systematic"], parts["luminosity"])
    assert total == pytest.approx(best.result.error, rel=1e-6)
    assert {"jet energy", "backgrounds", "simulation statistics"} <= parts.keys()
    # Nothing else knows the luminosity: its part is 3 % of prediction over signal, and no less.
    assert 0.03 < parts["luminosity"] < 0.2


def test_the_impact_of_the_luminosity_is_its_covariance(best: BestFit) -> None:
    impacts = ranking(best)
    assert {impact.name for impact in impacts} == {
        "Luminosity", "Jet energy scale", "Cross section"
    }  # fmt: skip
    assert [impact.size for impact in impacts] == sorted((i.size for i in impacts), reverse=True)
    names = best.likelihood.names
    index = names.index("Luminosity")
    expected = best.covariance[index, best.likelihood.poi] / best.errors[index]
    impact = next(impact for impact in impacts if impact.name == "Luminosity")
    assert impact.postfit_up == pytest.approx(expected, rel=0.1)


def test_impacts_are_those_of_fits_that_came_to_their_minimum(best: BestFit) -> None:
    """Not of where they began, by the covariance: that is the same up and down, and wrong by 1 %."""
    likelihood = best.likelihood
    for impact in ranking(best):
        index = likelihood.names.index(impact.name)
        for move, found in ((1, impact.postfit_up), (-1, impact.postfit_down)):
            held = {index: float(best.values[index] + move * best.errors[index])}
            exact = by_minuit_alone(likelihood, held)
            assert found == pytest.approx(
                exact.values[likelihood.poi] - best.result.value, abs=2e-4
            )


def by_minuit_alone(
    likelihood: Likelihood, held: Mapping[int, float], start: Array | None = None
) -> iminuit.Minuit:
    """Another minimiser, with numerical derivatives."""
    begin = (likelihood.initial if start is None else start).copy()
    begin[list(held)] = list(held.values())
    minuit = iminuit.Minuit(likelihood.value, begin)
    minuit.errordef = iminuit.Minuit.LEAST_SQUARES
    minuit.limits = list(zip(*likelihood.bounds, strict=True))
    minuit.fixed = [constant or i in held for i, constant in enumerate(likelihood.constant)]
    minuit.strategy, minuit.tol = 2, 1e-4
    return minuit.migrad()


def test_the_scan_is_1_at_the_minos_errors(best: BestFit) -> None:
    result = scan(best, points=3, width=best.result.error_up / best.result.error)
    low, middle, high = result.twice_delta_nll
    assert middle == pytest.approx(0.0, abs=1e-4)
    assert high == pytest.approx(1.0, abs=0.01)
    assert low == pytest.approx(1.0, abs=0.2)


def two_minima() -> dict[str, object]:
    """A shape that goes to the same side up and down; the data are those of up."""
    spec = shapes()
    for channel, factor in (("A", 1.0), ("B", 2.0)):
        for name in ("signal", "background"):
            one = sample(spec, name, channel)
            one["data"] = [100 * x for x in one["data"]]
            one["modifiers"] = [
                m for m in one["modifiers"] if m["type"] in {"normfactor", "histosys"}
            ]
        shape = next(
            m for m in sample(spec, channel=channel)["modifiers"] if m["type"] == "histosys"
        )
        nominal = [100 * factor * x for x in SIGNAL]
        varied = {"hi_data": (1.25, 1.0, 0.9), "lo_data": (1.3, 1.12, 0.88)}
        for key, ratios in varied.items():
            shape["data"][key] = [x * r for x, r in zip(nominal, ratios, strict=True)]
        observed = [
            100 * factor * b + s for b, s in zip(BACKGROUND, shape["data"]["hi_data"], strict=True)
        ]
        next(o for o in spec["observations"] if o["name"] == channel)["data"] = observed
    return spec


def test_of_two_minima_the_lower_is_the_result_and_the_other_is_said() -> None:
    spec = two_minima()
    likelihood = Likelihood(spec)
    index = likelihood.names.index("Jet energy scale")
    found = {}
    for side in (-1.0, 1.0):
        start = likelihood.initial.copy()
        start[index] = side
        found[side] = by_minuit_alone(likelihood, {}, start)
        assert found[side].values[index] * side > 0.5
    assert found[-1.0].fval > found[1.0].fval + 0.05
    result = fit(spec).result
    assert result["Jet energy scale"].value == pytest.approx(found[1.0].values[index], abs=0.01)
    (other,) = result.other_minima
    assert other.value == pytest.approx(found[-1.0].values[likelihood.poi], abs=1e-3)
    assert other.twice_delta_nll == pytest.approx(found[-1.0].fval - found[1.0].fval, abs=1e-3)


def test_the_scan_follows_the_lower_of_two_minima() -> None:
    best = fit(two_minima())
    result = scan(best, points=21, width=6)
    index = best.likelihood.names.index("Jet energy scale")
    for value, height in zip(result.values, result.twice_delta_nll, strict=True):
        for side in (-1.0, 1.0):
            start = best.likelihood.initial.copy()
            start[index] = side
            held = minimum(best.likelihood, start, {best.likelihood.poi: value})
            assert height <= held.twice_nll - best.result.twice_nll + 0.02
    lowest = result.twice_delta_nll.index(min(result.twice_delta_nll))
    assert lowest == 10


def test_a_strength_that_others_nearly_are_has_its_error() -> None:
    """One bin: strength, background and luminosity are nearly degenerate."""

    def rate(name: str, relative: float) -> dict[str, object]:
        return {"type": "normsys", "name": name, "data": {"hi": 1 + relative, "lo": 1 - relative}}

    strength = {"type": "normfactor", "name": "ttbar_norm", "data": None}
    samples = [
        {"name": "signal", "data": [10_000.0], "modifiers": [strength, rate("Luminosity", 0.03)]},
        {"name": "background", "data": [2_000.0], "modifiers": [rate("background", 0.2)]},
    ]
    spec = workspace({"bin": samples}, {"bin": [12_000.0]})
    result = fit(spec).result
    by_hand = (12_000 / 10_000**2 + 0.03**2 + (0.2 * 0.2) ** 2) ** 0.5
    # The polynomial that joins both directions is a little steeper than 0.2 and 0.03 in the middle.
    assert result.error == pytest.approx(by_hand, rel=0.005)
    assert result.error_check == result.error


def test_the_error_is_the_curvature() -> None:
    assert fit(counting(130.0)).result.error == pytest.approx(130**0.5 / 100, rel=1e-6)


def test_an_error_that_the_profile_does_not_confirm_is_the_profiles() -> None:
    """A background that cannot become less: its end is at the best fit, and the profile has two slopes."""
    spec = counting(130.0)
    shape = {"type": "histosys", "name": "shape", "data": {"hi_data": [60.0], "lo_data": [1.0]}}
    sample(spec, "background", "bin")["modifiers"].append(shape)
    parameters = spec["measurements"][0]["config"]["parameters"]
    parameters.append({"name": "shape", "bounds": [[-1e-6, 5.0]]})
    measurement = measure(spec, cross_section_pb=1.0, with_ranking=False)
    result = measurement.fit
    both, alone = math.hypot(math.sqrt(130), 29.5) / 100, math.sqrt(130) / 100
    # Above 1 the background stays, below it becomes more: half of either curvature.
    assert result.error_check == pytest.approx(both, rel=1e-3)
    expected = (2 / (1 / both**2 + 1 / alone**2)) ** 0.5
    assert result.error == pytest.approx(expected, rel=0.01)
    assert any("is that of its profile" in remark for remark in measurement.remarks)


def test_a_strength_at_its_bound_has_the_end_of_its_interval_for_an_error() -> None:
    """40 events over 50 ± 10 %, 10 at strength 1: -2 ln L is higher by 1 at 0.313."""
    spec = counting(40.0)
    sample(spec, "signal", "bin")["data"] = [10.0]
    background = sample(spec, "background", "bin")
    background["data"] = [50.0]
    rate = {"type": "normsys", "name": "rate", "data": {"hi": 1.1, "lo": 0.9}}
    background["modifiers"].append(rate)
    measurement = measure(spec, cross_section_pb=100.0, with_ranking=False)
    assert measurement.fit.value == 0
    assert measurement.fit.error == measurement.fit.error_up == pytest.approx(0.313, abs=0.002)
    assert measurement.fit.error_down == 0
    section = measurement.cross_section
    parts = (section.statistical, section.systematic, section.luminosity)
    assert math.hypot(*parts) == pytest.approx(31.3, abs=0.2)
    assert max(measurement.scan.values) > 0.6


def test_a_parameter_that_is_fixed_stays_where_it_is() -> None:
    """Also where its mirror image fits better."""
    spec = workspace(
        {
            "bin": [
                {"name": "signal", "data": [30.0, 30.0], "modifiers": [
                    {"type": "normfactor", "name": "ttbar_norm", "data": None}]},
                {"name": "background", "data": [100.0, 100.0], "modifiers": [
                    {"type": "histosys", "name": "k",
                     "data": {"hi_data": [120.0, 110.0], "lo_data": [80.0, 90.0]}}]},
            ]
        },
        {"bin": [132.0, 122.0]},
    )  # fmt: skip
    fixed = {"name": "k", "inits": [-1.0], "fixed": True}
    spec["measurements"][0]["config"]["parameters"] = [fixed]
    result = fit(spec).result
    assert (result.value, result.error) == (
        pytest.approx(1.413, abs=0.002), pytest.approx(0.265, abs=0.001)
    )  # fmt: skip
    assert (result["k"].value, result["k"].error) == (-1.0, 0.0)
    assert result.other_minima == []


def test_the_goodness_of_fit_counts_auxiliary_measurements() -> None:
    """One that is three errors from its nominal value, against the data."""
    spec = workspace(
        {
            "bin": [
                {"name": "signal", "data": [10.0, 20.0], "modifiers": [
                    {"type": "normfactor", "name": "ttbar_norm", "data": None}]},
                {"name": "background", "data": [100.0, 50.0], "modifiers": [
                    {"type": "normsys", "name": "rate", "data": {"hi": 1.1, "lo": 0.9}}]},
            ]
        },
        {"bin": [95.0, 80.0]},
    )  # fmt: skip
    measured = {"name": "rate", "auxdata": [3.0]}
    spec["measurements"][0]["config"]["parameters"] = [measured]
    result = fit(spec).result
    assert result.goodness.chi2 == pytest.approx(9.74, abs=0.05)
    assert result["rate"].pull == pytest.approx(-1.73, abs=0.02)


def test_a_conditional_fit_that_fails_costs_its_own_number_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    search = profile.minimum
    jes = Likelihood(shapes()).names.index("Jet energy scale")

    def without_some(
        likelihood: Likelihood, start: Array | None = None, held: Mapping[int, float] | None = None
    ) -> minimise.Found:
        if held and (held.get(jes, 0.0) > 0 or held.get(likelihood.poi, 0.0) > 1.35):
            msg = "did not converge"
            raise FitError(msg)
        return search(likelihood, start, held)

    whole = measure(shapes(), cross_section_pb=1.0)
    for module in (profile, impacts):
        monkeypatch.setattr(module, "minimum", without_some)
    measurement = measure(shapes(), cross_section_pb=1.0)
    assert measurement.cross_section == whole.cross_section
    assert len(measurement.scan.values) < len(whole.scan.values)
    impact = next(i for i in measurement.ranking if i.name == "Jet energy scale")
    expected = next(i for i in whole.ranking if i.name == "Jet energy scale")
    assert impact.prefit_up is impact.postfit_up is None
    assert (impact.prefit_down, impact.postfit_down) == (
        expected.prefit_down, expected.postfit_down
    )  # fmt: skip
    assert any("not known" in r and "Jet energy scale" in r for r in measurement.remarks)


def test_what_makes_the_errors_doubtful_is_said() -> None:
    measurement = measure(two_minima(), cross_section_pb=1.0, with_ranking=False)
    assert any("another minimum at ttbar_norm" in remark for remark in measurement.remarks)
    spec = shapes()
    for channel in ("A", "B"):
        for name in ("signal", "background"):
            fraction = {"type": "normfactor", "name": "luminosity fraction", "data": None}
            sample(spec, name, channel)["modifiers"].append(fraction)
        # A background that is hardly there, and the data of signal alone.
        background = sample(spec, "background", channel)
        background["data"] = [0.02 * x for x in background["data"]]
        data = next(o for o in spec["observations"] if o["name"] == channel)
        data["data"] = sample(spec, "signal", channel)["data"]
    remarks = measure(spec, cross_section_pb=1.0, with_ranking=False).remarks
    assert any("ttbar_norm and luminosity fraction are hardly measured" in r for r in remarks)
    assert measure(shapes(), cross_section_pb=1.0, with_ranking=False).remarks == []


def test_parameters_at_an_end_of_their_range_are_said() -> None:
    """Their error is none, and that of the strength too small."""
    spec = shapes()
    for observation in spec["observations"]:
        observation["data"] = [x / 20 for x in observation["data"]]
    remarks = measure(spec, cross_section_pb=1.0, with_ranking=False).remarks
    (said,) = (remark for remark in remarks if remark.startswith("at an end of their range"))
    assert said.endswith(": ttbar_norm, Cross section, Luminosity")


def test_a_search_leaves_a_saddle() -> None:
    """1.3 times the background either way, 400 events over 300: near 0 the second derivative is negative."""
    rate = {"name": "rate", "type": "normsys", "data": {"hi": 1.3, "lo": 1.3}}
    spec = workspace(
        {"bin": [{"name": "background", "data": [300.0], "modifiers": [rate]}]}, {"bin": [400.0]}
    )
    spec["measurements"][0]["config"]["poi"] = "rate"
    likelihood = Likelihood(spec)
    start = np.array([1e-4])
    slope, _ = likelihood.derivatives(start)
    found = minimise.minimum(likelihood, start)
    second = likelihood.curvature(start, np.array([0]), np.ones((1, 1)))
    assert second[0, 0] < 0
    assert minimise._step(minimise._positive(second), slope, 0.0) * slope > 0
    # 300 × 1.3^x is 4.03 short of 400, which pull by ln 1.3 as x pulls back.
    assert found.values[0] == pytest.approx(1.058, abs=1e-3)


def test_a_fit_that_does_not_converge_gives_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minimise, "_STEPS", 1)
    monkeypatch.setattr(minimise, "_CALLS", 1)
    with pytest.raises(FitError, match=r"did not converge: -2 ln L is still"):
        fit(two_minima())


def test_a_signal_that_is_not_there_gives_no_number() -> None:
    spec = counting()
    sample(spec, "signal", "bin")["data"] = [0.0]
    with pytest.raises(FitError, match="the data do not determine ttbar_norm"):
        fit(spec)


def test_a_strength_that_another_parameter_can_be_is_determined_by_the_bounds_of_that() -> None:
    """130 events of signal and a background of its shape, free within 0 and 2 times 30."""
    spec = counting(130.0)
    free = {"type": "normfactor", "name": "background", "data": None}
    sample(spec, "background", "bin")["modifiers"].append(free)
    bounds = {"name": "background", "bounds": [[0.0, 2.0]]}
    spec["measurements"][0]["config"]["parameters"] = [bounds]
    measurement = measure(spec, cross_section_pb=1.0, with_ranking=False)
    result = measurement.fit
    assert result.value + result.error_up == pytest.approx(1.3 + 0.117, abs=0.003)
    assert result.value - result.error_down == pytest.approx(0.7 - 0.111, abs=0.003)
    assert 0.3 < result.error < 0.5


@pytest.mark.parametrize("spec", [{}, {"channels": []}, {**shapes(), "measurements": []}])
def test_what_is_no_workspace_is_refused(spec: dict[str, object]) -> None:
    with pytest.raises(WorkspaceError, match="not a workspace"):
        fit(spec)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "value", "error", "up", "down"),
    [
        ("reference/ttbar_2015_workspace", 0.9644, 0.0756, 0.080, 0.077),
        ("cases/fits/refused_asimov", 1.0, 0.150, 0.162, 0.140),
        ("cases/fits/refused_poisson1", 1.0149, 0.155, 0.168, 0.143),
        ("cases/fits/refused_poisson6", 1.0505, 0.158, 0.171, 0.147),
        ("cases/fits/hesse_wrong_poisson9", 1.0224, 0.154, 0.167, 0.143),
        ("cases/fits/cms2015_fulllumi_workspace", 0.9938, 0.153, 0.165, 0.142),
    ],
)
def test_templates_of_full_simulation_have_their_errors(
    shared: Path, name: str, value: float, error: float, up: float, down: float
) -> None:
    """By a likelihood of its own, its profile's curvature and crossings. The published ± 0.0797 of the
    first is HESSE's of a rounded likelihood."""
    path = shared / f"{name}.json"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    result = fit(json.loads(path.read_text())).result
    assert result.value == pytest.approx(value, abs=0.005 * error)
    assert (result.error, result.error_up, result.error_down) == pytest.approx(
        (error, up, down), rel=0.01
    )


def test_a_fit_that_does_not_describe_the_data_says_so() -> None:
    spec = shapes()
    spec["observations"][0]["data"] = [x / 80 for x in spec["observations"][0]["data"]]
    (remark,) = (
        remark
        for remark in measure(spec, cross_section_pb=1.0, with_ranking=False).remarks
        if "does not describe the data" in remark
    )
    assert "--luminosity-fraction" in remark
