"""Limits against pyhf's own, and the scaling of a signal."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hist
import numpy as np
import pyhf
import pytest
import uproot
from cabinetry import model_utils
from hist import Hist
from pydantic import ValidationError
from scipy.optimize import brentq
from scipy.stats import norm, poisson

from analysis.cli import main
from analysis.common.errors import FitError, WorkspaceError
from analysis.config import Binning
from analysis.inference import tables
from analysis.inference.likelihood import Likelihood
from analysis.inference.limit import SIGNAL, SignalRate, read_signal, upper_limit, with_signal
from analysis.inference.measurement import measure
from analysis.inference.templates import Template
from analysis.inference.toys import Toys, _logarithms, drawn, means
from tests.inference.models import sample, shapes, workspace

RATE = SignalRate(sum_of_weights=1000, cross_section_pb=1, luminosity_ipb=100)


def background_only(observed: float = 55.0) -> dict[str, Any]:
    """50 ± 5 background events."""
    rate = {"name": "rate", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}}
    samples = [{"name": "background", "data": [50.0], "modifiers": [rate]}]
    return workspace({"bin": samples}, {"bin": [observed]})


def signal(events: float = 100.0) -> dict[str, Template]:
    return {"bin": Template(np.array([events]), np.array([events]))}


def test_the_limit_is_pyhfs() -> None:
    found = upper_limit(background_only(), signal(), RATE)
    assert found.events == {"bin": pytest.approx(10.0)}
    assert found.strength == pytest.approx(0.5, abs=0.01)
    spec = with_signal(background_only(), signal(), RATE)
    spec["measurements"][0]["config"]["parameters"][-1]["bounds"] = [[0.0, 20.0]]
    model, data = model_utils.model_and_data(spec)
    observed, expected = pyhf.infer.intervals.upper_limits.upper_limit(data, model, None, 0.05)
    assert found.observed == pytest.approx(float(observed), rel=0.01)
    assert found.expected == pytest.approx([float(x) for x in expected], rel=0.01)


def test_the_signal_of_the_lesson_is_scaled_as_the_lesson_says() -> None:
    rate = SignalRate(sum_of_weights=6813.025800, cross_section_pb=0.044837, luminosity_ipb=140_100)
    spec = with_signal(shapes(), {"B": Template(np.ones(3), np.full(3, 4.0))}, rate)
    added = sample(spec, SIGNAL, "B")
    assert added["data"] == pytest.approx([0.92201] * 3, abs=1e-5)
    by_type = {m["type"]: m for m in added["modifiers"]}
    assert by_type["staterror"]["data"] == pytest.approx([2 * 0.92201] * 3, abs=1e-4)
    assert by_type["normsys"]["data"] == {"hi": 1.03, "lo": 0.97}
    assert len(spec["channels"][0]["samples"]) == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"other": Template(np.ones(1), np.ones(1))}, "channels other: there are bin"),
        ({"bin": Template(np.ones(2), np.ones(2))}, "2 bins, the model has 1"),
        ({"bin": Template(np.zeros(1), np.zeros(1))}, "no events"),
    ],
)
def test_a_signal_that_does_not_fit_is_refused(given: dict[str, Template], said: str) -> None:
    with pytest.raises(WorkspaceError, match=said):
        with_signal(background_only(), given, RATE)


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ([5.37, 5.0], "no variances, and its contents are weighted or scaled"),
        ([5.0, np.nan], "values that are no numbers|no variances"),
    ],
)
def test_a_signal_without_errors_is_refused(tmp_path: Path, stored: list[float], said: str) -> None:
    histogram = Hist(hist.axis.Regular(2, 0, 2), data=np.array(stored))
    with uproot.recreate(tmp_path / "signal.root") as file:
        file["A"] = histogram
    for binning in (None, Binning(bins=2, low=0, high=2)):
        with pytest.raises(WorkspaceError, match=rf"signal.root, A: .*({said})"):
            read_signal(tmp_path / "signal.root", shapes(), binning)


def test_an_efficiency_is_no_percentage() -> None:
    with pytest.raises(ValidationError, match="filter_efficiency"):
        SignalRate(sum_of_weights=1, cross_section_pb=1, luminosity_ipb=1, filter_efficiency=35)


def test_what_is_not_as_expected_of_a_signal_is_said() -> None:
    template = Template(np.array([984.0, -3.0, 20.0]), np.array([4.0, 3.0, 2.0]))
    spec = shapes()
    assert sample(with_signal(spec, {"A": template}, RATE), SIGNAL)["data"][1] == 0
    remarks = upper_limit(spec, {"A": template}, RATE).remarks
    assert "signal in A: negative bins 1 set to zero" in remarks
    assert any("A: 1001 weighted events are more than 1000, the sum of" in x for x in remarks)
    assert "no histogram of the signal in B: it has no events there" in remarks


def test_a_signal_of_few_simulated_events_has_no_limit_where_it_may_be_nothing() -> None:
    """Of 5 events the error is 0.447; without a signal -2 ln L is higher by 1 / 0.447² = 5 at most.

    The median limit has 2.7, that of two standard deviations above 13 there.
    """
    few = {"bin": Template(np.array([5.0]), np.array([5.0]))}
    found = upper_limit(background_only(50.0), few, RATE)
    assert found.expected[4] is None
    assert found.expected[2] is not None
    assert found.observed > 20
    with pytest.raises(FitError, match="allow that any signal is not seen"):
        upper_limit(background_only(50.0), {"bin": Template(np.ones(1), np.ones(1))}, RATE)


@pytest.mark.full
def test_a_signal_in_other_bins_of_the_same_number_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the fit beside the workspace says what the bins are; elsewhere that is said."""
    binning = Binning(bins=3, low=100, high=400)
    spec = shapes()
    (tmp_path / "workspace.json").write_text(json.dumps(spec))
    tables.write(measure(spec, cross_section_pb=1.0, binning=binning, with_ranking=False), tmp_path)

    def status(*edges: float) -> int:
        histogram = Hist(hist.axis.Variable(edges), storage=hist.storage.Weight())
        histogram.view().value = histogram.view().variance = 100.0
        with uproot.recreate(tmp_path / "signal.root") as file:
            file["A"] = histogram
        return main(["limit", str(tmp_path), "--signal", str(tmp_path / "signal.root"),
                     "--cross-section", "1", "--luminosity", "100", "--sum-of-weights", "1000",
                     "--output", str(tmp_path / "limit.json")])  # fmt: skip

    assert status(100, 200, 300, 400) == 0
    assert "not compared" not in capsys.readouterr().err
    for edges in ((50, 150, 250, 350), (100, 250, 300, 400)):
        assert status(*edges) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.endswith("GeV), the model has 3 of 100 GeV from 100 to 400 GeV")
        assert f"signal.root, A: {'100' if edges[0] == 50 else '200'} GeV is no edge" in line
        assert f"(3 from {edges[0]} to {edges[-1]} GeV)" in line
    (tmp_path / "measurement.json").unlink()
    assert status(50, 150, 250, 350) == 0
    assert "the edges of the signal's bins are not compared" in capsys.readouterr().err


def test_a_signal_in_finer_bins_is_summed_into_those_of_the_model(tmp_path: Path) -> None:
    edges = [50, 100, 150, 200, 300, 400]
    histogram = Hist(hist.axis.Variable(edges), storage=hist.storage.Weight())
    histogram.view().value = [9.0, 1.0, 2.0, 4.0, 5.0]
    histogram.view().variance = [8.0, 3.0, 5.0, 7.0, 6.0]
    with uproot.recreate(tmp_path / "signal.root") as file:
        file["A"] = histogram
        file.mktree("B", {"events": "f8"})
    made = read_signal(tmp_path / "signal.root", shapes(), Binning(bins=3, low=100, high=400))
    assert list(made) == ["A"]
    assert made["A"].values.tolist() == [3.0, 4.0, 5.0]
    assert made["A"].variances.tolist() == [8.0, 7.0, 6.0]


@pytest.mark.parametrize(("name", "there"), [("lumi_13TeV", True), ("LUMI", True), ("rate", False)])
def test_the_signal_has_the_luminosity_error_of_the_model(name: str, there: bool) -> None:
    spec = background_only()
    spec["channels"][0]["samples"][0]["modifiers"][0]["name"] = name
    added = with_signal(spec, signal(), RATE)["channels"][0]["samples"][-1]
    assert (name in [m["name"] for m in added["modifiers"]]) is there


def test_the_luminosity_error_may_be_another_sample_s() -> None:
    """The first one may be an estimate from data, which has none."""
    spec = background_only()
    luminosity = {"name": "Luminosity", "type": "normsys", "data": {"hi": 1.03, "lo": 0.97}}
    for name in ("wjets", "zjets"):
        spec["channels"][0]["samples"].append(
            {"name": name, "data": [5.0], "modifiers": [luminosity]}
        )
    added = with_signal(spec, signal(), RATE)["channels"][0]["samples"][-1]
    assert [m for m in added["modifiers"] if m["name"] == "Luminosity"] == [luminosity]


def test_the_events_of_another_sample_are_no_luminosity_error() -> None:
    spec = background_only()
    shapes_of = {"name": "lumi", "type": "histosys", "data": {"hi_data": [51.0], "lo_data": [49.0]}}
    spec["channels"][0]["samples"][0]["modifiers"].append(shapes_of)
    added = with_signal(spec, signal(), RATE)["channels"][0]["samples"][-1]
    assert "lumi" not in [m["name"] for m in added["modifiers"]]


@pytest.mark.full
def test_the_command_reads_a_histogram(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "workspace.json").write_text(json.dumps(background_only()))
    histogram = Hist(hist.axis.Regular(1, 0, 1), storage=hist.storage.Weight())
    histogram.view().value = histogram.view().variance = 100.0
    with uproot.recreate(tmp_path / "signal.root") as file:
        file["bin"] = histogram
    arguments = ["limit", str(tmp_path), "--signal", str(tmp_path / "signal.root"),
                 "--cross-section", "1 pb", "--luminosity", "0.1 /fb"]  # fmt: skip
    output = tmp_path / "limit.json"
    assert main([*arguments, "--sum-of-weights", "1000", "--output", str(output)]) == 0
    assert "observed limit, 95% CL" in capsys.readouterr().out
    written = json.loads(output.read_text())
    assert written["events"] == {"bin": pytest.approx(10.0)}
    # The curve falls through 5 % where the limit is.
    curve = written["curve"]
    assert np.interp(-written["observed"], [-x for x in curve["strengths"][::-1]],
                     curve["observed"][::-1]) == pytest.approx(0.05, abs=0.005)  # fmt: skip
    assert (tmp_path / "limit.png").stat().st_size > 5000
    assert main([*arguments, "--sum-of-weights", "1000"]) == 0
    assert (tmp_path / "figures" / "limit.pdf").stat().st_size > 5000
    assert main([*arguments, "--sum-of-weights", "0"]) == 2
    assert "sum_of_weights" in capsys.readouterr().err


@pytest.mark.full
def test_the_limit_is_the_same_whatever_cross_section_the_signal_is_scaled_to() -> None:
    """Its statistical error is its own, also where the background has one."""
    spec = background_only()
    spec["channels"][0]["samples"][0]["modifiers"].append(
        {"name": "staterror_bin", "type": "staterror", "data": [4.0]}
    )
    limits = [
        upper_limit(spec, signal(), RATE.model_copy(update={"cross_section_pb": section}))
        for section in (1.0, 1000.0)
    ]
    small, large = limits
    assert large.observed * 1000 == pytest.approx(small.observed, rel=1e-3)
    assert large.strength_error * 1000 == pytest.approx(small.strength_error, rel=1e-3)
    assert [x * 1000 for x in large.expected] == pytest.approx(small.expected, rel=1e-3)


def counting_background(background: float, observed: float) -> dict[str, Any]:
    """A background with 10 % uncertainty, and no tt̄ to fit."""
    spec = background_only(observed)
    spec["channels"][0]["samples"][0]["data"] = [background]
    return spec


def exactly(events: float) -> dict[str, Template]:
    """A signal of so many events at strength 1 with hardly a statistical error."""
    return {"bin": Template(np.array([10 * events]), np.array([1e-6]))}


def _sorted(limits: Sequence[float | None]) -> bool:
    known = [x for x in limits if x is not None]
    return len(known) == len(limits) and known == sorted(known)


EXACT = {"bin": Template(np.array([10.0]), np.zeros(1))}
"""One event at strength 1, without statistical error."""


@pytest.mark.parametrize(
    ("background", "observed", "expected"),
    [
        (3, 0, 2.564),
        (3, 1, 3.14),
        (10, 3, 3.664),
        (20, 1000, 1033),
        (100_000, 100_000, 18_669),
    ],
)
def test_limits_from_no_events_to_a_thousand(
    background: float, observed: float, expected: float
) -> None:
    """In events, by pyhf's `hypotest` with CLs = 0.05 bracketed; bands there, in order."""
    found = upper_limit(counting_background(background, observed), exactly(1.0), RATE)
    assert found.observed == pytest.approx(expected, rel=0.01)
    assert _sorted(found.expected)
    assert any("few events" in remark for remark in found.remarks) == (background < 20)


def test_the_expected_limit_under_a_large_excess_is_that_of_its_background() -> None:
    """A grid up to where the excess is has no point near; the median is 1.31 by a likelihood of its own."""
    spec = counting_background(20, 1000)
    luminosity = {"name": "Luminosity", "type": "normsys", "data": {"hi": 1.03, "lo": 0.97}}
    spec["channels"][0]["samples"][0]["modifiers"].append(luminosity)
    found = upper_limit(spec, exactly(10.0), RATE)
    assert found.expected[2] == pytest.approx(1.31, rel=0.02)
    assert _sorted(found.expected)
    assert found.observed == pytest.approx(105.6, rel=0.02)
    assert found.significance == pytest.approx(68.4, abs=0.5)


def test_the_error_of_the_strength_is_that_of_many_events() -> None:
    """√(100 000 + 10 000²) events, of which a flat likelihood hides two thirds."""
    found = upper_limit(counting_background(100_000, 100_000), exactly(10.0), RATE)
    assert found.strength_error == pytest.approx(1000.5, rel=0.01)


@pytest.mark.parametrize("begin", [1.0, 3.0, 9.0])
def test_a_signal_of_the_shape_of_another_has_a_limit_wherever_the_fit_begins(begin: float) -> None:
    """All of what is over the background may be either; 17.35 by pyhf's `hypotest`."""
    strength = {"name": "ttbar_norm", "type": "normfactor", "data": None}
    rate = {"name": "rate", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}}
    samples = [
        {"name": "ttbar", "data": [10.0, 20.0], "modifiers": [strength]},
        {"name": "background", "data": [100.0, 50.0], "modifiers": [rate]},
    ]
    spec = workspace({"bin": samples}, {"bin": [115.0, 65.0]})
    spec["measurements"][0]["config"]["parameters"] = [
        {"name": "ttbar_norm", "inits": [begin], "bounds": [[0.0, 10.0]]}
    ]
    events = np.array([1e4, 2e4])
    many = SignalRate(sum_of_weights=1e4, cross_section_pb=1, luminosity_ipb=1)
    found = upper_limit(spec, {"bin": Template(events, events)}, many)
    assert found.observed == pytest.approx(17.35, rel=0.01)


def test_names_that_are_taken_are_left_to_the_workspace() -> None:
    spec = background_only()
    strength = {"name": "signal_strength", "type": "normfactor", "data": None}
    taken = {"name": SIGNAL, "data": [10.0], "modifiers": [strength]}
    spec["channels"][0]["samples"].append(taken)
    made = with_signal(spec, signal(), RATE)
    *_, ttbar, added = made["channels"][0]["samples"]
    assert (ttbar["name"], added["name"]) == (SIGNAL, f"{SIGNAL} (new)")
    assert added["modifiers"][0]["name"] == made["measurements"][0]["config"]["poi"]
    assert made["measurements"][0]["config"]["poi"] == "signal_strength (new)"


def test_the_strength_of_the_model_may_be_fixed() -> None:
    """What of tt̄ is there is background: 3 events of 3, one seen; 3.14 as of a background alone."""
    spec = counting_background(2.94, 1)
    strength = {"name": "ttbar_norm", "type": "normfactor", "data": None}
    ttbar = {"name": "ttbar", "data": [0.06], "modifiers": [strength]}
    spec["channels"][0]["samples"].append(ttbar)
    fixed = {"name": "ttbar_norm", "inits": [1.0], "bounds": [[0, 10]], "fixed": True}
    spec["measurements"][0]["config"] = {"poi": "ttbar_norm", "parameters": [fixed]}
    assert upper_limit(spec, EXACT, RATE).observed == pytest.approx(3.14, rel=0.01)


def test_a_workspace_that_is_not_sound_has_no_limit_unless_forced() -> None:
    spec = background_only()
    spec["channels"][0]["samples"][0]["modifiers"][0]["data"] = {"hi": 1.1, "lo": 1.1}
    with pytest.raises(WorkspaceError, match="the same change in both directions"):
        upper_limit(spec, signal(), RATE)
    assert upper_limit(spec, signal(), RATE, force=True).observed > 0


POINTS, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)


def averaged(count: int, rates: np.ndarray) -> float:
    """The probability of no more than `count` events, averaged over a normal distribution."""
    return float(WEIGHTS @ poisson.cdf(count, rates) / np.sum(WEIGHTS))


def poisson_limit(count: int, background: float, uncertainty: float = 0.0) -> float:
    """The CLs limit in events: a ratio of two sums of probabilities, averaged over the background."""
    rates = background * (1 + uncertainty) ** POINTS

    def excess(events: float) -> float:
        return averaged(count, rates + events) / averaged(count, rates) - 0.05

    return float(brentq(excess, 1, 200))


def uncertain_background(background: float, observed: float, uncertainty: float) -> dict[str, Any]:
    """A background that is the exponential of a normal distribution; without uncertainty a number."""
    spec = counting_background(background, observed)
    if uncertainty:
        factors = {"hi": 1 + uncertainty, "lo": 1 / (1 + uncertainty)}
        sample(spec, "background", "bin")["modifiers"][0]["data"] = factors
    else:
        sample(spec, "background", "bin")["modifiers"] = []
    return spec


@pytest.mark.parametrize(("count", "uncertainty"), [(0, 0.0), (3, 0.0), (3, 0.03), (1, 0.2)])
def test_toys_give_the_exact_limit_of_few_events(count: int, uncertainty: float) -> None:
    """Averaged over the prior: an uncertainty of 3 % is nearly none, whatever its auxiliary data may be.

    Without events the toys that count are all the same, and so are their probabilities.
    """
    exact = poisson_limit(count, 3, uncertainty)
    found = upper_limit(
        uncertain_background(3, count, uncertainty), EXACT, RATE, toys=Toys(600, seed=3)
    )
    assert found.toys is not None
    assert found.toys.failed == 0
    error = max(found.toys.observed_error, 1e-3 * exact)
    assert found.toys.observed == pytest.approx(exact, abs=4 * error)
    assert error < 0.04 * exact
    assert found.observed < 0.95 * exact
    assert any("from that of toys" in remark for remark in found.remarks)


@pytest.mark.full
@pytest.mark.parametrize("uncertainty", [0.03, 0.1, 0.2])
def test_limits_by_toys_are_exact_within_two_percent(uncertainty: float) -> None:
    """Observed ones, and the bands where the count is one beyond doubt."""
    rates = 3 * (1 + uncertainty) ** POINTS
    cumulative = [averaged(count, rates) for count in range(20)]
    for count in (0, 1, 3, 10):
        spec = uncertain_background(3, count, uncertainty)
        toys = upper_limit(spec, EXACT, RATE, toys=Toys(3000, seed=count)).toys
        assert toys is not None
        exact = poisson_limit(count, 3, uncertainty)
        assert toys.observed == pytest.approx(exact, rel=0.02, abs=3 * toys.observed_error)
        for band, expected in zip((-2, -1, 0, 1, 2), toys.expected, strict=True):
            part = norm.cdf(band)
            assert min(abs(part - x) for x in cumulative) > 0.004
            right = poisson_limit(int(np.searchsorted(cumulative, part)), 3, uncertainty)
            assert expected == pytest.approx(right, rel=0.04)


@pytest.mark.full
@pytest.mark.parametrize("control", [300.0, 450.0])
def test_toys_of_what_data_tell_are_drawn_where_data_have_it(control: float) -> None:
    """A control region measures a background whose prior says little, and is one error off.

    Drawn about the prior, toys would have limits that are 30 % off and bands of twice the width.
    """
    spec = uncertain_background(30, control / 10, 0.5)
    channel = copy.deepcopy(spec["channels"][0])
    channel["name"] = "control"
    channel["samples"][0]["data"] = [300.0]
    spec["channels"].append(channel)
    spec["observations"].append({"name": "control", "data": [control]})
    found = upper_limit(spec, EXACT, RATE, toys=Toys(3000, seed=2))
    assert found.toys is not None
    assert found.toys.observed == pytest.approx(found.observed, rel=0.06)
    assert found.toys.expected[1:] == pytest.approx(found.expected[1:], rel=0.1)


def test_toys_are_the_same_from_the_same_seed() -> None:
    spec = counting_background(3, 5)
    once, again, other = (
        upper_limit(spec, EXACT, RATE, toys=Toys(100, seed=seed)).toys for seed in (3, 3, 4)
    )
    assert once == again != other


@pytest.mark.full
def test_the_error_of_a_limit_by_toys_is_its_spread() -> None:
    """Of 15 seeds, far above the background."""
    spec = counting_background(3, 25)
    spec["channels"][0]["samples"][0]["modifiers"] = []
    exact, pulls = poisson_limit(25, 3), []
    for seed in range(15):
        found = upper_limit(spec, EXACT, RATE, toys=Toys(200, seed=seed)).toys
        assert found is not None
        pulls.append((found.observed - exact) / found.observed_error)
    assert np.mean(pulls) == pytest.approx(0, abs=4 / 15**0.5)
    assert 0.4 < np.std(pulls) < 1.7


def test_the_probabilities_of_a_toy_are_those_of_its_likelihood() -> None:
    """Of each kind of auxiliary measurement, at two truths: half the difference of -2 ln L."""
    spec = counting_background(30, 35)
    modifiers = spec["channels"][0]["samples"][0]["modifiers"]
    modifiers.append({"name": "fakes", "type": "shapesys", "data": [6.0]})
    likelihood = Likelihood(with_signal(spec, exactly(10.0), RATE))
    rng = np.random.default_rng(1)
    truths = [likelihood.initial * rng.uniform(0.9, 1.1, likelihood.initial.size) for _ in "ab"]
    toy = drawn(likelihood, truths[0], rng)
    first, second = _logarithms(toy, np.array([means(toy, truth) for truth in truths]))
    expected = (toy.value(truths[1]) - toy.value(truths[0])) / 2
    assert first - second == pytest.approx(expected, rel=1e-9)


@pytest.mark.full
@pytest.mark.parametrize(("background", "observed"), [(200, 210), (400, 400)])
def test_toys_and_asymptotic_formulae_agree_for_many_events(
    background: float, observed: float
) -> None:
    """The uncertainty of the background is as large as, or twice, that of the counts."""
    spec = counting_background(background, observed)
    found = upper_limit(spec, exactly(10.0), RATE, toys=Toys(1000, seed=5))
    assert found.toys is not None
    assert found.toys.observed == pytest.approx(
        found.observed, abs=0.03 * found.observed + 4 * found.toys.observed_error
    )
    assert found.toys.expected[3] == pytest.approx(found.expected[3], rel=0.3)


def test_too_few_toys_are_said() -> None:
    with pytest.raises(FitError, match="more are needed"):
        upper_limit(counting_background(3, 0), exactly(1.0), RATE, toys=Toys(20))


@pytest.mark.full
def test_another_luminosity_than_that_of_the_fit_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = background_only()
    (tmp_path / "workspace.json").write_text(json.dumps(spec))
    strength = {"name": "ttbar_norm", "type": "normfactor", "data": None}
    ttbar = {"name": "ttbar", "data": [30.0], "modifiers": [strength]}
    fitted = background_only()
    fitted["channels"][0]["samples"].append(ttbar)
    of_50 = {"electron": 50.0, "muon": 50.0}
    measurement = measure(fitted, cross_section_pb=1.0, luminosity_ipb=of_50, with_ranking=False)
    tables.write(measurement, tmp_path)
    histogram = Hist(hist.axis.Regular(1, 0, 1), storage=hist.storage.Weight())
    histogram.view().value = histogram.view().variance = 100.0
    with uproot.recreate(tmp_path / "signal.root") as file:
        file["bin"] = histogram
    command = ["limit", str(tmp_path / "workspace.json"), "--signal", str(tmp_path / "signal.root"),
               "--cross-section", "1", "--sum-of-weights", "1000",
               "--output", str(tmp_path / "limit.json")]  # fmt: skip
    assert main([*command, "--luminosity", "2.3 /fb"]) == 2
    assert "2300 /pb, but the data of the fit are of 50 /pb" in capsys.readouterr().err
    assert main([*command, "--luminosity", "50 /pb"]) == 0
    given = json.loads((tmp_path / "limit.json").read_text())
    assert main(command) == 0
    assert json.loads((tmp_path / "limit.json").read_text()) == given
