"""Limits against pyhf's own, and the scaling of a signal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hist
import numpy as np
import pyhf
import pytest
import uproot
from cabinetry import model_utils
from hist import Hist

from analysis.cli import main
from analysis.common.errors import WorkspaceError
from analysis.config import Binning
from analysis.inference import tables
from analysis.inference.limit import SIGNAL, SignalRate, read_signal, upper_limit, with_signal
from analysis.inference.measurement import measure
from analysis.inference.templates import Template
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
