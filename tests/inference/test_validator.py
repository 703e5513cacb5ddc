"""Each rule finds its planted defect, by name, and nothing else."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.common.errors import WorkspaceError
from analysis.inference.validator import require_valid, validate
from analysis.inference.workspace import load
from tests.inference.models import SIGNAL, modifier, sample, shapes

Spec = dict[str, Any]


def _normsys(up: float, down: float) -> Callable[[Spec], None]:
    return lambda spec: modifier(spec, "normsys")["data"].update(hi=up, lo=down)


def _histosys(up: list[float], down: list[float]) -> Callable[[Spec], None]:
    return lambda spec: modifier(spec, "histosys")["data"].update(hi_data=up, lo_data=down)


def _scaled(factor: float) -> list[float]:
    return [factor * x for x in SIGNAL]


def _set_bin(value: float) -> Callable[[Spec], None]:
    return lambda spec: sample(spec)["data"].__setitem__(1, value)


def _no_prediction(spec: Spec) -> None:
    for name in ("signal", "background"):
        sample(spec, name)["data"][2] = 0.0
    _histosys([19.0, 60.0, 0.0], [21.0, 60.0, 0.0])(spec)


def _no_staterror(spec: Spec) -> None:
    for name in ("signal", "background"):
        modifier(spec, "staterror", name)["data"][0] = 0.0


PLANTED: dict[str, tuple[Callable[[Spec], None], str, str, str, str, list[int]]] = {
    "dead normsys": (_normsys(0.0, 0.0), "error", "dead", "signal", "Luminosity", []),
    "flat histosys": (
        _histosys([9.0] * 3, [9.0] * 3), "error", "dead", "signal", "Jet energy scale", []
    ),
    "empty histosys": (
        _histosys([0.0] * 3, _scaled(0.9)), "error", "dead", "signal", "Jet energy scale", []
    ),
    "identical histosys": (
        _histosys(SIGNAL, SIGNAL), "warning", "identical", "signal", "Jet energy scale", []
    ),
    "normsys without effect": (
        _normsys(1.0, 1.0), "warning", "identical", "signal", "Luminosity", []
    ),
    "normsys in both directions": (
        _normsys(1.03, 1.03), "error", "both-directions", "signal", "Luminosity", []
    ),
    "histosys in both directions": (
        _histosys([22.0, 60.0, 31.0], [22.0, 60.0, 31.0]),
        "error", "both-directions", "signal", "Jet energy scale", [],
    ),
    "normsys on one side": (
        _normsys(1.05, 1.02), "warning", "same-side", "signal", "Luminosity", []
    ),
    "histosys on one side": (
        _histosys(_scaled(1.1), _scaled(1.2)), "warning", "same-side", "signal", "Jet energy scale", []
    ),
    "normsys of 100 %": (_normsys(2.1, 0.5), "warning", "full-effect", "signal", "Luminosity", []),
    "histosys of 100 %": (
        _histosys([19.0, 125.0, 30.0], [21.0, 55.0, 30.0]),
        "warning", "full-effect", "signal", "Jet energy scale", [1],
    ),
    "NaN": (_set_bin(math.nan), "error", "nan", "signal", "", [1]),
    "negative": (_set_bin(-0.1), "error", "negative", "signal", "", [1]),
    "nothing predicted": (_no_prediction, "error", "zero-prediction", "", "", [2]),
    "staterror of zero": (_no_staterror, "error", "zero-staterror", "", "staterror_A", [0]),
}  # fmt: skip


def test_nothing_is_found_in_a_sound_workspace() -> None:
    assert validate(shapes(), ["signal", "background"]) == []


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_defect_is_found_by_name(name: str) -> None:
    plant, severity, rule, where, what, bins = PLANTED[name]
    spec = shapes()
    plant(spec)
    found = [finding for finding in validate(spec) if finding.rule == rule]
    assert len(found) == 1
    assert found[0].severity == severity
    assert (found[0].channel, found[0].sample, found[0].modifier) == ("A", where, what)
    assert found[0].bins == tuple(bins)
    if severity == "error":
        with pytest.raises(WorkspaceError, match=rule):
            require_valid(found)
    else:
        require_valid(found)


def test_what_a_measurement_says_in_vain_is_named() -> None:
    spec = shapes()
    first = spec["measurements"][0]
    first["config"]["parameters"] = [{"name": "Luminositty", "inits": [0.0], "fixed": True}]
    spec["measurements"].append(copy.deepcopy(first) | {"name": "other"})
    parameter, others = validate(spec)
    assert str(parameter) == (
        "warning: Luminositty: set in the measurement, but no modifier is called so: did you mean "
        "'Luminosity'? [unused-parameter]"
    )
    assert str(others) == "warning: measurement m is used, not other [measurements]"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            {"poi": "Luminosity"},
            "Luminosity: the parameter of interest is a normsys, expected a normf",
        ),
        (
            {"parameters": [{"name": "ttbar_norm", "inits": [1.0], "fixed": True}]},
            "ttbar_norm: the parameter of interest is fixed",
        ),
    ],
)
def test_a_strength_that_cannot_be_fitted_is_an_error(config: Spec, said: str) -> None:
    spec = shapes()
    spec["measurements"][0]["config"].update(config)
    with pytest.raises(WorkspaceError, match=f"not sound: {said}"):
        require_valid(validate(spec))


def test_an_observation_of_no_channel_is_named() -> None:
    spec = shapes()
    spec["observations"].append({"name": "a", "data": [1.0]})
    (found,) = validate(spec)
    assert found.message == "observation of no channel: did you mean 'A'?"


def test_a_model_of_backgrounds_alone_is_sound() -> None:
    """As experiments publish it: the strength is that of a signal that is to be added."""
    spec = shapes()
    spec["measurements"][0]["config"] = {
        "poi": "mu_SIG",
        "parameters": [{"name": "mu_SIG", "bounds": [[0.0, 5.0]]}],
    }
    assert validate(spec) == []


def test_a_missing_process_is_an_error_where_it_is_asked_for() -> None:
    spec = shapes()
    (finding,) = validate(spec, ["signal", "background", "qcd"])[:1]
    assert (finding.severity, finding.rule, finding.sample) == ("error", "missing", "qcd")
    assert "there are signal, background" in finding.message
    spec["channels"][1]["samples"].pop()
    (finding,) = validate(spec)
    assert (finding.severity, finding.channel, finding.sample) == ("warning", "B", "background")


def test_observations_must_fit_the_channels() -> None:
    spec = shapes()
    spec["observations"][0]["data"].append(1.0)
    assert [finding.rule for finding in validate(spec)] == ["binning"]
    del spec["observations"][0]
    assert [finding.rule for finding in validate(spec)] == ["no-data"]


def _twice(key: str) -> Callable[[Spec], Any]:
    return lambda spec: spec[key].append(copy.deepcopy(spec[key][0]))


MALFORMED: dict[str, tuple[Callable[[Spec], Any], str]] = {
    "sample of other bins": (
        lambda spec: spec["channels"][0]["samples"][1]["data"].pop(),
        "channels.A: background has 2 bins, signal has 3",
    ),
    "histosys of other bins": (
        lambda spec: modifier(spec, "histosys")["data"]["hi_data"].append(1.0),
        "channels.A: histosys Jet energy scale of signal, hi_data has 4 bins, signal has 3",
    ),
    "staterror of other bins": (
        lambda spec: modifier(spec, "staterror")["data"].pop(),
        "channels.A: staterror staterror_A of signal has 2 bins, signal has 3",
    ),
    "normsys without hi": (
        lambda spec: modifier(spec, "normsys")["data"].pop("hi"),
        "channels.A.samples.signal.modifiers.Luminosity.normsys.data.hi: missing",
    ),
    "modifier without type": (
        lambda spec: modifier(spec, "normsys").pop("type"),
        "channels.A.samples.signal.modifiers.Luminosity: unable to extract tag using discriminator",
    ),
    "unknown type": (
        lambda spec: modifier(spec, "normsys").update(type="normsyst"),
        "modifiers.Luminosity: input tag 'normsyst' found using 'type' does not match any of",
    ),
    "sigma of zero": (
        lambda spec: spec["measurements"][0]["config"].update(
            parameters=[{"name": "lumi", "inits": [1.0], "auxdata": [1.0], "sigmas": [0.0]}]
        ),
        "sigmas 0 of lumi: expected a number above zero",
    ),
    "begin that is none": (
        lambda spec: spec["measurements"][0]["config"].update(
            parameters=[{"name": "k", "inits": [math.nan]}]
        ),
        "inits nan of k: expected a number",
    ),
    "no measurement": (lambda spec: spec["measurements"].clear(), "measurements: list should have"),
    "no channel": (lambda spec: spec["channels"].clear(), "channels: list should have"),
    "channel twice": (_twice("channels"), "channels of the same name: A"),
    "observation twice": (_twice("observations"), "observations of the same name: A"),
    "no samples": (lambda spec: spec["channels"][0].pop("samples"), "channels.A.samples: missing"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_workspace_is_refused_by_place(name: str, tmp_path: Path) -> None:
    spoil, said = MALFORMED[name]
    spec = shapes()
    spoil(spec)
    with pytest.raises(WorkspaceError, match=f"^not a pyhf workspace: .*{re.escape(said)}"):
        validate(spec)
    path = tmp_path / "workspace.json"
    path.write_text(json.dumps(spec))
    with pytest.raises(WorkspaceError, match=re.escape(said)):
        load(path)


@pytest.mark.shared
def test_the_two_defects_of_the_published_workspace_are_found(shared: Path) -> None:
    spec = json.loads((shared / "reference" / "ttbar_2015_workspace.json").read_text())
    findings = validate(spec)
    assert {(f.severity, f.modifier, f.rule) for f in findings} == {
        ("error", "W+jets scale variations", "dead"),
        ("error", "Luminosity", "both-directions"),
    }
    assert {f.sample for f in findings if f.rule == "dead"} == {"W+jets"}
    assert {f.channel for f in findings} == {"4j1b CR", "4j2b SR"}
