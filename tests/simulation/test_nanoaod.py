"""NanoAOD of the simulation: names, types, identification of jets, sums; and the same histograms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from analysis.cli import main
from analysis.common.errors import OutputError
from analysis.config import AnalysisConfig
from analysis.datasets import ntuples
from analysis.datasets.bundled import SAMPLE
from analysis.datasets.catalogue import Catalogue
from analysis.datasets.inventory import build
from analysis.execution.runner import run
from analysis.processor import TtbarAnalysis
from analysis.simulation import production, sample
from analysis.simulation.config import DetectorConfig
from analysis.simulation.generator import Counts
from analysis.simulation.nanoaod import TRUTH, _jet_identification, nanoaod
from analysis.simulation.processes import BY_NAME
from tests.ntuples import make_events

TTBAR = BY_NAME["ttbar__nominal"]
TYPES = {
    "run": "uint32_t", "luminosityBlock": "uint32_t", "event": "uint64_t", "genWeight": "float",
    "Pileup_nTrueInt": "float", "HLT_IsoMu20": "bool", "MET_pt": "float", "PV_npvs": "int32_t",
    "Electron_cutBased": "int32_t[]", "Electron_mass": "float[]", "Muon_tightId": "bool[]",
    "Muon_jetIdx": "int32_t[]", "Jet_pt": "float[]", "Jet_jetId": "int32_t[]",
    "Jet_hadronFlavour": "int32_t[]", "Jet_btagCSVV2": "float[]", "Jet_rawFactor": "float[]",
    "btagWeight_CSVV2": "float",
}  # fmt: skip
"""Branches of NanoAOD v9, as files of CMS have them."""


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> list[production.Block]:
    """Two blocks of random events, as workers leave them."""
    folder = tmp_path_factory.mktemp("blocks")
    made = []
    for number, events in enumerate((30, 20)):
        path = folder / f"{number}.root"
        ntuples.write(path, make_events(events, seed=number))
        counts = Counts(tried=200, generated=100 + number, cross_section_pb=500.0)
        made.append(production.Block(number, path, counts, events, 1.0))
    return made


def test_files_have_the_names_and_types_of_nanoaod(
    blocks: list[production.Block], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(production, "EVENTS_PER_FILE", 25)
    order = production.Order(TTBAR, 50, 1, DetectorConfig())
    files = production._merge(order, blocks, tmp_path, "nanoaod")
    assert files == {"ttbar__nominal_0.root": 30, "ttbar__nominal_1.root": 20}
    with uproot.open(tmp_path / TTBAR.name / "ttbar__nominal_0.root") as file:
        found = {name: file["Events"][name].typename for name in TYPES}
        assert found == TYPES
        assert {"nJet", "nElectron"} <= set(file["Events"].keys())
    catalogue = build(tmp_path, tmp_path / "c.json", {})
    (dataset,) = catalogue.datasets.values()
    assert dataset.sum_of_weights == 201
    assert (catalogue.format, dataset.generator_weights) == ("nanoaod", True)
    numbers = [
        ntuples.read(tmp_path / TTBAR.name / name, ["event"], "Events")["event"] for name in files
    ]
    assert ak.concatenate(numbers).to_list() == list(range(1, 51))


def test_a_jet_that_is_a_lepton_fails_the_lepton_veto() -> None:
    momenta = {
        "jet": ([40.0, 40.0, 40.0], [0.0, 1.0, 2.0], [0.0, 3.1, 0.0]),
        "muon": ([35.0, 33.0, 25.0], [0.1, 1.0, 2.0], [0.0, -3.1, 0.0]),
        "electron": ([], [], []),
    }
    columns = {
        f"{name}_{field}": ak.values_astype(ak.Array([values, []]), np.float32)
        for name, vectors in momenta.items()
        for field, values in zip(("pt", "eta", "phi"), vectors, strict=True)
    }
    assert _jet_identification(columns).to_list() == [[2, 2, 6], []]
    for field in ("pt", "eta", "phi"):
        muons, electrons = columns[f"muon_{field}"], columns[f"electron_{field}"]
        columns |= {f"muon_{field}": electrons, f"electron_{field}": muons}
    assert _jet_identification(columns).to_list() == [[6, 6, 6], []]


def test_working_points_of_electrons_and_sections() -> None:
    events = make_events(30, seed=2, whole=True)
    made = nanoaod(events, first_event=990)
    tight, loose = (events[f"electron_{name}"] == 1 for name in ("isTight", "isLoose"))
    assert ak.all((made["Electron_cutBased"] == 4) == tight)
    assert ak.all(made["Electron_cutBased"][loose] >= 2)
    assert (made["event"][0], made["event"][-1]) == (990, 1019)
    assert made["luminosityBlock"].tolist() == [1] * 10 + [2] * 20
    np.testing.assert_allclose(
        ak.flatten((1 - made["Jet_rawFactor"]) * made["Jet_pt"]), ak.flatten(events["jet_pt"]), 1e-5
    )


def test_collisions_have_no_truth() -> None:
    made = nanoaod(make_events(10, seed=3), collisions=True)
    assert made.keys().isdisjoint(TRUTH)
    assert {"run", "event", "HLT_IsoMu20"} <= made.keys()


def test_a_folder_has_one_format(tmp_path: Path) -> None:
    production.write_catalogue(tmp_path, {})
    (tmp_path / production.RECORD).write_text("{}")
    with pytest.raises(OutputError, match="has simulated files in the format 'poet': name another"):
        production.produce([TTBAR], tmp_path, events=1, seed=1, files_format="nanoaod")


def observables(catalogue: Catalogue, *datasets: str) -> dict[str, Any]:
    config = {
        "variations": {"jet_energy": False}, "multijet": {"enabled": False}, "control": {"enabled": False},
    }  # fmt: skip
    chosen = {name: catalogue.datasets[name] for name in datasets}
    part = catalogue.model_copy(update={"datasets": chosen})
    result = run(TtbarAnalysis(AnalysisConfig.model_validate(config)), part)
    result.ledger.require_complete()
    return {name: output["observable"] for name, output in result.output.items()}


@pytest.mark.full
def test_the_sample_gives_the_same_histograms_in_both_formats(tmp_path: Path) -> None:
    assert main(["simulate", "--sample", "--format", "nanoaod", "--output", str(tmp_path)]) == 0
    made, poet = Catalogue.load(tmp_path / "ntuples.json"), Catalogue.load(SAMPLE)
    assert (made.format, made.events) == ("nanoaod", poet.events)
    datasets = ("ttbar__scaleup", sample.PSEUDODATA)
    found, expected = observables(made, *datasets), observables(poet, *datasets)
    assert found == expected
    assert all(histogram.sum(flow=True).value > 1000 for histogram in found.values())
    (tmp_path / "ntuples.json").unlink()  # which says that events were left out
    built = build(tmp_path, tmp_path / "built.json", {})
    for name, dataset in poet.datasets.items():
        assert built.datasets[name].sum_of_weights == dataset.sum_of_weights, name


@pytest.mark.full
@pytest.mark.usefixtures("generator")
def test_both_formats_are_simulated(tmp_path: Path) -> None:
    command = ["simulate", "--events", "40", "--seed", "3", "--block-events", "250", "--quiet"]
    for name in ("poet", "nanoaod"):
        assert main([*command, "--format", name, "--output", str(tmp_path / name)]) == 0
    poet, nano = (
        json.loads((tmp_path / n / "ntuples.json").read_text()) for n in ("poet", "nanoaod")
    )
    assert (nano.pop("format"), nano.pop("tree")) == ("nanoaod", "Events")
    assert (poet.pop("format"), poet.pop("tree")) == ("poet", "events")
    assert nano == poet
    found, expected = (
        observables(Catalogue.load(tmp_path / name / "ntuples.json"), TTBAR.name)
        for name in ("nanoaod", "poet")
    )
    assert found == expected
    assert found[TTBAR.name].sum(flow=True).value > 5
