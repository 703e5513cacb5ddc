"""The multijet estimate: planes of known content, what is subtracted, what is said when it fails."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hist import Hist

from analysis.common.errors import AbcdError
from analysis.config import AnalysisConfig
from analysis.histograms import book_observable, book_plane
from analysis.postprocess.abcd.multijet import (
    RegionEstimate,
    estimate,
    estimate_table,
    note,
    subtracted,
    verdicts,
    with_estimate,
)

CONFIG = AnalysisConfig()
ISOLATION = {"isolated": 0.1, "near": 0.2, "far": 5.0}
TRANSVERSE_MASS = {"high": 80.0, "low": 20.0}


def plane(**processes: dict[tuple[str, str], float]) -> Hist:
    """Processes with so many events of an (isolation, m_T) each, in 4j1b."""
    cuts = CONFIG.multijet
    total: Any = 0
    for process, content in processes.items():
        part = book_plane(cuts.isolation, cuts.transverse_mass, ["4j1b"], "muon", process)
        for (isolation, mass), events in content.items():
            part.fill(
                isolation=np.full(int(events), ISOLATION[isolation]),
                transverse_mass=np.full(int(events), TRANSVERSE_MASS[mass]),
                region="4j1b",
                channel="muon",
                process=process,
            )
        total = part + total if total else part
    return total


def product(isolated: float, near: float, far: float, high: float, low: float) -> Any:
    return {
        (isolation, mass): x * y
        for isolation, x in (("isolated", isolated), ("near", near), ("far", far))
        for mass, y in (("high", high), ("low", low))
    }


QCD = product(10, 30, 100, 20, 60)
PROMPT = product(90, 5, 1, 60, 20)
DATA = {key: QCD[key] + PROMPT[key] for key in QCD}


def test_data_less_prompt_leptons_give_the_multijet_events() -> None:
    result = estimate(plane(data=DATA, ttbar=PROMPT, qcd=QCD), "4j1b", CONFIG)
    assert result.refusals == {}
    for test, want in (
        (result.data, 10 * 20),
        (result.validation, 30 * 20),
        (result.simulation, 10 * 20),
        (result.simulated_validation, 30 * 20),
    ):
        assert test is not None
        assert test.prediction.background == pytest.approx(want)
        assert test.found == pytest.approx(want)
    assert result.toys is not None
    assert result.toys.median == pytest.approx(200, rel=0.02)
    assert result.independence is not None
    assert result.independence.kappa == pytest.approx(1)
    assert RegionEstimate.model_validate_json(result.model_dump_json()) == result


def test_usable_needs_data_and_a_test_that_could_have_failed() -> None:
    many = estimate(plane(data=DATA, ttbar=PROMPT, qcd=QCD), "4j1b", CONFIG)
    assert many.usable
    few = {key: value // 200 for key, value in QCD.items()}
    assert not estimate(plane(data=DATA, ttbar=PROMPT, qcd=few), "4j1b", CONFIG).usable
    assert not estimate(plane(data=DATA, ttbar=PROMPT), "4j1b", CONFIG).usable
    assert not estimate(plane(qcd=QCD), "4j1b", CONFIG).usable


def test_dependent_variables_are_flagged() -> None:
    dependent = QCD | {("isolated", "high"): 600}
    result = estimate(plane(data=DATA, ttbar=PROMPT, qcd=dependent), "4j1b", CONFIG)
    assert result.independence is not None
    assert not result.independence.allowed
    assert not result.usable
    assert verdicts({"4j1b": result})[-1].endswith("method not allowed. Not usable.")


def test_a_refusal_is_told() -> None:
    result = estimate(plane(data=PROMPT, ttbar=PROMPT, qcd=QCD), "4j1b", CONFIG)
    assert result.data is None
    assert "no background is left" in result.refusals["data"]
    _, rows = estimate_table({"4j1b": result})
    assert rows[0][:2] == ["4j1b", "data"]
    assert "no background is left" in rows[0][2]


def test_subtracted_is_data_less_prompt_or_simulation_alone() -> None:
    difference = subtracted(plane(data=DATA, ttbar=PROMPT, qcd=QCD), "4j1b")
    assert difference is not None
    assert difference.sum(flow=True).value == sum(QCD.values())
    assert difference.sum(flow=True).variance == sum(DATA.values()) + sum(PROMPT.values())
    alone = subtracted(plane(qcd=QCD, ttbar=PROMPT), "4j1b")
    assert alone is not None
    assert alone.sum(flow=True).value == sum(QCD.values())
    assert subtracted(plane(ttbar=PROMPT), "4j1b") is None


def test_an_isolation_cut_within_a_bin_is_an_error() -> None:
    config = AnalysisConfig.model_validate({"muon": {"max_isolation": 0.12}})
    with pytest.raises(AbcdError, match=r"isolation from 0 to 0.12 cuts the bin from 0.1 to 0.15"):
        estimate(plane(data=DATA, ttbar=PROMPT), "4j1b", config)


MASSES = (100.0, 200.0, 300.0)


def observables(content: dict[str, list[float]], channels: list[str], region: str = "4j1b") -> Hist:
    """Process -> events at each of `MASSES`, in the muon channel."""
    total: Any = 0
    for process, events in content.items():
        part = book_observable(CONFIG.observable, [region], process, ["nominal"], channels)
        for mass, number in zip(MASSES, events, strict=True):
            place = {"region": region, "process": process, "variation": "nominal"}
            part.fill(observable=[mass], channel="muon", weight=number, **place)
            if "electron" in channels:
                part.fill(observable=[mass], channel="electron", weight=7.0, **place)
        total = part + total if total else part
    return total


@pytest.mark.parametrize("simulated", [True, False])
def test_estimate_takes_the_place_of_the_simulation(simulated: bool) -> None:
    """10 / 100 of the 8000 multijet events that are not isolated, in their shape; electrons stay."""
    far = {"data": [2000.0, 5000.0, 1100.0], "ttbar": [20.0, 50.0, 30.0]}
    names = ["data", "ttbar", "qcd"] if simulated else ["data", "ttbar"]
    observable = observables({name: [1.0, 2.0, 3.0] for name in names}, ["electron", "muon"])
    replaced = with_estimate(
        observable, plane(data=DATA, ttbar=PROMPT, qcd=QCD), observables(far, ["muon"]), CONFIG
    )
    qcd = replaced[{"region": 0, "process": "qcd", "variation": "nominal"}]
    muons = qcd[{"channel": "muon"}]
    assert muons.values()[[2, 7, 12]] == pytest.approx([198.0, 495.0, 107.0])
    assert muons.sum().value == pytest.approx(800)
    assert qcd[{"channel": "electron"}].sum().value == (21.0 if simulated else 0.0)
    others = {"region": 0, "process": "ttbar", "variation": "nominal"}
    assert np.array_equal(replaced[others].values(), observable[others].values())
    b, d = 10 * 60, 100 * 60
    relative = (b + 2 * 90 * 20) / b**2 + (d + 2 * 1 * 20) / d**2
    assert muons.variances()[2] == pytest.approx(0.01 * (2000**2 + 20**2 + 1980**2 * relative))


def test_negative_bins_of_the_estimate_are_zero_and_the_sum_stays() -> None:
    far = {"data": [8000.0, 10.0, 190.0], "ttbar": [0.0, 100.0, 100.0]}
    observable = observables(
        {name: [1.0, 2.0, 3.0] for name in ("data", "ttbar")}, ["electron", "muon"]
    )
    replaced = with_estimate(
        observable, plane(data=DATA, ttbar=PROMPT), observables(far, ["muon"]), CONFIG
    )
    muons = replaced[{"region": 0, "process": "qcd", "variation": "nominal", "channel": "muon"}]
    assert muons.values()[7] == 0.0
    assert muons.sum().value == pytest.approx(800)


def test_an_estimate_that_is_not_allowed_replaces_nothing() -> None:
    """Correlated in simulation: 125 came out where data hold 400."""
    observable = observables({name: [1.0, 2.0, 3.0] for name in ("data", "qcd")}, ["muon"])
    far = observables({"data": [2000.0, 5000.0, 1100.0]}, ["muon"])
    dependent = QCD | {("isolated", "high"): 600}
    with pytest.raises(AbcdError, match=r"4j1b: isolation and m_T .* kappa .*: method not allowed"):
        with_estimate(observable, plane(data=DATA, ttbar=PROMPT, qcd=dependent), far, CONFIG)


def test_the_note_of_an_estimate_has_the_verdict_of_each_region() -> None:
    tested = note(plane(data=DATA, ttbar=PROMPT, qcd=QCD), CONFIG)
    assert tested.startswith(
        "qcd: estimated from data in the muon channel (ABCD). 4j1b: correlation"
    )
    assert tested.endswith("method allowed. Usable.")
    assert note(plane(data=DATA, ttbar=PROMPT), CONFIG).endswith("4j1b: not tested. Not usable.")


def test_no_estimate_replaces_nothing() -> None:
    observable = observables({"data": [1.0, 2.0, 3.0]}, ["electron", "muon"])
    far = observables({"data": [1.0, 2.0, 3.0]}, ["muon"])
    with pytest.raises(AbcdError, match=r"4j1b: region B has .* no background is left"):
        with_estimate(observable, plane(data=PROMPT, ttbar=PROMPT), far, CONFIG)
    with pytest.raises(AbcdError, match="4j1b: no data"):
        with_estimate(observable, plane(ttbar=PROMPT), far, CONFIG)
