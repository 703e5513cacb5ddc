"""Scaling: hand-computed factors, partial runs, and what must be refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hist import Hist
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from analysis import REGIONS, histograms, normalise
from analysis.common.errors import IncompleteError, NormalisationError
from analysis.config import AnalysisConfig
from analysis.datasets.catalogue import Catalogue, LeftOut
from analysis.datasets.units import cross_section_pb, luminosity_ipb
from analysis.execution.ledger import DatasetRecord, Failure, FileRecord, Ledger
from analysis.execution.runner import run
from analysis.execution.settings import Limits
from analysis.histograms import OBSERVABLE, Histograms
from analysis.postprocess.abcd import multijet
from analysis.postprocess.normalisation import (
    Scaling,
    apply,
    normalisation,
    processed_luminosity,
    scale_by_channel,
    scale_factor,
    summed,
)
from analysis.processor import TtbarAnalysis


def test_the_published_check_value() -> None:
    """The ZH signal of the scaling lesson: 0.92201."""
    factor = scale_factor(
        sum_of_weights=6813.025800,
        cross_section_pb=cross_section_pb("44.837 fb"),
        luminosity_ipb=luminosity_ipb("140.1 /fb"),
    )
    assert factor == pytest.approx(0.92201, abs=5e-6)


@given(
    st.floats(1e-3, 1e9), st.floats(0, 1e5), st.floats(0, 1e6), st.floats(0, 1), st.floats(0.1, 3)
)
def test_the_factor_is_linear_in_each(
    sum_of_weights: float, cross_section: float, luminosity: float, efficiency: float, k: float
) -> None:
    factor = scale_factor(
        sum_of_weights=2 * sum_of_weights,
        cross_section_pb=cross_section,
        luminosity_ipb=luminosity,
        filter_efficiency=efficiency,
        k_factor=k,
    )
    want = cross_section * luminosity * efficiency * k / sum_of_weights / 2
    assert factor == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("bad", [0, -5, float("nan")])
def test_a_sum_of_weights_that_is_not_positive(bad: float) -> None:
    with pytest.raises(NormalisationError, match="must be positive"):
        scale_factor(sum_of_weights=bad, cross_section_pb=1, luminosity_ipb=1)


def record(processed: int, total: int, **fields: Any) -> DatasetRecord:
    values: dict[str, Any] = {
        "process": "ttbar", "variation": "nominal", "kind": "signal", "channel": None,
        "cross_section": 800.0, "k_factor": 1.0, "filter_efficiency": 1.0,
        "sum_of_weights": 10_000.0, "sum_of_weights_is": "count", "comment": None,
        "events_in_catalogue": total, "events_in_source": total, "sum_of_weights_processed": float(processed),
        "files": [FileRecord(url="a", events_expected=processed, events_processed=processed)],
    }  # fmt: skip
    return DatasetRecord(**(values | fields))


def data(channel: str | None, processed: int, total: int) -> DatasetRecord:
    return record(
        processed, total, process="data", kind="collision", channel=channel, cross_section=None
    )


def ledger(luminosity: float | None = 100.0, **datasets: DatasetRecord) -> Ledger:
    return Ledger(
        command=[], started="", duration_s=0, versions={}, executor={}, catalogue="",
        luminosity=luminosity, labels={"ttbar": "tt", "data": "Data"}, figure_label="", config={},
        config_digest="", columns_read=[], bytes_read=0, datasets=datasets, failures=[],
        analysis=TtbarAnalysis().description({}),
    )  # fmt: skip


def booked(*names: str) -> Histograms:
    from analysis.config import Binning

    return {
        f"{name}/observable": histograms.book_observable(
            Binning(bins=2, low=0, high=2), ["4j1b"], "ttbar", ["nominal"], ["electron", "muon"]
        )
        for name in names
    }


def test_histograms_of_another_run_are_refused() -> None:
    for names in (("mc",), ("mc", "other", "more")):
        with pytest.raises(NormalisationError, match=r"not of the ledger's run: (more|other)"):
            normalisation(ledger(mc=record(1, 1), other=record(1, 1)), booked(*names))


def test_luminosity_of_each_stream_is_its_processed_part() -> None:
    run_of = ledger(mu=data("muon", 30, 100), el=data("electron", 5, 50), mc=record(10, 10))
    assert processed_luminosity(run_of, 200) == {"electron": 20, "muon": 60}


def test_two_parts_of_one_stream_add_up() -> None:
    run_of = ledger(one=data("muon", 30, 30), two=data("muon", 0, 70))
    assert processed_luminosity(run_of, 200) == {"electron": 0, "muon": 60}


def test_data_of_both_channels_and_none() -> None:
    assert processed_luminosity(ledger(both=data(None, 1, 4)), 8) == {"electron": 2, "muon": 2}
    assert processed_luminosity(ledger(mc=record(1, 4)), 8) == {"electron": 8, "muon": 8}


def test_a_stream_of_which_no_event_is_left_has_its_luminosity() -> None:
    """As in a skim: its events were all processed, there is none."""
    run_of = ledger(mu=data("muon", 30, 100), el=data("electron", 0, 0), mc=record(10, 10))
    assert processed_luminosity(run_of, 200) == {"electron": 200, "muon": 60}
    without = ledger(mu=data("muon", 30, 100), mc=record(10, 10))
    assert processed_luminosity(without, 200) == {"electron": 0, "muon": 60}


def test_data_that_were_left_out_have_their_part_of_the_luminosity() -> None:
    """Of a skim, in parts of the events before it: 10 of 20 stand for 500 of 1000."""
    skimmed = data("muon", 10, 20).model_copy(update={"events_in_source": 1000})
    left_out = {
        "mu2": LeftOut(process="data", variation="nominal", channel="muon", events=1000),
        "el": LeftOut(process="data", variation="nominal", channel="electron", events=7),
        "tt": LeftOut(process="ttbar", variation="nominal", events=7),
    }
    run_of = ledger(mu=skimmed, mc=record(10, 10)).model_copy(update={"left_out": left_out})
    assert processed_luminosity(run_of, 200) == {"electron": 0, "muon": 50}
    without_data = ledger(mc=record(10, 10)).model_copy(update={"left_out": left_out})
    assert processed_luminosity(without_data, 200) == {"electron": 200, "muon": 200}


def test_a_process_that_lacks_a_dataset_is_named() -> None:
    def lost(variation: str) -> LeftOut:
        return LeftOut(process="ttbar", variation=variation, events=5)

    left_out = {"top": lost("nominal"), "up": lost("scaleup"), "down": lost("scaledown")}
    run_of = ledger(mc=record(10, 10), alt=record(5, 10, variation="scaleup"))
    run_of = run_of.model_copy(update={"left_out": left_out})
    scaling = normalisation(run_of, booked("mc", "alt"))
    assert scaling.notes == [
        "incomplete: ttbar lacks top, up",
        "part of the events that were processed: alt 0.5",
    ]
    assert not scaling.complete
    no_nominal = ledger(alt=record(10, 10, variation="scaleup")).model_copy(
        update={"left_out": {"top": lost("nominal")}}
    )
    assert normalisation(no_nominal, booked("alt")).missing == ["ttbar lacks top"]


def test_factors_of_a_partial_run_by_hand() -> None:
    """A quarter of the simulation: Σw = 2500; 20 and 60 /pb; 800 pb × 0.5 × 1.5."""
    run_of = ledger(
        200.0,
        mu=data("muon", 30, 100),
        el=data("electron", 5, 50),
        mc=record(25, 100, filter_efficiency=0.5, k_factor=1.5),
    )
    scaling = normalisation(run_of, booked("mu", "el", "mc"))
    assert scaling.datasets["mc"].sum_of_weights == 2500
    assert scaling.datasets["mc"].factors == pytest.approx(
        {"electron": 800 * 0.75 * 20 / 2500, "muon": 800 * 0.75 * 60 / 2500}
    )
    assert scaling.datasets["mu"].factors == {"electron": 1, "muon": 1}


def test_luminosity_and_cross_section_can_be_given() -> None:
    run_of = ledger(100.0, mc=record(10, 10), alt=record(10, 10, variation="scaleup"))
    scaling = normalisation(
        run_of,
        booked("mc", "alt"),
        Scaling(luminosity_ipb=50, cross_sections_pb={"ttbar": 900, "alt": 700}),
    )
    assert scaling.datasets["mc"].factors["muon"] == pytest.approx(900 * 50 / 10_000)
    assert scaling.datasets["alt"].factors["muon"] == pytest.approx(700 * 50 / 10_000)
    assert scaling.remarks == ["ttbar: scaleup is scaled to 700 pb, nominal to 900 pb"]
    in_words = normalisation(
        run_of,
        booked("mc", "alt"),
        Scaling.model_validate(
            {"luminosity_ipb": "0.05 /fb", "cross_sections_pb": {"ttbar": "0.9 nb", "alt": 700}}
        ),
    )
    assert in_words == scaling
    of_all = normalisation(run_of, booked("mc", "alt"), Scaling(cross_sections_pb={"ttbar": 900}))
    assert of_all.remarks == []


def test_a_given_cross_section_is_the_one_to_scale_to() -> None:
    """The k-factor belongs to the catalogue's cross section: 500 × 1.66 is 830, not 830 × 1.66."""
    run_of = ledger(100.0, mc=record(10, 10, cross_section=500.0, k_factor=1.66))
    known = normalisation(run_of, booked("mc"))
    given = normalisation(run_of, booked("mc"), Scaling(cross_sections_pb={"ttbar": 830}))
    assert given.datasets["mc"].factors == pytest.approx(known.datasets["mc"].factors)
    assert given.datasets["mc"].k_factor == 1


def test_k_factors_can_be_given() -> None:
    run_of = ledger(
        100.0, mc=record(10, 10, k_factor=1.66), alt=record(10, 10, variation="scaleup")
    )
    booked_by_run = booked("mc", "alt")
    scaling = normalisation(run_of, booked_by_run, Scaling(k_factors={"ttbar": 1.5, "alt": 2}))
    assert [scaling.datasets[name].k_factor for name in ("mc", "alt")] == [1.5, 2]
    assert scaling.datasets["mc"].factors["muon"] == pytest.approx(800 * 1.5 * 100 / 10_000)
    both = Scaling(k_factors={"ttbar": 1.5}, cross_sections_pb={"mc": 500})
    factor = normalisation(run_of, booked_by_run, both).datasets["mc"].factors["muon"]
    assert factor == pytest.approx(500 * 1.5 * 100 / 10_000)


def test_what_is_not_known_is_said() -> None:
    run_of = ledger(
        100.0,
        counts=record(10, 10, cross_section=None),
        plain=record(10, 10, sum_of_weights=None),
    )
    scaling = normalisation(run_of, booked("counts", "plain"))
    assert scaling.datasets["counts"].factors == {"electron": 1, "muon": 1}
    assert scaling.datasets["plain"].factors["muon"] == pytest.approx(800 * 100 / 10)
    assert len(scaling.remarks) == 2
    assert "counts: cross section not known" in scaling.remarks[0]


@pytest.mark.parametrize(
    ("run_of", "scaling", "message"),
    [
        (ledger(None, mc=record(1, 1)), Scaling(), "no luminosity"),
        (ledger(mc=record(0, 5)), Scaling(), "nothing of dataset 'mc' was processed"),
        (
            ledger(mc=record(1, 1)),
            Scaling(cross_sections_pb={"ttbr": 1}),
            r"cross section of an unknown dataset or process 'ttbr': did you mean 'ttbar'",
        ),
        (
            ledger(mc=record(1, 1), mc2=record(1, 1)),
            Scaling(cross_sections_pb={"ttbar": 1}),
            r"'ttbar' has several datasets, which are added up, give the cross section of each: mc, mc2",
        ),
        (
            ledger(mc=record(1, 1)),
            Scaling(k_factors={"data": 1}),
            r"k-factor of an unknown dataset or process 'data': valid are: mc, ttbar",
        ),
    ],
)
def test_what_is_refused(run_of: Ledger, scaling: Scaling, message: str) -> None:
    with pytest.raises(NormalisationError, match=message):
        normalisation(run_of, booked(*run_of.datasets), scaling)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"luminosity_ipb": -1}, "a luminosity must be"),
        ({"cross_sections_pb": {"ttbar": "900 pbarn"}}, "a cross section such as '44.837 fb'"),
        ({"k_factors": {"ttbar": 0}}, "greater than 0"),
        ({"qcd": "abdc"}, "'simulation' or 'abcd'"),
        ({"luminosity": 5}, "not permitted"),
    ],
)
def test_a_scaling_without_meaning(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Scaling.model_validate(choices)


def test_an_incomplete_run_is_refused_unless_allowed() -> None:
    half = record(5, 10, files=[FileRecord(url="a.root", events_expected=10, events_processed=5)])
    failure = Failure(dataset="mc", file="a.root", first_event=5, last_event=10, reason="gone")
    run_of = ledger(mc=half).model_copy(update={"failures": [failure]})
    with pytest.raises(IncompleteError, match=r"5 of 10 events were not processed: a.root: gone"):
        normalisation(run_of, booked("mc"))
    scaling = normalisation(run_of, booked("mc"), Scaling(allow_incomplete=True))
    assert not scaling.complete
    (missing,) = scaling.missing
    assert "a.root: gone" in missing
    assert scaling.notes[0] == f"incomplete: {missing}"
    assert scaling.datasets["mc"].sum_of_weights == 5000


@given(st.floats(0, 1e3), st.floats(0, 1e3))
def test_scaling_keeps_relative_uncertainties(electron: float, muon: float) -> None:
    histogram = booked("mc")["mc/observable"]
    where = {"region": "4j1b", "process": "ttbar", "variation": "nominal"}
    histogram.fill(observable=[0.5, 1.5, 9], channel="electron", weight=[1, 2, 3], **where)
    histogram.fill(observable=[0.5], channel="muon", weight=[4], **where)
    scaled = scale_by_channel(histogram, {"electron": electron, "muon": muon})
    for channel, factor in (("electron", electron), ("muon", muon)):
        one, other = (h[{**where, "channel": channel}] for h in (scaled, histogram))
        np.testing.assert_allclose(one.values(flow=True), factor * other.values(flow=True))
        np.testing.assert_allclose(one.variances(flow=True), factor**2 * other.variances(flow=True))


def test_a_process_of_two_datasets_is_scaled_one_by_one(catalogue: Catalogue) -> None:
    chosen = catalogue.select(processes=["single_top_tW"])
    numbers = {"single_top_tW__nominal__top": 20.0, "single_top_tW__nominal__antitop": 50.0}
    result = run(TtbarAnalysis(), chosen)
    booked_by_run = histograms.flatten(result.output)
    scaling = normalisation(result.ledger, booked_by_run, Scaling(cross_sections_pb=numbers))
    total = summed(apply(booked_by_run, scaling)[OBSERVABLE])
    assert [axis.name for axis in total.axes] == ["observable", "region", "process", "variation"]
    want = sum(
        cross_section * 100 * 0.5 / 20_000 * booked_by_run[f"{name}/observable"].values(flow=True)
        for name, cross_section in numbers.items()
    )
    np.testing.assert_allclose(total.values(flow=True), want.sum(axis=-1), rtol=1e-12, atol=1e-15)


def test_control_histograms_predict_as_many_events_as_the_regions(catalogue: Catalogue) -> None:
    """One and more b tags of all ttbar samples in the run: the nominal yield, once."""
    result = run(TtbarAnalysis(), catalogue.select(processes=["ttbar"]))
    unscaled = histograms.flatten(result.output)
    scaled = apply(unscaled, normalisation(result.ledger, unscaled))
    nominal = scaled[OBSERVABLE][{"variation": "nominal"}].sum(flow=True).value
    tags = scaled["control/n_btags"][{"channel": sum, "process": "ttbar"}]
    assert tags.values(flow=True)[2:].sum() == pytest.approx(nominal)


@pytest.mark.full
def test_a_part_of_the_files_predicts_the_same_cross_section(catalogue: Catalogue) -> None:
    """One of two files: half the data's luminosity is not given up, the yield per 1/pb is the same."""
    chosen = catalogue.select(["ttbar__nominal"])
    yields = []
    for limits in (Limits(), Limits(max_files=1)):
        result = run(TtbarAnalysis(), chosen, limits=limits)
        unscaled = histograms.flatten(result.output)
        scaled = apply(unscaled, normalisation(result.ledger, unscaled))[OBSERVABLE]
        yields.append(scaled[{"variation": "nominal"}].sum(flow=True).value)
    assert yields[1] == pytest.approx(yields[0], rel=0.1)  # 5000 and 2500 events: 3 % and 4 %


def test_multijet_events_of_a_region_with_bins_of_its_own_have_their_shape(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: dict[tuple[str, ...], Hist] = {}

    def recorded(observable: Hist, _: Hist, shape: Hist, __: AnalysisConfig) -> Hist:
        assert observable.axes["observable"] == shape.axes["observable"]
        shapes[tuple(shape.axes["region"])] = shape[{"variation": 0}]
        return observable

    monkeypatch.setattr(multijet, "with_estimate", recorded)
    config = AnalysisConfig(variations={"jet_energy": False, "btag_jets": 0})
    binning = config.observable
    for regions in (REGIONS, (REGIONS[0], replace(REGIONS[1], binning=binning))):
        filled = run(TtbarAnalysis(config, regions=regions), catalogue)
        normalise(filled, Scaling(qcd="abcd"))
    assert list(shapes) == [("4j1b", "4j2b"), ("4j1b",), ("4j2b",)]
    both = shapes["4j1b", "4j2b"]
    for region in ("4j1b", "4j2b"):
        one = shapes[region,][{"region": region}]
        assert one.sum(flow=True).value > 0
        np.testing.assert_array_equal(one.values(), both[{"region": region}].values())
