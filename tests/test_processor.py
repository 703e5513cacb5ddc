"""The processor against a plain loop over the events, and its bookkeeping."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coffea.nanoevents import NanoEventsFactory
from coffea.nanoevents.trace import trace

from analysis.common.errors import CatalogueError
from analysis.config import AnalysisConfig
from analysis.processor import TtbarAnalysis
from schemas import AGCSchema
from tests import event_loop
from tests.ntuples import make_events, write


def process(path: Path, config: AnalysisConfig | None = None, **metadata: Any) -> dict[str, Any]:
    metadata = {"dataset": "set", "process": "ttbar", **metadata}
    events = NanoEventsFactory.from_root(
        {path: "events"}, schemaclass=AGCSchema, metadata=metadata
    ).events()
    output: dict[str, Any] = TtbarAnalysis(config).process(events)["set"]
    return output


def changed(**sections: dict[str, Any]) -> AnalysisConfig:
    return AnalysisConfig.model_validate(sections)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processor")
    return write(folder / "a.root", make_events(6000, seed=11))


def assert_equals_loop(output: dict[str, Any], loop: event_loop.Loop, process: str) -> None:
    histogram = output["observable"]
    for (region, variation, channel), bins in loop.bins.items():
        got = histogram[
            {"region": region, "process": process, "variation": variation, "channel": channel}
        ].values(flow=True)
        want = [bins[i] for i in range(-1, event_loop.BINS + 1)]
        np.testing.assert_array_equal(got, want, err_msg=f"{region} {variation} {channel}")
    for (region, variation, channel), weights in loop.weighted.items():
        if process == "data":
            break
        got = histogram[
            {"region": region, "process": process, "variation": variation, "channel": channel}
        ].values(flow=True)
        want = [weights[i] for i in range(-1, event_loop.BINS + 1)]
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
    for region in ("4j1b", "4j2b"):
        plane = output["multijet"]["plane"][{"region": region, "channel": 0, "process": process}]
        got = plane.values(flow=True)
        assert not got[0].any()
        assert not got[:, 0].any()
        assert {(i, j): got[i + 1, j + 1] for i, j in np.argwhere(got[1:, 1:])} == loop.plane[
            region
        ]
    for channel, steps in loop.cutflow.items():
        for step in ("one lepton", "trigger", "jets", "4j1b", "4j2b"):
            assert output["cutflow"][channel][step]["events"] == steps[step], (channel, step)


def test_random_events_equal_the_plain_loop(path: Path) -> None:
    loop = event_loop.run(path)
    filled = {key for key, bins in loop.bins.items() if sum(bins.values()) > 50}
    assert len(filled) == 2 * 5 * 2  # regions, jet shifts, channels: the comparison has content
    assert all(sum(bins.values()) > 50 for bins in loop.plane.values())
    assert len(loop.plane) == 2
    assert_equals_loop(process(path), loop, "ttbar")


@pytest.mark.shared
@pytest.mark.parametrize("name", ["ttbar", "wjets"])
def test_real_events_equal_the_plain_loop(real_files: dict[str, Path], name: str) -> None:
    loop = event_loop.run(real_files[name])
    assert_equals_loop(process(real_files[name], process=name), loop, name)


@pytest.mark.parametrize("channel", ["electron", "muon", None])
def test_collision_data_need_their_stream_and_trigger(path: Path, channel: str | None) -> None:
    output = process(path, process="data", channel=channel)
    loop = event_loop.run(path, is_data=True, data_channel=channel)
    assert_equals_loop(output, loop, "data")
    assert list(output["observable"].axes["variation"]) == ["nominal"]


def test_an_event_in_both_streams_counts_once(path: Path) -> None:
    both = process(path, process="data")["observable"].sum(flow=True).value
    streams = [process(path, process="data", channel=name) for name in ("electron", "muon")]
    assert sum(out["observable"].sum(flow=True).value for out in streams) == both > 0


def test_simulation_can_be_asked_for_its_trigger(path: Path) -> None:
    output = process(path, changed(trigger={"simulation": "channel"}))
    data = process(path, process="data")
    assert output["cutflow"] == data["cutflow"]
    steps = process(path)["cutflow"]["muon"]
    assert steps["trigger"] == steps["one lepton"] != output["cutflow"]["muon"]["trigger"]


def test_alternative_samples_fill_their_own_variation_only(path: Path) -> None:
    output = process(path, variation="ME_var")
    nominal = process(path)["observable"][{"variation": "nominal"}]
    assert list(output["observable"].axes["variation"]) == ["ME_var"]
    assert output["observable"][{"variation": "ME_var"}] == nominal


def test_wjets_scale_variation_is_symmetric(path: Path) -> None:
    histogram = process(path, process="wjets")["observable"]
    nominal = histogram[{"variation": "nominal"}].values()
    for direction, factor in (("up", 1.025), ("down", 0.975)):
        varied = histogram[{"variation": f"scale_var_{direction}"}].values()
        np.testing.assert_allclose(varied, factor * nominal, rtol=1e-12)
    assert "scale_var_up" not in process(path)["observable"].axes["variation"]
    none = changed(variations={"scale_uncertainty": {"wjets": 0}})
    assert (
        "scale_var_up" not in process(path, none, process="wjets")["observable"].axes["variation"]
    )


def test_btag_scale_factors_weight_nominal_and_vary(path: Path) -> None:
    output = process(path, changed(variations={"btag_scale_factors": True}))
    assert output["counts"]["sum_of_weights"] == 6000  # of the generator: not the scale factors
    histogram = output["observable"]
    plain = process(path)["observable"][{"variation": "nominal"}].sum(flow=True).value
    assert histogram[{"variation": "nominal"}].sum(flow=True).value != plain
    assert {"btag_sf_up", "btag_sf_down"} < set(histogram.axes["variation"])
    up, nominal = (
        histogram[{"variation": name}].sum(flow=True).value for name in ("btag_sf_up", "nominal")
    )
    assert up != nominal
    data = process(path, changed(variations={"btag_scale_factors": True}), process="data")
    assert data["observable"] == process(path, process="data")["observable"]


def test_cleaning_drops_the_jets_at_the_lepton(tmp_path: Path) -> None:
    """One muon and four jets, one of them the muon: in 4j1b only as long as nothing is cleaned."""
    event = make_events(1, seed=0)
    event |= {name: [[]] for name in event if name.startswith(("electron_", "muon_", "jet_"))}
    event |= {"muon_pt": [[50.0]], "muon_eta": [[1.0]], "muon_phi": [[3.1]], "muon_isTight": [[1]]}
    event |= {"muon_sip3d": [[1.0]], "muon_pfreliso04DBCorr": [[0.1]]}
    event |= {"jet_eta": [[1.1, 0, -1, 0.5]], "jet_phi": [[-3.1, 0, 1, 2]]}
    event |= {"jet_btag": [[0, 0.8, 0.1, 0.2]], "jet_corrmass": [[5, 5, 5, 5]]}
    for column in event_loop.JET_PT.values():
        event[column] = [[60.0, 50, 40, 35]]
    path = write(tmp_path / "a.root", event)
    kept = process(path)["cutflow"]["muon"]
    cleaned = process(path, changed(jet={"min_lepton_delta_r": 0.4}))["cutflow"]["muon"]
    assert kept["4j1b"]["events"] == 1
    assert cleaned["one lepton"]["events"] == 1
    assert cleaned["jets"]["events"] == 0


def test_control_histograms_have_the_events_before_tagging(path: Path) -> None:
    # So many bins that no event has more jets.
    output = process(path, changed(control={"n_jets": {"bins": 40, "low": 3.5, "high": 43.5}}))
    for channel in ("electron", "muon"):
        events = output["cutflow"][channel]["jets"]["events"]
        for name in ("lepton_pt", "lepton_eta", "n_jets", "n_btags", "met", "n_vertices"):
            histogram = output["control"][name][{"channel": channel, "process": "ttbar"}]
            assert histogram.sum(flow=True).value == events, name
        jets = output["control"]["n_jets"][{"channel": channel, "process": "ttbar"}]
        n_jets = float(
            (jets.values(flow=True) * np.arange(3, 3 + len(jets.values(flow=True)))).sum()
        )
        pt = output["control"]["jet_pt"][{"channel": channel, "process": "ttbar"}]
        assert pt.sum(flow=True).value == pytest.approx(n_jets)
    assert process(path, changed(control={"enabled": False}))["control"] == {}


def test_alternative_samples_do_not_add_up_in_control_histograms(path: Path) -> None:
    assert process(path, variation="scaleup")["control"] == {}


def test_the_plane_is_nominal_and_can_be_left_out(path: Path) -> None:
    assert process(path, variation="scaleup")["multijet"] == {}
    assert process(path, changed(multijet={"enabled": False}))["multijet"] == {}


def test_the_plane_needs_the_trigger_in_simulation_too(path: Path) -> None:
    plane = process(path)["multijet"]["plane"]
    asked = process(path, changed(trigger={"simulation": "channel"}))["multijet"]["plane"]
    assert plane == asked


def test_jets_are_cleaned_of_the_muon_that_is_not_isolated(tmp_path: Path) -> None:
    """One muon in a jet, and three other jets: enough only as long as nothing is cleaned."""
    event = make_events(1, seed=0)
    event |= {name: [[]] for name in event if name.startswith(("electron_", "muon_", "jet_"))}
    event |= {"muon_pt": [[50.0]], "muon_eta": [[1.0]], "muon_phi": [[3.1]], "muon_isTight": [[1]]}
    event |= {"muon_sip3d": [[1.0]], "muon_pfreliso04DBCorr": [[0.8]]}
    event |= {"met_pt": [50.0], "met_phi": [3.1], "trig_IsoMu20": [1]}
    event |= {"jet_eta": [[1.1, 0, -1, 0.5]], "jet_phi": [[-3.1, 1.5, 1, 2]]}
    event |= {"jet_btag": [[0.1, 0.8, 0.1, 0.2]], "jet_corrmass": [[5, 5, 5, 5]]}
    for column in event_loop.JET_PT.values():
        event[column] = [[60.0, 50, 40, 35]]
    path = write(tmp_path / "a.root", event)
    booked = process(path)["multijet"]
    kept = booked["plane"]
    assert kept[{"isolation": 16, "transverse_mass": 0, "region": "4j1b"}].sum().value == 1
    # H_T of 185 GeV, in the shape of the muons that are not isolated.
    assert booked["observable"][{"observable": 6, "region": "4j1b"}].sum().value == 1
    isolated = write(tmp_path / "b.root", event | {"muon_pfreliso04DBCorr": [[0.2]]})
    assert process(isolated)["multijet"]["observable"].sum(flow=True).value == 0
    cleaned = process(path, changed(jet={"min_lepton_delta_r": 0.4}))["multijet"]["plane"]
    assert cleaned.sum(flow=True).value == 0


def test_no_events_give_empty_histograms_with_every_category(tmp_path: Path, path: Path) -> None:
    empty = write(tmp_path / "empty.root", {k: v[:0] for k, v in make_events(1, 0).items()})
    output = process(empty)
    assert output["counts"] == {"events": 0, "sum_of_weights": 0.0}
    assert output["observable"].sum(flow=True).value == 0
    assert output["observable"] + process(path)["observable"] == process(path)["observable"]


@pytest.mark.parametrize(
    ("config", "metadata"),
    [
        (None, {}),
        (None, {"process": "data"}),
        (changed(control={"enabled": False}), {"process": "wjets"}),
        (changed(multijet={"enabled": False}), {}),
        (changed(variations={"btag_scale_factors": True}), {}),
        (changed(variations={"btag_scale_factors": True}), {"variation": "scaleup"}),
        (changed(variations={"jet_energy": False}, trigger={"simulation": "channel"}), {}),
        (changed(jet={"min_lepton_delta_r": 0.4}), {}),
    ],
)
def test_declared_columns_are_those_that_are_read(
    path: Path, config: AnalysisConfig | None, metadata: dict[str, Any]
) -> None:
    metadata = {"dataset": "set", "process": "ttbar", "variation": "nominal", **metadata}
    log: list[Any] = []
    events = NanoEventsFactory.from_root(
        {path: "events"}, schemaclass=AGCSchema, metadata=metadata, access_log=log
    ).events()
    processor = TtbarAnalysis(config)
    processor.process(events)
    declared = AGCSchema.branches(processor.columns(metadata))
    read = {access.branch for access in log}
    if metadata["variation"] != "nominal":  # its own variation only: not those of a weight
        declared -= {"btag_WeightUp", "btag_WeightDn"}
    assert read == declared


def test_metadata_without_process_is_an_error(path: Path) -> None:
    events = NanoEventsFactory.from_root(
        {path: "events"}, schemaclass=AGCSchema, metadata={"dataset": "x"}
    ).events()
    with pytest.raises(CatalogueError, match=r"no 'process'.*there: dataset"):
        TtbarAnalysis().process(events)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"varation": "scaleup"}, "has 'varation': did you mean 'variation'"),
        ({"Variation": "scaleup"}, "has 'Variation': did you mean 'variation'"),
        ({"process": "data", "chanel": "muon"}, "has 'chanel': did you mean 'channel'"),
        ({"process": "data", "channel": "muons"}, "channel 'muons': did you mean 'muon'"),
        ({"process": "data", "channel": 1}, "channel 1: valid are: electron, muon"),
        ({"variation": None}, "variation None, expected a name"),
        ({"process": "Data"}, "process 'Data': did you mean 'data'"),
    ],
)
def test_metadata_that_a_default_would_take_the_place_of_are_an_error(
    path: Path, wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(CatalogueError, match=said) as caught:
        process(path, **wrong)
    assert len(str(caught.value).splitlines()) == 1


def test_other_metadata_are_left_alone(path: Path) -> None:
    given = {"variation": "scaleup", "nevts": 100, "xsec": 831.76, "is_mc": True, "year": "2015"}
    assert list(process(path, **given)["observable"].axes["variation"]) == ["scaleup"]


@pytest.mark.full
def test_coffeas_trace_finds_the_declared_columns(path: Path) -> None:
    metadata = {"dataset": "set", "process": "ttbar"}
    events = NanoEventsFactory.from_root(
        {path: "events"}, schemaclass=AGCSchema, metadata=metadata
    ).events()
    processor = TtbarAnalysis()
    # The compiled loops need numbers: coffea says so, and traces with arrays of length zero.
    with pytest.warns(RuntimeWarning, match="during typetracer tracing"):
        read = trace(processor.process, events)
    assert read == AGCSchema.branches(processor.columns(metadata))
