"""The bundled sample: its size, catalogue and content, and a part of it made again from its seed."""

from __future__ import annotations

import json
from pathlib import Path

import awkward as ak
import numpy as np
import pytest

import analysis
from analysis.common.errors import SimulationError
from analysis.datasets import ntuples
from analysis.simulation import dimuon, layout, production, sample
from analysis.simulation.config import DetectorConfig
from analysis.simulation.observables import observables
from analysis.simulation.processes import BY_NAME
from analysis.simulation.pseudodata import mix

SAMPLE = Path(analysis.__file__).parent / "sample"
TTBAR = "ttbar__nominal"


@pytest.fixture(scope="module")
def catalogue():
    return json.loads((SAMPLE / "ntuples.json").read_text())


@pytest.fixture(scope="module")
def first_block(generator):  # noqa: ARG001
    """Block 0 of nominal ttbar, made now; about ten seconds."""
    order = production.Order(BY_NAME[TTBAR], 1, sample.SEED, DetectorConfig())
    return production.make_block(order, 0)[0]


def test_the_sample_is_at_most_ten_megabytes():
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file()) <= 10_000_000


def test_files_hold_the_events_that_the_catalogue_says(catalogue):
    for name, entry in catalogue["datasets"].items():
        for file, count in entry["files"].items():
            events = ntuples.read(SAMPLE / entry["path"] / file, ["PV_npvs"])
            assert ntuples.size(events) == count, (name, file)


def test_every_process_and_variation_is_there(catalogue):
    names = set(BY_NAME) | {"data__pseudo"}
    assert set(catalogue["datasets"]) == names


def test_the_catalogue_says_what_cuts_are_too_loose(catalogue):
    """What is written with the next sample is what this one has."""
    made = production.preselection(DetectorConfig()) | sample.SKIM
    assert catalogue["preselection"] == made
    assert made["jet.min_pt"] == 28


def test_simulated_datasets_are_normalised_to_what_the_generator_did(catalogue):
    records = production.read_records(SAMPLE)
    for name, entry in catalogue["datasets"].items():
        if entry["kind"] == "collision":
            continue
        record, process = records[name], BY_NAME[name]
        assert entry["sum_of_weights"] == record["generated"] * process.responses
        efficiency = record["generated"] / record["tried"] * process.branching
        assert entry["filter_efficiency"] == pytest.approx(efficiency)
        if process.reference_pb is not None:
            sigma = float(entry["cross_section"].removesuffix(" pb"))
            assert sigma * entry["k_factor"] == pytest.approx(process.reference_pb)


@pytest.mark.parametrize("name", [name for name in BY_NAME if name.startswith("wjets")])
def test_no_w_event_is_there_twice(catalogue, name):
    """Detector responses to one generated event share the direction of its lepton."""
    entry = catalogue["datasets"][name]
    events = ntuples.concatenate(
        [ntuples.read(SAMPLE / entry["path"] / file) for file in entry["files"]]
    )
    leptons = {
        x: ak.concatenate([events[f"{y}_{x}"] for y in ("electron", "muon")], axis=1)
        for x in ("pt", "eta", "phi")
    }
    hardest = ak.argmax(leptons["pt"], axis=1, keepdims=True)
    directions = ak.to_numpy(ak.concatenate([leptons[x][hardest] for x in ("eta", "phi")], axis=1))
    assert len(np.unique(directions, axis=0)) == len(directions)


def test_the_jpsi_stands_on_a_visible_background():
    """Pairs of opposite charge beside the peak: the sideband lesson needs some."""
    file = SAMPLE / "dimuon" / "data__dimuon" / "data__dimuon_0.root"
    events = ntuples.read(file, [f"Muon_{x}" for x in ("pt", "eta", "phi", "charge")], dimuon.TREE)
    pt, eta, phi, charge = (values[:, :2] for values in events.values())
    angles = np.cosh(eta[:, 0] - eta[:, 1]) - np.cos(phi[:, 0] - phi[:, 1])
    mass = np.sqrt(2 * pt[:, 0] * pt[:, 1] * angles)[charge[:, 0] != charge[:, 1]]
    beside = ak.sum((abs(mass - 2.8) < 0.1) | (abs(mass - 3.4) < 0.1))
    peak = ak.sum(abs(mass - 3.1) < 0.1)
    assert peak > 500
    assert 0.1 < beside / peak < 0.4


def test_pseudodata_have_no_truth(catalogue):
    entry = catalogue["datasets"]["data__pseudo"]
    for file in entry["files"]:
        events = ntuples.read(SAMPLE / entry["path"] / file)
        assert ak.all(events["jet_hflav"] == 0)
        assert ak.all(events["btag_WeightUp"] == 1)
        assert ak.all(events["jet_corrptSmearUp"] == events["jet_corrpt"])


@pytest.mark.full
def test_the_first_block_of_ttbar_is_remade_from_the_seed(first_block):
    skimmed = ntuples.select(first_block, sample.may_be_selected(first_block))
    remade = layout.reduced(sample.without_soft_jets(skimmed))
    stored = ntuples.read(SAMPLE / TTBAR / f"{TTBAR}_0.root")
    count = ntuples.size(remade)
    assert count > 100
    for name, values in remade.items():
        there = stored[name][:count]
        if values.ndim > 1:
            assert ak.all(ak.num(there) == ak.num(values)), name
        # Another processor may round the last bit otherwise, and so the truncated one.
        np.testing.assert_allclose(
            ak.to_numpy(ak.flatten(there, axis=None)),
            ak.to_numpy(ak.flatten(values, axis=None)),
            rtol=2e-2,
            atol=1e-6,
            err_msg=name,
        )


@pytest.mark.full
def test_the_skim_loses_no_selected_event(first_block):
    skimmed = sample.without_soft_jets(
        ntuples.select(first_block, sample.may_be_selected(first_block))
    )
    for name in ("jet_corrpt", "jet_corrptUp", "jet_corrptDown", "jet_corrptSmearUp"):
        before, after = (observables({**e, "jet_corrpt": e[name]}) for e in (first_block, skimmed))
        for region, values in before.items():
            np.testing.assert_array_equal(after[region], values)


def test_muons_follow_their_jets_when_soft_ones_go():
    pt = ak.Array([[50.0, 10.0, 30.0], [], [10.0, 40.0]])
    columns = {
        "jet_corrpt": pt,
        "jet_corrptUp": pt,
        "jet_corrptSmearUp": pt,
        "jet_corrptSmearDown": pt,
        "muon_jetidx": ak.Array([[2, 1, -1], [-1], [1]]),
    }
    kept = sample.without_soft_jets(columns)
    assert kept["jet_corrpt"].to_list() == [[50.0, 30.0], [], [40.0]]
    assert kept["muon_jetidx"].to_list() == [[1, -1, -1], [-1], [0]]


def fake_dataset(generated, selected, sigma=100.0):
    dataset = production.Dataset(
        process=BY_NAME[TTBAR],
        files={},
        tried=2 * generated,
        generated=generated,
        selected=selected,
        cross_section_pb=sigma,
        seconds=1.0,
    )
    jets = ak.Array([[40.0]] * selected)
    columns = {
        "id": ak.Array(np.arange(selected)),
        "jet_hflav": ak.Array([[5]] * selected),
        "jet_corrpt": jets,
        "jet_corrptSmearUp": jets * 1.1,
        "jet_corrptSmearDown": jets * 0.9,
        **{name: ak.Array(np.full(selected, 0.9)) for name in layout.TAG_WEIGHTS},
    }
    return dataset, columns


def test_mixing_draws_the_expected_number_once_each():
    dataset, columns = fake_dataset(100_000, 50_000)
    # 831.76 pb x filter 0.5 x 100 /pb = 41588 generated, half of them selected.
    events, drawn = mix([(dataset, columns, 1.0)], 100.0, seed=5)
    count = ntuples.size(events)
    assert drawn == {TTBAR: count}
    assert count == pytest.approx(41588 / 2, abs=5 * np.sqrt(41588 / 2))
    assert len(np.unique(events["id"])) == count
    again, _ = mix([(dataset, columns, 1.0)], 100.0, seed=5)
    assert ak.array_equal(events["id"], again["id"])


def test_mixing_more_than_there_is_is_refused():
    dataset, columns = fake_dataset(1000, 500)
    with pytest.raises(SimulationError, match="1000 generated events are too few for 100 /pb"):
        mix([(dataset, columns, 1.0)], 100.0, seed=5)
