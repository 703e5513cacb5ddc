from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from analysis.common.errors import CatalogueError
from analysis.datasets.catalogue import Catalogue
from analysis.datasets.inventory import build, check, doubts, read_table, unknowns
from analysis.execution.ledger import Ledger
from analysis.execution.runner import run
from analysis.processor import TtbarAnalysis
from analysis.skim import make_skim
from tests.conftest import N_EVENTS
from tests.ntuples import make_events, write

WHOLE = make_events(30, seed=2, whole=True)
GOOD = {name: WHOLE[name] for name in ("jet_pt", "met_pt")}
"""A few branches: of most files no more than the number of events is asked for."""


def test_datasets_are_named_by_folders_and_files(catalogue: Catalogue) -> None:
    assert list(catalogue.datasets) == [
        "data__SingleElectron", "data__SingleMuon", "single_top_tW__nominal__antitop",
        "single_top_tW__nominal__top", "ttbar__nominal", "ttbar__scaleup", "wjets__nominal",
    ]  # fmt: skip
    assert catalogue.datasets["ttbar__nominal"].events == 2 * N_EVENTS
    assert catalogue.datasets["ttbar__scaleup"].variation == "scaleup"
    assert catalogue.datasets["data__SingleMuon"].channel == "muon"
    assert catalogue.datasets["data__SingleElectron"].kind == "collision"
    assert catalogue.datasets["single_top_tW__nominal__top"].process == "single_top_tW"
    assert catalogue.datasets["wjets__nominal"].cross_section == pytest.approx(61526.7)
    assert catalogue.datasets["wjets__nominal"].k_factor == 1.2
    assert catalogue.luminosity == 100


@pytest.mark.parametrize(
    ("stream", "channel"),
    [
        ("SingleMuon_2015D", "muon"),
        ("singleelectron", "electron"),
        ("pseudo", None),
        ("MuonEG", None),
        ("DoubleMuon", None),
    ],
)
def test_streams_of_data_by_their_names(tmp_path: Path, stream: str, channel: str | None) -> None:
    write(tmp_path / f"data__{stream}.root", GOOD)
    (dataset,) = build(tmp_path, tmp_path / "c.json", {}).datasets.values()
    assert (dataset.process, dataset.variation, dataset.channel) == ("data", "nominal", channel)


def test_streams_without_channel_would_count_events_twice(tmp_path: Path) -> None:
    write(tmp_path / "data__SingleMuon.root", GOOD)
    write(tmp_path / "data__second.root", GOOD)
    with pytest.raises(CatalogueError, match="need a 'channel' each"):
        build(tmp_path, tmp_path / "c.json", {})


def test_numbered_files_are_one_dataset(tmp_path: Path) -> None:
    for name in ("wjets__nominal_0", "wjets__nominal_1", "ttbar__ME_var"):
        write(tmp_path / f"{name}.root", GOOD)
    found = build(tmp_path, tmp_path / "c.json", {}).datasets
    assert {name: (d.variation, d.events) for name, d in found.items()} == {
        "wjets__nominal": ("nominal", 60),
        "ttbar__ME_var": ("ME_var", 30),
    }


def test_the_catalogue_can_stand_elsewhere(tmp_path: Path) -> None:
    write(tmp_path / "data" / "ttbar__nominal" / "a.root", GOOD)
    output = tmp_path / "catalogues" / "c.json"
    output.parent.mkdir()
    build(tmp_path / "data", output, {}).write(output)
    assert check(Catalogue.load(output)) == (1, [])


def test_what_is_not_known_is_said(tmp_path: Path) -> None:
    write(tmp_path / "ttbar__nominal.root", GOOD)
    write(tmp_path / "wjets__nominal.root", GOOD)
    write(tmp_path / "data__SingleMuon.root", GOOD)
    catalogue = build(tmp_path, tmp_path / "c.json", {"wjets": {"cross_section": 3}})
    assert list(unknowns(catalogue)) == [
        "ttbar__nominal: cross section not known: it will count events",
        "wjets__nominal: sum of weights not known: taken from the events in the files",
    ]


def test_what_may_be_meant_otherwise_is_said(tmp_path: Path) -> None:
    for name in ("signal__m_500", "signal__m_1000", "qcd__nominal_0", "qcd__nominal_1"):
        write(tmp_path / f"{name}.root", GOOD)
    for name in ("ttbar__nominal__1", "ttbar__nominal__ext"):
        write(tmp_path / name / f"{name}_7.root", GOOD)
        write(tmp_path / name / f"{name}_9.root", GOOD)
    numbers = {f"ttbar__nominal__{part}": {"cross_section": 832} for part in ("1", "ext")}
    assert list(doubts(build(tmp_path, tmp_path / "c.json", numbers))) == [
        (
            "signal__m: signal__m_500.root, signal__m_1000.root, ... are taken for parts of one dataset: put "
            "each into a folder of its own if they are not"
        ),
        (
            "ttbar: ttbar__nominal__1, ttbar__nominal__ext have 832 pb each, which are added up: files of one "
            "sample and its extension are one dataset"
        ),
    ]


def test_numbers_from_a_table(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text(
        "name,cross_section,sum_of_weights\nttbar,831.76,1000\nwjets__nominal,61.5 nb,\n"
    )
    write(tmp_path / "ttbar__nominal.root", GOOD)
    write(tmp_path / "wjets__nominal.root", GOOD)
    found = build(tmp_path, tmp_path / "c.json", read_table(table)).datasets
    assert found["ttbar__nominal"].sum_of_weights == 1000
    assert found["wjets__nominal"].cross_section == pytest.approx(61500)
    assert found["wjets__nominal"].sum_of_weights is None


PLAIN = "name,cross_section,k_factor\nttbar,831.76,1.0\nwjets,61.5 nb,\n"


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + PLAIN.replace("\n", "\r\n"),
        PLAIN + "\n",
        PLAIN + ",,\n,,\n",
        PLAIN.replace(",", ", "),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace("\n", ",,\n"),
        PLAIN.replace("nb,", "nb"),
        PLAIN.replace("61.5 nb", '"61.5 nb"').replace(",", ", "),
    ],
)
def test_tables_as_spreadsheets_save_them(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_bytes(text.encode())
    assert read_table(tmp_path / "t.csv") == {
        "ttbar": {"cross_section": "831.76", "k_factor": "1.0"},
        "wjets": {"cross_section": "61.5 nb"},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,name\nttbar,ttbar\n", r"two columns 'name'"),
        ("name,cross_section\n,832\n", r"line 2: numbers without a name"),
        ("process,cross_section\n", r"no column 'name', there: process, cross_section"),
        ("name,cross_sction\n", r"unknown column 'cross_sction', did you mean 'cross_section'"),
        ("", r"no column 'name', there: nothing"),
        ("name,cross_section\nttbar,832,44\n", r"line 2: 3 cells under 2 columns"),
        ("name,cross_section\nttbar,832\nttbar,1\n", r"line 3: 'ttbar' is given twice"),
    ],
)
def test_tables_that_are_wrong(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(CatalogueError, match=message):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("name", "numbers", "message"),
    [
        ("ttbar__nominal", {"ttbr": {"cross_section": 1}}, r"'ttbr': did you mean 'ttbar'"),
        (
            "ttbar__nominal",
            {"ttbar": {"cross_section": -1}},
            r"ttbar__nominal.cross_section: a cross",
        ),
        (
            "data__x",
            {"data": {"cross_section": 1}},
            r"process of simulation 'data': there are none",
        ),
        ("ttbar__no minal", {}, r"ttbar__no minal: a name has letters, digits"),
        ("mystery", {}, r"mystery.root: neither folder nor file is named"),
    ],
)
def test_what_cannot_be_built(
    tmp_path: Path, name: str, numbers: dict[str, Any], message: str
) -> None:
    write(tmp_path / f"{name}.root", GOOD)
    with pytest.raises(CatalogueError, match=message):
        build(tmp_path, tmp_path / "c.json", numbers)


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (("wjets__nominal__a", "wjets__nominal__b"), {"wjets": {"cross_section": 100}}),
        (("ttbar__nominal", "ttbar__ME_var"), {"ttbar": {"sum_of_weights": 100}}),
    ],
)
def test_a_number_for_several_datasets_is_refused(
    tmp_path: Path, names: tuple[str, str], numbers: dict[str, Any]
) -> None:
    for name in names:
        write(tmp_path / f"{name}.root", GOOD)
    with pytest.raises(CatalogueError, match=r"has several datasets, give the numbers of each"):
        build(tmp_path, tmp_path / "c.json", numbers)


def test_bad_files_are_all_named_when_building(tmp_path: Path) -> None:
    write(tmp_path / "ttbar__nominal.root", GOOD, tree="Events")
    (tmp_path / "wjets__nominal.root").write_bytes(b"")
    with pytest.raises(CatalogueError) as caught:
        build(tmp_path, tmp_path / "c.json", {})
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert "no object 'events', there: Events" in lines[0]


def test_links_to_folders_are_followed_and_hidden_files_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    write(tmp_path / "disk" / "a.root", GOOD)
    write(folder / "wjets__nominal" / "a.root", GOOD)
    write(folder / ".snapshot" / "wjets__nominal" / "a.root", GOOD)
    write(folder / "wjets__nominal" / ".a.root", GOOD)
    (folder / "ttbar__nominal").symlink_to(tmp_path / "disk")
    (folder / "ttbar__nominal" / "loop").symlink_to(folder)
    made = build(folder, tmp_path / "c.json", {})
    assert {name: list(dataset.files) for name, dataset in made.datasets.items()} == {
        "ttbar__nominal": ["ttbar__nominal/a.root"],
        "wjets__nominal": ["wjets__nominal/a.root"],
    }


def test_one_file_under_two_names(tmp_path: Path) -> None:
    """No link makes events count twice: not in a new catalogue, not in one that is there."""
    folder = tmp_path / "mine"
    first = write(folder / "ttbar__nominal" / "a.root", GOOD)
    second = folder / "ttbar__nominal" / "b.root"
    write(second, GOOD)
    build(folder, tmp_path / "c.json", {}).write(tmp_path / "c.json")
    catalogue = Catalogue.load(tmp_path / "c.json")
    assert check(catalogue) == (2, [])
    second.unlink()
    for link in (second.symlink_to, second.hardlink_to):
        link(first)
        message = re.escape(f"{second}: the same file as {first}")
        with pytest.raises(CatalogueError, match=message):
            build(folder, tmp_path / "c.json", {})
        (finding,) = check(catalogue)[1]
        assert finding.problem == f"the same file as {first}"
        with pytest.raises(CatalogueError, match="its events would count twice"):
            run(TtbarAnalysis(), catalogue)
        second.unlink()
    shutil.copy(first, second)
    message = re.escape(f"{second}: the same file as {first}")
    with pytest.raises(CatalogueError, match=message):
        build(folder, tmp_path / "c.json", {})
    with pytest.raises(CatalogueError, match="its events would count twice"):
        run(TtbarAnalysis(), catalogue)


@pytest.mark.parametrize(
    "datasets", [("data__MuonC", "data__MuonD"), ("wjets__nominal__a", "wjets__nominal__b")]
)
def test_a_copy_in_another_dataset_of_the_sample(tmp_path: Path, datasets: Sequence[str]) -> None:
    first, second = (tmp_path / name / "a.root" for name in datasets)
    write(first, WHOLE)
    write(second, WHOLE | {"met_pt": WHOLE["met_pt"][::-1]})
    catalogue = build(tmp_path, tmp_path / "c.json", {})
    shutil.copy(first, second)
    with pytest.raises(CatalogueError, match=re.escape(f"{second}: the same file as {first}")):
        build(tmp_path, tmp_path / "c.json", {})
    with pytest.raises(CatalogueError, match="its events would count twice"):
        run(TtbarAnalysis(), catalogue.model_copy(update={"base": str(tmp_path)}))


def test_two_samples_of_the_same_events(tmp_path: Path) -> None:
    first = write(tmp_path / "ttbar__nominal" / "a.root", GOOD)
    shutil.copy(first, tmp_path / "wjets__nominal.root")
    assert len(build(tmp_path, tmp_path / "c.json", {}).files) == 2


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    """The folder may have one; what a catalogue lists may not."""
    folder = tmp_path / os.fsdecode(b"r\xe9sultats")
    file = write(folder / "ntuples" / "ttbar__nominal" / "a.root", WHOLE)
    build(folder / "ntuples", folder / "c.json", {}).write(folder / "c.json")
    result = run(TtbarAnalysis(), Catalogue.load(folder / "c.json"))
    result.ledger.write(folder)
    assert Ledger.load(folder).datasets == result.ledger.datasets
    file.rename(file.with_name(os.fsdecode(b"\xe9.root")))
    with pytest.raises(CatalogueError, match="a name that is not UTF-8 cannot be listed"):
        build(folder / "ntuples", folder / "c.json", {})


@pytest.mark.parametrize("name", ["scope::a.root", "scope:a.root"])
def test_colons_in_a_name(tmp_path: Path, name: str) -> None:
    write(tmp_path / "ntuples" / "ttbar__nominal" / "a.root", WHOLE)
    file = tmp_path / "ntuples" / "ttbar__nominal" / name
    (file.parent / "a.root").rename(file)
    if "::" in name:
        with pytest.raises(CatalogueError, match="a name with '::' cannot be read"):
            build(tmp_path / "ntuples", tmp_path / "c.json", {})
        return
    build(tmp_path / "ntuples", tmp_path / "c.json", {}).write(tmp_path / "c.json")
    catalogue = Catalogue.load(tmp_path / "c.json")
    assert check(catalogue) == (1, [])
    assert run(TtbarAnalysis(), catalogue).ledger.complete


def test_a_catalogue_in_a_folder_that_is_a_link(tmp_path: Path) -> None:
    """Built and read by the link, in it, and by the folder's own name."""
    ntuples, work = tmp_path / "home" / "ntuples", tmp_path / "scratch" / "users" / "work"
    write(ntuples / "ttbar__nominal" / "a.root", GOOD)
    work.mkdir(parents=True)
    link = tmp_path / "home" / "work"
    link.symlink_to(work)
    for output in (link / "c.json", work / "c.json"):
        build(ntuples, output, {}).write(output)
        for place in (link, work):
            assert check(Catalogue.load(place / "c.json")) == (1, [])


def test_no_catalogue_is_built_of_a_skim(tmp_path: Path) -> None:
    """All its events would be taken for all that were generated."""
    write(tmp_path / "in" / "ttbar__nominal" / "a.root", WHOLE)
    catalogue = build(tmp_path / "in", tmp_path / "c.json", {})
    catalogue.write(tmp_path / "c.json")
    make_skim(Catalogue.load(tmp_path / "c.json"), tmp_path / "all" / "skim")
    for folder in ("all", "all/skim"):
        with pytest.raises(CatalogueError, match="is a skim and lacks events: use its own"):
            build(tmp_path / folder, tmp_path / "mine.json", {})
    preselected = catalogue.model_copy(update={"base": ".", "preselection": {"jet.min_pt": 20.0}})
    preselected.write(tmp_path / "in" / "ntuples.json")
    with pytest.raises(CatalogueError, match="is pre-selected and lacks events"):
        build(tmp_path / "in", tmp_path / "mine.json", {})


@pytest.mark.parametrize("folder", ["nothing", "."])
def test_folders_without_ntuples(tmp_path: Path, folder: str) -> None:
    with pytest.raises(CatalogueError, match=r"is no folder|no file \*.root"):
        build(tmp_path / folder, tmp_path / "c.json", {})


def test_check_finds_what_is_not_as_written(
    tmp_path: Path, catalogue: Catalogue, ntuples: Path
) -> None:
    assert check(catalogue) == (8, [])
    copy = tmp_path / "copy"
    shutil.copytree(ntuples, copy)
    (copy / "wjets__nominal.root").unlink()
    write(copy / "ttbar__nominal" / "b.root", GOOD)
    n_files, findings = check(Catalogue.load(copy / "ntuples.json"))
    assert n_files == 8
    assert {Path(finding.file.url).name: finding.problem for finding in findings} == {
        "wjets__nominal.root": "no such file",
        "b.root": "30 events in the file, 2500 in the catalogue",
    }
    assert check(Catalogue.load(copy / "ntuples.json"), max_files=1)[0] == 7
