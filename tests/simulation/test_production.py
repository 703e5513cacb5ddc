"""Blocks, workers, resuming, catalogue and errors, with real Pythia events in small numbers."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace

import awkward as ak
import pytest

from analysis.common.errors import ConfigError, OutputError, SimulationError
from analysis.common.extras import require_extra
from analysis.datasets import ntuples
from analysis.simulation import production, sample
from analysis.simulation.config import DetectorConfig
from analysis.simulation.generator import generate
from analysis.simulation.processes import BY_NAME, PROCESS_NAMES, find

TTBAR = BY_NAME["ttbar__nominal"]
SMALL = {"events": 6, "seed": 7, "block_events": 20}
NAME = "ttbar__nominal"

pytestmark = pytest.mark.usefixtures("generator")


def content(folder):
    return ntuples.read(folder / NAME / f"{NAME}_0.root")


def same(one, other):
    return one.keys() == other.keys() and all(ak.array_equal(one[k], other[k]) for k in one)


@pytest.fixture(scope="module")
def made(tmp_path_factory, generator):  # noqa: ARG001
    """A small data set made by one worker."""
    folder = tmp_path_factory.mktemp("one")
    return folder, production.produce([TTBAR], folder, workers=1, **SMALL)[0]


@pytest.mark.full
def test_two_workers_make_the_same_events(made, tmp_path):
    folder, _ = made
    production.produce([TTBAR], tmp_path, workers=2, **SMALL)
    assert same(content(folder), content(tmp_path))
    first, second = (json.loads((f / "ntuples.json").read_text()) for f in (folder, tmp_path))
    assert first == second


@pytest.mark.full
def test_another_seed_makes_other_events(made):
    folder, _ = made
    order = production.Order(TTBAR, 1, 8, DetectorConfig(), 20)
    columns, _ = production.make_block(order, 0)
    assert not ak.array_equal(
        columns["met_pt"], content(folder)["met_pt"][: len(columns["met_pt"])]
    )


def test_the_catalogue_says_what_the_generator_did(made):
    folder, dataset = made
    catalogue = json.loads((folder / "ntuples.json").read_text())
    entry = catalogue["datasets"][NAME]
    assert catalogue["tree"] == "events"
    assert catalogue["base"] == "."
    lepton = {"min_pt": 26, "max_abs_eta": 2.1}
    limits = {f"{name}.{cut}": at for name in ("electron", "muon") for cut, at in lepton.items()}
    assert catalogue["preselection"] == limits
    sigma = float(entry["cross_section"].removesuffix(" pb"))
    assert sigma * entry["k_factor"] == pytest.approx(831.76, rel=1e-12)
    assert entry["sum_of_weights"] == dataset.generated
    assert entry["filter_efficiency"] == pytest.approx(dataset.generated / dataset.tried)
    assert sum(entry["files"].values()) == dataset.selected >= SMALL["events"]
    assert dataset.generated % SMALL["block_events"] == 0
    assert sum(entry["files"].values()) == ntuples.size(content(folder))


def test_files_have_the_poet_layout(made):
    import uproot

    folder, _ = made
    with uproot.open(folder / NAME / f"{NAME}_0.root") as file:
        assert file.classnames()["events;1"] == "TTree"
        tree = file["events"]
        assert tree["numberjet"].typename == "int32_t"
        assert tree["njet_corrpt"].typename == "int32_t"
        assert tree["jet_corrpt"].typename == "float[]"
        assert tree["electron_isTight"].typename == "int32_t[]"
        assert tree["trig_IsoMu20"].typename == "int32_t"
        assert tree["met_pt"].typename == "float"


def test_only_preselected_events_are_kept(made):
    events = content(made[0])
    tight = [
        ak.any((events[f"{x}_isTight"] == 1) & (events[f"{x}_pt"] > 26), axis=1)
        for x in ("electron", "muon")
    ]
    assert ak.all(tight[0] | tight[1])
    fired = sum(events[name] for name in events if name.startswith("trig_"))
    assert ak.all(fired >= 1)


@pytest.mark.full
def test_finished_blocks_are_used_again(made, tmp_path):
    folder, dataset = made
    order = production.Order(TTBAR, SMALL["events"], SMALL["seed"], DetectorConfig(), 20)
    blocks = tmp_path / ".blocks" / f"{NAME}-{order.digest()}"
    production._work(order, 0, blocks)
    record = blocks / "00000.json"
    kept = json.loads(record.read_text())
    kept["counts"]["tried"] += 1_000_000
    record.write_text(json.dumps(kept))
    again = production.produce([TTBAR], tmp_path, workers=1, **SMALL)[0]
    assert again.tried == dataset.tried + 1_000_000
    assert same(content(folder), content(tmp_path))
    assert not (tmp_path / ".blocks").exists()


@pytest.mark.full
def test_a_half_written_block_is_made_again(made, tmp_path):
    folder, dataset = made
    order = production.Order(TTBAR, SMALL["events"], SMALL["seed"], DetectorConfig(), 20)
    blocks = tmp_path / ".blocks" / f"{NAME}-{order.digest()}"
    blocks.mkdir(parents=True)
    (blocks / "00000.root").write_bytes(b"")
    (blocks / "00001.json").write_text("{")
    assert production.produce([TTBAR], tmp_path, workers=1, **SMALL)[0].tried == dataset.tried
    assert same(content(folder), content(tmp_path))


def test_a_complete_dataset_is_not_made_again(made, monkeypatch):
    folder, dataset = made
    monkeypatch.setattr(production, "_enough", lambda *_: pytest.fail("made again"))
    assert production.produce([TTBAR], folder, workers=1, **SMALL)[0] == dataset


@pytest.mark.parametrize("there", ["ntuples.json", NAME])
def test_ntuples_from_elsewhere_are_not_written_over(tmp_path, there):
    (tmp_path / there).mkdir()
    with pytest.raises(OutputError, match=f"{there} is there and not of a simulation"):
        production.produce([TTBAR], tmp_path, **SMALL)
    with pytest.raises(OutputError, match=f"{there} is there and not of a simulation"):
        sample.make_sample(tmp_path, workers=1, progress=lambda *_: None)
    assert [path.name for path in tmp_path.iterdir()] == [there]


@pytest.mark.full
def test_a_killed_worker_is_reported(tmp_path):
    order = production.Order(TTBAR, 5, 7, DetectorConfig(), 20)
    with production.Pool(1) as pool:
        pool._executor.submit(os._exit, 1)
        with pytest.raises(SimulationError, match="worker process died"):
            production.make_dataset(order, tmp_path, pool, lambda *_: None)
    assert not list(tmp_path.rglob(f"{NAME}_*.root"))


def test_pythia_refusing_a_setting_is_reported():
    wrong = replace(TTBAR, settings=("Top:gg2tbar = on",))
    with pytest.raises(SimulationError, match=r"does not know the setting 'Top:gg2tbar = on'"):
        production.make_block(production.Order(wrong, 1, 1, DetectorConfig(), 5), 0)


def test_pythia_failing_to_initialise_is_reported():
    wrong = replace(TTBAR, settings=())  # no process switched on
    with pytest.raises(SimulationError, match="failed to initialise"):
        production.make_block(production.Order(wrong, 1, 1, DetectorConfig(), 5), 0)


def test_a_full_disk_leaves_no_file(made, tmp_path, monkeypatch):
    import uproot

    columns = content(made[0])

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(uproot, "recreate", full)
    with pytest.raises(OutputError, match="No space left on device"):
        ntuples.write(tmp_path / "x.root", columns)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"events": -1}, "--events is -1"),
        ({"events": 0}, "--events is 0"),
        ({"seed": -3}, "--seed is -3"),
        ({"workers": 0}, "--workers is 0"),
    ],
)
def test_counts_that_make_no_sense_are_refused(tmp_path, changed, said):
    with pytest.raises(SimulationError, match=said):
        production.produce([TTBAR], tmp_path, **({**SMALL, "workers": 1} | changed))


def test_an_unknown_process_is_answered_with_the_nearest():
    with pytest.raises(SimulationError, match=r"unknown process 'ttbra': did you mean 'ttbar'"):
        find(["ttbra"])


def test_a_process_name_means_its_nominal_slices():
    assert [p.name for p in find(["ttbar"])] == ["ttbar__nominal"]
    assert [p.name for p in find(["wjets"])] == [
        "wjets__nominal__pthat40to80",
        "wjets__nominal__pthat80",
    ]
    assert {p.process for p in find(["all"])} == set(PROCESS_NAMES)


def test_missing_pythia_names_the_extra(monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="simulation needs the extra 'simulate'"):
        require_extra("simulate", "simulation")


def test_every_variation_differs_from_nominal_in_its_settings():
    settings = [p.settings for p in BY_NAME.values() if p.process == "ttbar"]
    assert len(set(settings)) == len(settings) == 5


@pytest.mark.full
@pytest.mark.parametrize(
    "name", ["single_top_tW__nominal", "wjets__nominal__pthat80", "qcd__nominal"]
)
def test_other_processes_generate(name):
    order = production.Order(BY_NAME[name], 1, 3, DetectorConfig(), 5)
    _, counts = production.make_block(order, 0)
    assert counts.generated == 5
    assert counts.tried >= 5
    assert counts.cross_section_pb > 0


@pytest.mark.full
def test_only_the_hadrons_of_one_b_quark_are_forced_to_a_muon():
    """A particle and its antiparticle share a decay table: both were forced once."""
    count = 60
    record, _ = generate(BY_NAME["qcd__nominal"], count, 1)
    particles = record.prt
    muons = particles[(particles.status > 0) & (abs(particles.id) == 13)]
    mothers = abs(particles[muons.mother1].id)
    from_beauty = sum(mothers == hadron for hadron in (511, 521, 531, 5122))
    assert 0.9 < ak.sum(from_beauty) / count < 1.5
