from __future__ import annotations

import codecs
import csv
import json
from pathlib import Path
from typing import Any

import pytest

from analysis.common.errors import CatalogueError
from analysis.datasets.catalogue import Catalogue
from analysis.datasets.sample import SampleInfo
from analysis.processor import TtbarAnalysis
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
        "process", "variation", "is_simulation", "channel", "generator_weights", "event_numbers",
    }  # fmt: skip


def test_selection() -> None:
    catalogue = Catalogue.load(PROJECT / "ntuples.json")
    assert list(catalogue.select(["wjets__nominal"]).datasets) == ["wjets__nominal"]
    assert len(catalogue.select(processes=["ttbar"]).datasets) == 5
    assert len(catalogue.select(processes="ttbar").datasets) == 5
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
        ("{", r"cat.json: not JSON: .*line 1"),
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
        (dataset(kind="collision", process="data", k_factor=1.2), r"k_factor: collision data have"),
        (
            dataset(kind="collision", process="data", filter_efficiency=0.5),
            r"filter_efficiency: collision data have none",
        ),
        (
            dataset(kind="collision", process="data", sum_of_weights=5),
            r"sum_of_weights: collision data have none",
        ),
        (
            dataset(kind="collision", process="data", variation="scaleup"),
            r"variation: collision data are 'nominal', got 'scaleup'",
        ),
        (dataset(cross_section=0), r"a cross section must be a number above zero, got 0"),
        (MINIMAL | {"luminosity": "0 /pb"}, r"a luminosity must be a number above zero"),
        (dataset(sum_of_weights=4), r"sum_of_weights: 4 generated events, but the files have 5"),
        (dataset(sum_of_weights=6.5), r"sum_of_weights: 6.5 is no number of events"),
        (
            dataset(cross_section=3, files={"a.root": 0}),
            r"ttbar__nominal.files: no events, and no sum_of_weights",
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


@pytest.mark.parametrize("name", ["Z/g*", "", "my process", "-x", "ü", "a" * 101, "Total", "a\n"])
@pytest.mark.parametrize("place", ["process", "variation", "dataset"])
def test_names_that_cannot_be_those_of_histograms(tmp_path: Path, place: str, name: str) -> None:
    record = MINIMAL["datasets"]["ttbar__nominal"]
    values = {
        "process": dataset(process=name) | {"processes": {name: "label"}},
        "variation": dataset(variation=name),
        "dataset": {"datasets": {name: record}},
    }[place]
    with pytest.raises(CatalogueError, match=r"a name (has letters|is none of)"):
        Catalogue.load(written(tmp_path, values))


def test_nominal_in_capitals(tmp_path: Path) -> None:
    """A sample of that name would be an alternative one, and its process without a nominal yield."""
    with pytest.raises(CatalogueError, match=r"variation: 'Nominal': did you mean 'nominal'\?"):
        Catalogue.load(written(tmp_path, dataset(variation="Nominal")))
    with pytest.raises(CatalogueError, match=r"variation 'NOMINAL': did you mean 'nominal'\?"):
        SampleInfo.from_metadata({"process": "ttbar", "variation": "NOMINAL"})


def test_data_in_capitals(tmp_path: Path) -> None:
    values = dataset(process="Data") | {"processes": {"Data": "data"}}
    with pytest.raises(CatalogueError, match=r"processes.Data: did you mean 'data'\?"):
        Catalogue.load(written(tmp_path, values))


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([("ttbar", "nominal"), ("ttbar_pt", "scale_up")], "ttbar_pt_scale_up'"),
        ([("ttbar", "nominal"), ("ttbar_pt_res_down", "nominal")], "ttbar_pt_res_down'"),
        ([("wjets", "scale_var_up")], "'scale_var_up' is a variation that the nominal datasets"),
        ([("ttbar", "nominal"), ("ttbar", "scaleup"), ("ttbar_pt", "nominal")], None),
        ([("ttbar", "btag_var_0_up")], "'btag_var_0_up' is a variation"),
        ([("ttbar", "scale_var_up")], None),
    ],
)
def test_two_things_never_fill_one_template(
    tmp_path: Path, samples: list[tuple[str, str]], message: str | None
) -> None:
    """With the variations that the analysis makes itself; `scale_var` is of W+jets alone."""
    values: dict[str, Any] = {
        "processes": {process: process for process, _ in samples},
        "datasets": {},
    }
    for i, (process, variation) in enumerate(samples):
        record = dataset(process=process, variation=variation, files={f"{i}.root": 5})
        values["datasets"][f"d{i}"] = record["datasets"]["ttbar__nominal"]
    catalogue = Catalogue.load(written(tmp_path, values))
    if message is None:
        TtbarAnalysis().require_events(catalogue)
        return
    with pytest.raises(CatalogueError, match=message):
        TtbarAnalysis().require_events(catalogue)


def test_two_samples_of_a_catalogue_with_one_template(tmp_path: Path) -> None:
    record = MINIMAL["datasets"]["ttbar__nominal"]
    values = {
        "processes": {"ttbar_x": "x"},
        "datasets": {
            "a": record | {"variation": "x_up"},
            "b": record | {"process": "ttbar_x", "variation": "up", "files": {"b.root": 5}},
        },
    }
    message = "the templates of ttbar x_up and ttbar_x up would both be called 'ttbar_x_up'"
    with pytest.raises(CatalogueError, match=message):
        Catalogue.load(written(tmp_path, values))


def test_a_sum_of_generator_weights_is_no_number_of_events(tmp_path: Path) -> None:
    values = dataset(sum_of_weights=2.5, sum_of_weights_is="weights", cross_section=3)
    catalogue = Catalogue.load(written(tmp_path, values))
    with pytest.raises(CatalogueError, match=r"ttbar__nominal.sum_of_weights_is: 'weights', but"):
        TtbarAnalysis().require_events(catalogue)


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [(codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (b"", "utf-8")],
)
def test_byte_order_marks(tmp_path: Path, mark: bytes, encoding: str) -> None:
    path = tmp_path / "cat.json"
    text = json.dumps(MINIMAL | {"label": "σ"}, ensure_ascii=False, indent=1)
    path.write_bytes(mark + text.replace("\n", "\r\n").encode(encoding))
    assert Catalogue.load(path).label == "σ"


@pytest.mark.parametrize(
    ("base", "path", "file", "address"),
    [
        ("root://HOST//", "pnfs", "a.root", "root://HOST//pnfs/a.root"),
        ("root://HOST//pnfs/", "", "a.root", "root://HOST//pnfs/a.root"),
        ("root://HOST//pnfs", "/x/", "a.root", "root://HOST//pnfs/x/a.root"),
        ("root://HOST:1094", "x", "a.root", "root://HOST:1094/x/a.root"),
        ("https://HOST/p", "x", "a.root", "https://HOST/p/x/a.root"),
        ("sub", "x", "root://HOST//pnfs/a.root", "root://HOST//pnfs/a.root"),
        ("sub", "root://HOST//pnfs", "a.root", "root://HOST//pnfs/a.root"),
        ("root://HOST//pnfs", "x", "https://HOST/a.root", "https://HOST/a.root"),
        ("sub", "x", "/data/a.root", "/data/a.root"),
        ("sub", "/data", "a.root", "/data/a.root"),
        ("file:///data", "x", "a.root", "/data/x/a.root"),
        ("sub", "x", "file:///data/a%20b.root", "/data/a b.root"),
        ("sub", "x", "file://localhost/data/a.root", "/data/a.root"),
        (".", "./x//", "./a.root", "{here}/x/a.root"),
        ("sub/..", "", "a.root", "{here}/a.root"),
        ("~/ntuples", "", "a.root", "/home/me/ntuples/a.root"),
        (".", "", "user.me:a.root", "{here}/user.me:a.root"),
    ],
)
def test_addresses(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    base: str,
    path: str,
    file: str,
    address: str,
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    values = dataset(path=path, files={file: 5}) | {"base": base}
    (found,) = Catalogue.load(written(tmp_path, values)).files
    assert found.url == address.format(here=tmp_path)


def test_an_address_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r"scope::a.root: a name with '::' cannot be read"):
        Catalogue.load(written(tmp_path, dataset(files={"scope::a.root": 5})))


def test_a_folder_reached_by_a_link(tmp_path: Path) -> None:
    """`..` goes up from where the link leads to."""
    work = tmp_path / "scratch" / "users" / "work"
    work.mkdir(parents=True)
    (tmp_path / "work").symlink_to(work)
    written(work, MINIMAL | {"base": "../ntuples"})
    addresses = {Catalogue.load(p / "cat.json").files[0].url for p in (work, tmp_path / "work")}
    assert addresses == {f"{tmp_path}/scratch/users/ntuples/a.root"}


@pytest.mark.parametrize("other", ["data__b", "ttbar__nominal"])
def test_a_copy_by_its_checksum(tmp_path: Path, other: str) -> None:
    """In one sample a copy counts twice; two samples may be made of the same events."""
    checksum = {"size": 1000, "adler32": "00000001"}
    values: dict[str, Any] = {"datasets": {}}
    for name in ("ttbar__nominal", other):
        record = MINIMAL["datasets"]["ttbar__nominal"] | {"files": {f"{name}.root": 5}}
        if name.startswith("data"):
            record |= {"process": "data", "kind": "collision"}
        record["checksums"] = {f"{name}.root": checksum}
        values["datasets"].setdefault(name, record)
    values["datasets"]["ttbar__nominal"]["files"]["b.root"] = 5
    values["datasets"]["ttbar__nominal"]["checksums"]["b.root"] = checksum
    message = r"b.root: size and Adler-32 of .*ttbar__nominal.root: a copy"
    with pytest.raises(CatalogueError, match=message) as caught:
        Catalogue.load(written(tmp_path, values))
    assert len(str(caught.value).splitlines()) == 1


def test_what_a_selection_leaves_out_is_known() -> None:
    catalogue = Catalogue.load(PROJECT / "ntuples.json")
    left = catalogue.select(processes=["data"]).select(["data__SingleMuon"]).left_out
    assert len(left) == 11
    assert left["data__SingleElectron"].channel == "electron"
    assert left["data__SingleElectron"].events == 14_393_070


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
