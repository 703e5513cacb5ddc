from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from analysis.common.errors import CatalogueError
from analysis.datasets.catalogue import Catalogue
from tests.conftest import PROJECT

MINIMAL: dict[str, Any] = {
    "datasets": {"ttbar__nominal": {"process": "ttbar", "kind": "signal", "files": {"a.root": 5}}}
}


def written(tmp_path: Path, values: Any) -> Path:
    path = tmp_path / "cat.json"
    path.write_text(values if isinstance(values, str) else json.dumps(values))
    return path


def dataset(**fields: Any) -> dict[str, Any]:
    record = MINIMAL["datasets"]["ttbar__nominal"] | fields
    return {"datasets": {"ttbar__nominal": record}}


def test_the_real_data() -> None:
    catalogue = Catalogue.load(PROJECT / "ntuples.json")
    assert len(catalogue.datasets) == 12
    assert len(catalogue.files) == 386
    assert catalogue.events == 131_540_113
    assert catalogue.luminosity == 2256.38
    assert catalogue.figure_label == "CMS Open Data"
    streams = {d.channel: name for name, d in catalogue.datasets.items() if not d.is_simulation}
    assert streams == {"muon": "data__SingleMuon", "electron": "data__SingleElectron"}
    top_w = [d for d in catalogue.datasets.values() if d.process == "single_top_tW"]
    assert [(d.cross_section, d.sum_of_weights) for d in top_w] == [(35.6, 1e6), (35.6, 999400)]


@pytest.mark.shared
def test_the_real_data_are_those_of_the_published_tables(shared: Path) -> None:
    catalogue = Catalogue.load(PROJECT / "ntuples.json")
    with (shared / "facts" / "poet_flat_files.csv").open() as file:
        rows = list(csv.DictReader(file))
    base = "root://eospublic.cern.ch//eos/opendata/cms/derived-data/POET/23-Jul-22"
    want = {(f"{base}/{row['directory']}/{row['file']}", int(row["events"])) for row in rows}
    assert {(file.url, file.events) for file in catalogue.files} == want
    with (shared / "facts" / "datasets.csv").open() as file:
        published = list(csv.DictReader(file))
    for row in published:
        (found,) = (d for d in catalogue.datasets.values() if d.cms_name == row["name"])
        assert (found.process, found.variation, found.kind) == (
            row["process"], row["variation"], row["type"],
        )  # fmt: skip
        assert found.record == int(row["cernopendata_record"])
        assert found.path == row["directory"]
        if row["cross_section_pb"]:
            assert found.cross_section == float(row["cross_section_pb"])
            assert found.sum_of_weights == int(row["generated_events"])


def test_paths_are_relative_to_the_catalogue(tmp_path: Path) -> None:
    values = dataset(path="sub", files={"a.root": 5}) | {"base": "data"}
    assert Catalogue.load(written(tmp_path, values)).files[0].url == f"{tmp_path}/data/sub/a.root"


def test_written_and_read_it_is_the_same(tmp_path: Path) -> None:
    catalogue = Catalogue.load(PROJECT / "ntuples.json")
    copy = tmp_path / "copy.json"
    catalogue.write(copy)
    assert Catalogue.load(copy) == catalogue


def test_units_and_defaults(tmp_path: Path) -> None:
    values = dataset(cross_section="44.837 fb") | {"luminosity": "140.1 /fb"}
    catalogue = Catalogue.load(written(tmp_path, values))
    record = catalogue.datasets["ttbar__nominal"]
    assert record.cross_section == pytest.approx(0.044837)
    assert catalogue.luminosity == pytest.approx(140100)
    assert (record.k_factor, record.filter_efficiency, record.variation) == (1, 1, "nominal")
    assert catalogue.figure_label == "Private work"


def test_a_fileset_for_a_plain_runner(tmp_path: Path) -> None:
    fileset = Catalogue.load(written(tmp_path, MINIMAL)).fileset()
    assert fileset["ttbar__nominal"]["files"] == {f"{tmp_path}/a.root": "events"}
    assert set(fileset["ttbar__nominal"]["metadata"]) == {
        "process", "variation", "is_simulation", "channel",
    }  # fmt: skip


def test_selection() -> None:
    catalogue = Catalogue.load(PROJECT / "ntuples.json")
    assert list(catalogue.select(["wjets__nominal"]).datasets) == ["wjets__nominal"]
    assert len(catalogue.select(processes=["ttbar"]).datasets) == 5
    assert len(catalogue.select().datasets) == 12


@pytest.mark.parametrize(
    ("datasets", "processes", "message"),
    [
        (
            ["ttbar__nominl"],
            None,
            r"unknown dataset 'ttbar__nominl': did you mean 'ttbar__nominal'",
        ),
        (None, ["wjet"], r"unknown process 'wjet': did you mean 'wjets'"),
        (["wjets__nominal"], ["ttbar"], r"none in common"),
    ],
)
def test_names_that_are_not_there(datasets: Any, processes: Any, message: str) -> None:
    with pytest.raises(CatalogueError, match=message):
        Catalogue.load(PROJECT / "ntuples.json").select(datasets, processes)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("{", r"cat.json: line 1: not JSON"),
        ([], r"cat.json: input: input should be .*Catalogue"),
        ({}, r"datasets: missing"),
        ({"datasets": {}}, r"datasets: .*at least 1 item"),
        (MINIMAL | {"luminosty": 3}, r"luminosty: unknown key, did you mean 'luminosity'"),
        (MINIMAL | {"luminosity": "3 fb"}, r"luminosity: expected a luminosity such as"),
        (
            MINIMAL | {"preselection": {"jet.mn_pt": 20}},
            r"preselection.jet.mn_pt: no cut to limit, did you mean 'jet.min_pt'",
        ),
        (dataset(files={}), r"ttbar__nominal.files: .*at least 1 item"),
        (dataset(files={"a.root": -1}), r"files.a.root: .*greater than or equal to 0, got -1"),
        (dataset(files={"a.root": "many"}), r"files.a.root: .*valid integer.*got 'many'"),
        (dataset(cross_section=-1), r"cross_section: a cross section must be .*got -1"),
        (dataset(cross_section="3 GeV"), r"cross_section: expected a cross section such as"),
        (dataset(sum_of_weights=0), r"sum_of_weights: .*greater than 0, got 0"),
        (dataset(filter_efficiency=1.5), r"filter_efficiency: .*less than or equal to 1"),
        (dataset(xsec=3), r"ttbar__nominal.xsec: unknown key"),
        (dataset(kind="sgnal"), r"kind: input should be 'collision', 'signal' or 'background'"),
        (dataset(process="ttbr"), r"process: unknown process 'ttbr', did you mean 'ttbar'"),
        (dataset(process="data"), r"process 'data' and kind 'collision' go together"),
        (dataset(channel="muon"), r"channel: only collision data have one"),
        (
            dataset(kind="collision", process="data", cross_section=3),
            r"cross_section: collision data have none",
        ),
    ],
)
def test_faults_are_named_with_their_place(tmp_path: Path, values: Any, message: str) -> None:
    with pytest.raises(CatalogueError, match=message):
        Catalogue.load(written(tmp_path, values))


def test_what_is_given_twice(tmp_path: Path) -> None:
    record = json.dumps(MINIMAL["datasets"]["ttbar__nominal"])
    text = f'{{"datasets": {{"a__nominal": {record}, "a__nominal": {record}}}}}'
    with pytest.raises(CatalogueError, match=r"a__nominal: given twice"):
        Catalogue.load(written(tmp_path, text))
    two = MINIMAL["datasets"]["ttbar__nominal"]
    values = {"datasets": {"ttbar__nominal": two, "ttbar__scaleup": two}}
    with pytest.raises(CatalogueError, match=r"a.root: listed 2 times"):
        Catalogue.load(written(tmp_path, values))


@pytest.mark.parametrize("other", ["./a.root", "sub/../a.root", ".//a.root"])
def test_one_file_under_two_names(tmp_path: Path, other: str) -> None:
    with pytest.raises(CatalogueError, match=r"a.root: listed 2 times"):
        Catalogue.load(written(tmp_path, dataset(files={"a.root": 1, other: 1})))


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    values = dataset(kind="x", cross_section=-1, files={"a.root": -1}) | {"luminosity": "x"}
    with pytest.raises(CatalogueError) as caught:
        Catalogue.load(written(tmp_path, values))
    assert len(str(caught.value).splitlines()) == 4


def test_a_new_process_is_declared(tmp_path: Path) -> None:
    values = dataset(process="zprime") | {"processes": {"zprime": "Z' (1 TeV)"}}
    assert Catalogue.load(written(tmp_path, values)).labels["zprime"] == "Z' (1 TeV)"


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r"no.json: No such file"):
        Catalogue.load(tmp_path / "no.json")
