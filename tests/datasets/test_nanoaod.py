"""Catalogues of NanoAOD: recognised, with their sums of weights; and the Grand Challenge's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.cli import main
from analysis.common.errors import CatalogueError
from analysis.datasets.catalogue import Catalogue
from analysis.datasets.inventory import build, unknowns
from analysis.datasets.nanoaod import SERVERS, grand_challenge
from tests.ntuples import as_nanoaod, make_events, write_nanoaod, write_random

INPUTS = {
    "ttbar": {
        "nominal": {
            "nevts_total": 30,
            "files": [
                {"path": f"{SERVERS['unl']}/TT/a.root", "nevts": 10},
                {"path": f"{SERVERS['unl']}/TT/b.root", "nevts": 20},
            ],
        }
    },
    "single_top_s_chan": {
        "nominal": {"nevts_total": 5, "files": [{"path": f"{SERVERS['unl']}/s/c.root", "nevts": 5}]}
    },
}


def nano(seed: int = 1) -> dict[str, Any]:
    return as_nanoaod(make_events(50, seed=seed), seed=seed)


def test_a_folder_of_nanoaod_is_recognised(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    total = 0.0
    for number in (1, 2):
        events = nano(number)
        write_nanoaod(tmp_path / "ttbar__nominal" / f"{number}.root", events, runs=True)
        total += float(np.sum(events["genWeight"]))
    write_nanoaod(tmp_path / "wjets__nominal.root", nano(3))
    write_nanoaod(tmp_path / "data__SingleMuon.root", {
        name: values for name, values in nano(4).items() if name != "genWeight"
    })  # fmt: skip
    output = tmp_path / "catalogue.json"
    with caplog.at_level("INFO"):
        assert main(["catalogue", "build", str(tmp_path), "--output", str(output)]) == 0
    assert "the files are NanoAOD" in caplog.text
    assert f"ttbar__nominal: sum of generator weights {total:g}" in caplog.text
    catalogue = Catalogue.load(output)
    assert (catalogue.format, catalogue.tree) == ("nanoaod", "Events")
    ttbar, wjets, data = (
        catalogue.datasets[name]
        for name in ("ttbar__nominal", "wjets__nominal", "data__SingleMuon")
    )
    assert (ttbar.sum_of_weights, ttbar.sum_of_weights_is) == (total, "weights")
    assert ttbar.generator_weights
    assert wjets.generator_weights
    assert wjets.sum_of_weights is None
    assert not data.generator_weights
    assert catalogue.events == 200


def test_poet_ntuples_stay_poet_ntuples(tmp_path: Path) -> None:
    write_random(tmp_path / "ttbar__nominal.root", 10, seed=1)
    catalogue = build(tmp_path, tmp_path / "c.json", {})
    assert (catalogue.format, catalogue.tree) == ("poet", "events")


def test_two_versions_in_one_dataset_are_refused(tmp_path: Path) -> None:
    write_nanoaod(tmp_path / "ttbar__nominal" / "a.root", nano())
    other = nano(2)
    other["Jet_btagDeepFlavB"] = other.pop("Jet_btagCSVV2")
    write_nanoaod(tmp_path / "ttbar__nominal" / "b.root", other)
    with pytest.raises(CatalogueError, match=r"b.root: another version of NanoAOD than .*a.root: "):
        build(tmp_path, tmp_path / "c.json", {})


def test_two_versions_of_data_are_refused(tmp_path: Path) -> None:
    events = {name: values for name, values in nano().items() if name != "genWeight"}
    write_nanoaod(tmp_path / "data__SingleMuon" / "a.root", events)
    other = {name: values for name, values in events.items() if name != "luminosityBlock"}
    write_nanoaod(tmp_path / "data__SingleMuon" / "b.root", other)
    with pytest.raises(CatalogueError, match=r"a.root alone has luminosityBlock"):
        build(tmp_path, tmp_path / "c.json", {})


def test_a_tree_that_is_no_nanoaod_is_refused(tmp_path: Path) -> None:
    write_random(tmp_path / "ttbar__nominal.root", 10, seed=1, tree="Events")
    with pytest.raises(CatalogueError) as said:
        build(tmp_path, tmp_path / "c.json", {}, files_format="nanoaod")
    assert str(said.value) == (
        f"{tmp_path}/ttbar__nominal.root: the tree 'Events' is no NanoAOD: none of Electron_pt, Muon_pt, "
        "Jet_pt"
    )


def test_a_sum_of_weights_of_zero_is_refused(tmp_path: Path) -> None:
    events = nano()
    events["genWeight"] = np.resize([1, -1], 50).astype(np.float32)
    write_nanoaod(tmp_path / "ttbar__nominal.root", events, runs=True)
    with pytest.raises(CatalogueError, match=r"ttbar__nominal.sum_of_weights: .* greater than 0"):
        build(tmp_path, tmp_path / "c.json", {})


def test_the_inputs_of_the_grand_challenge(tmp_path: Path) -> None:
    inputs, output = tmp_path / "inputs.json", tmp_path / "catalogue.json"
    inputs.write_text(json.dumps(INPUTS))
    command = ["catalogue", "import", str(inputs), "--output", str(output)]
    assert main([*command, "--server", "eos"]) == 0
    catalogue = Catalogue.load(output)
    assert [file.url for file in catalogue.files][:1] == [f"{SERVERS['eos']}/TT/a.root"]
    ttbar = catalogue.datasets["ttbar__nominal"]
    assert (ttbar.sum_of_weights, ttbar.cross_section) == (30, pytest.approx(729.84))
    assert catalogue.luminosity == 3378
    assert not list(unknowns(catalogue))
    assert main([*command, "--server", str(tmp_path), "--files-per-process", "1"]) == 0
    catalogue = Catalogue.load(output)
    assert catalogue.datasets["ttbar__nominal"].sum_of_weights == 10
    assert catalogue.files[0].url == f"{tmp_path}/TT/a.root"


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("no JSON", "Expecting value"),
        ('{"ttbar": {"nominal": {}}}', r"expected \{process"),
        ('{"top": {"nominal": {"files": []}}}', "no cross section is known of 'top'"),
    ],
)
def test_another_list_is_refused(tmp_path: Path, inputs: str, message: str) -> None:
    (tmp_path / "inputs.json").write_text(inputs)
    with pytest.raises(CatalogueError, match=message):
        grand_challenge(tmp_path / "inputs.json")


@pytest.mark.shared
def test_all_files_of_the_grand_challenge(shared: Path) -> None:
    catalogue = grand_challenge(shared / "agc" / "nanoaod_inputs.json")
    assert (len(catalogue.files), catalogue.events) == (787, 940_160_174)
