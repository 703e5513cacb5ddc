"""Certified sections, their luminosity and events that are read twice, of collision data as NanoAOD."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.cli import main
from analysis.common.errors import ConfigError, NormalisationError
from analysis.config import AnalysisConfig, load_config
from analysis.datasets.catalogue import Catalogue
from analysis.datasets.inventory import build
from analysis.execution.runner import run
from analysis.execution.settings import Execution
from analysis.histograms import flatten
from analysis.postprocess.normalisation import Scaling, normalised
from analysis.processor import TtbarAnalysis
from analysis.stages import process
from tests.ntuples import as_nanoaod, make_events, write_nanoaod

SETTINGS: dict[str, Any] = {"variations": {"jet_energy": False}, "control": {"enabled": False}}
STREAMS = ("data__SingleMuon", "data__SingleElectron")
EVENTS = 200
GOLDEN = {"256630": [[5, 6], [8, 8]], "256700": [[1, 200]]}
HEADER = "#Data tag : v1\n#run:fill,ls,time,beamstatus,E(GeV),delivered(/ub),recorded(/{}),avgpu,source\n"


def collisions(seed: int, first: int = 1, run: int = 256630) -> dict[str, Any]:
    """Data of 10 sections of a run, 20 events each in a row."""
    events = as_nanoaod(make_events(EVENTS, seed=seed))
    del events["genWeight"]
    events["run"] = np.full(EVENTS, run, np.uint32)
    events["luminosityBlock"] = np.repeat(np.arange(1, 11), EVENTS // 10).astype(np.uint32)
    events["event"] = np.arange(first, first + EVENTS, dtype=np.uint64)
    return events


def table(unit: str = "ub", sections: int = 10) -> str:
    rows = [
        f"256630:4400,{s}:{s},09/13/15,STABLE BEAMS,6500,9,{s},10,HFOC"
        for s in range(1, sections + 1)
    ]
    return HEADER.format(unit) + "\n".join(rows) + "\n#Summary:\n"


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """Two files of each stream."""
    folder = tmp_path_factory.mktemp("collisions")
    for number, (stream, name) in enumerate([(s, n) for s in STREAMS for n in "ab"]):
        write_nanoaod(folder / stream / f"{name}.root", collisions(number, 1 + EVENTS * number))
    return build(folder, folder / "c.json", {}, luminosity="100 /pb").model_copy(
        update={"base": str(folder)}
    )


def analysis(folder: Path, **files: str) -> TtbarAnalysis:
    """An analysis by a TOML file in a folder, with the texts of its files beside it."""
    lines = [f'{key} = "{key}.txt"' for key in files]
    for key, text in files.items():
        (folder / f"{key}.txt").write_text(text)
    (folder / "c.toml").write_text("\n".join(["[data]", *lines]))
    return TtbarAnalysis(load_config(folder / "c.toml", AnalysisConfig.model_validate(SETTINGS)))


def test_events_have_numbers_where_files_do(catalogue: Catalogue, tmp_path: Path) -> None:
    assert all(dataset.event_numbers for dataset in catalogue.datasets.values())
    events = collisions(1)
    del events["event"]
    write_nanoaod(tmp_path / "data__SingleMuon.root", events)
    bare = build(tmp_path, tmp_path / "c.json", {})
    assert not bare.datasets["data__SingleMuon"].event_numbers


def test_events_that_are_there_twice_are_named_with_their_files(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    """But for an event that is in both streams, which is selected in one of them."""
    plain = TtbarAnalysis(AnalysisConfig.model_validate(SETTINGS))
    result = run(plain, catalogue, execution=Execution(chunk_size=70))
    assert result.ledger.analysis["data"]["faults"] == []
    for stream, name, seed in (
        ("SingleMuon", "a", 1),
        ("SingleMuon", "b", 2),
        ("SingleElectron", "a", 1),
    ):
        write_nanoaod(
            tmp_path / f"data__{stream}" / f"{name}.root", collisions(seed, 1 + 1000 * seed)
        )
    streams = build(tmp_path, tmp_path / "c.json", {}).model_copy(update={"base": str(tmp_path)})
    assert run(plain, streams).ledger.analysis["data"]["faults"] == []
    again = collisions(1, 1001)
    again["Jet_pt"] = again["Jet_pt"] * np.float32(1.01)  # no copy by its bytes
    write_nanoaod(tmp_path / "data__SingleMuon" / "c.root", again)
    twice = build(tmp_path, tmp_path / "c.json", {}).model_copy(update={"base": str(tmp_path)})
    result = run(plain, twice)
    (fault,) = result.ledger.analysis["data"]["faults"]
    n, words = fault.split(" ", 1)
    assert 0 < int(n) < EVENTS
    assert words.startswith(
        f"selected events are there twice, in {tmp_path}/data__SingleMuon/a.root and"
    )
    assert "c.root: the first is run 256630, section " in words
    with pytest.raises(NormalisationError, match="selected events are there twice"):
        normalised(flatten(result.output), result.ledger, Scaling())


def test_data_without_trigger_bits_are_failures_in_the_ledger(tmp_path: Path) -> None:
    events = {name: v for name, v in collisions(1).items() if not name.startswith("HLT_")}
    write_nanoaod(tmp_path / "data__SingleMuon.root", events)
    bare = build(tmp_path, tmp_path / "c.json", {}).model_copy(update={"base": str(tmp_path)})
    (failure,) = run(TtbarAnalysis(AnalysisConfig.model_validate(SETTINGS)), bare).ledger.failures
    assert failure.events == EVENTS
    assert failure.reason.startswith("branch 'HLT_Ele22_eta2p1_WPLoose_Gsf' is not in the file")


@pytest.mark.full
@pytest.mark.parametrize(
    "execution",
    [Execution(), Execution(chunk_size=33), Execution("futures", 2), Execution("dask", 2)],
)
def test_events_of_other_sections_are_dropped(
    catalogue: Catalogue, tmp_path: Path, execution: Execution
) -> None:
    selecting = analysis(tmp_path, golden_json=json.dumps(GOLDEN))
    found = run(selecting, catalogue, execution=execution)
    for number, name in enumerate([(s, n) for s in STREAMS for n in "ab"]):
        events = collisions(number, 1 + EVENTS * number)
        rows = np.flatnonzero(np.isin(events["luminosityBlock"], [5, 6, 8]))
        path = tmp_path / "part" / name[0] / f"{name[1]}.root"
        write_nanoaod(path, {key: values[rows] for key, values in events.items()})
    part = build(tmp_path / "part", tmp_path / "c.json", {}).model_copy(
        update={"base": str(tmp_path / "part")}
    )
    expected = run(TtbarAnalysis(AnalysisConfig.model_validate(SETTINGS)), part).output
    for stream in STREAMS:
        for name in ("observable", "multijet"):
            one, other = found.output[stream][name], expected[stream][name]
            one, other = (x["plane"] if name == "multijet" else x for x in (one, other))
            assert one.sum(flow=True).value > 0 or (stream, name) == (STREAMS[1], "multijet")
            assert one == other
        cutflow = expected[stream]["cutflow"]
        assert found.output[stream]["cutflow"] == cutflow
    data = found.ledger.analysis["data"]
    assert data["certified_events"] == dict.fromkeys(STREAMS, 120)
    assert data["sections"] == {stream: {"256630": [[5, 6], [8, 8]]} for stream in STREAMS}
    assert data["faults"] == []


@pytest.mark.full
def test_the_luminosity_is_that_of_the_certified_sections_that_were_read(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    golden = json.dumps(GOLDEN)
    for unit, factor in (("ub", 1e-6), ("pb", 1.0), ("nb", 1e-3)):
        measured = analysis(tmp_path, golden_json=golden, luminosity_csv=table(unit))
        result = process(measured, catalogue, tmp_path / "run", resume=unit == "pb")
        # Of another content, chunks of before are not taken.
        assert result.ledger.chunks is not None
        assert result.ledger.chunks.resumed == 0
        found = normalised(flatten(result.output), result.ledger, Scaling()).normalisation
        assert found.luminosity == pytest.approx({"electron": 19 * factor, "muon": 19 * factor})
    resumed = process(measured, catalogue, tmp_path / "run", resume=True)
    assert resumed.ledger.chunks is not None
    assert resumed.ledger.chunks.resumed == 4
    assert resumed.ledger.analysis["data"] == result.ledger.analysis["data"]
    given = normalised(flatten(result.output), result.ledger, Scaling(luminosity_ipb=7))
    assert given.normalisation.luminosity == {"electron": 7, "muon": 7}
    one = run(measured, catalogue.select(["data__SingleMuon"]))
    luminosity = one.ledger.analysis["data"]["luminosity"]
    assert luminosity == pytest.approx({"electron": 0, "muon": 19e-3})


@pytest.mark.full
def test_sections_of_another_year_and_without_a_luminosity_are_refused(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    for files, message in (
        (
            {"golden_json": '{"271036": [[1, 9]], "284044": [[1, 5]]}'},
            (
                r"data__SingleMuon: no event is in a section that \S*golden_json.txt certifies: its runs are "
                "256630 to 256630, those of the file 271036 to 284044"
            ),
        ),
        (
            {"luminosity_csv": table(sections=8)},
            (
                r"data__SingleMuon: 2 of 10 sections are not in \S*luminosity_csv.txt: the first is run 256630, "
                "section 9"
            ),
        ),
    ):
        result = run(analysis(tmp_path, **files), catalogue)
        result.ledger.require_complete()
        with pytest.raises(NormalisationError, match=message):
            normalised(flatten(result.output), result.ledger, Scaling())


@pytest.mark.full
@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"golden_json": "[]"}, "golden_json.txt: expected .*RUN"),
        ({"golden_json": "{}"}, "golden_json.txt: expected .*RUN"),
        ({"golden_json": '{"1": [[3, 2]]}'}, "run 1 has no ascending ranges"),
        ({"golden_json": '{"1": [[3, 4, 5]]}'}, "run 1 has no ascending ranges"),
        ({"golden_json": '{"a": [[3, 4]]}'}, "golden_json.txt: expected .*'a'"),
        ({"luminosity_csv": "1:2,3:3,x\n"}, r"no header with 'recorded\(/ub\)'"),
        (
            {"luminosity_csv": HEADER.format("hz") + "1:2,3\n"},
            "luminosity_csv.txt: expected a luminosity",
        ),
    ],
)
def test_files_that_are_none_are_refused(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        analysis(tmp_path, **files)


@pytest.mark.full
def test_data_without_sections_are_refused(catalogue: Catalogue, tmp_path: Path) -> None:
    bare = catalogue.model_copy(
        update={
            "datasets": {
                name: dataset.model_copy(update={"event_numbers": False})
                for name, dataset in catalogue.datasets.items()
            }
        }
    )
    with pytest.raises(
        ConfigError, match="events of data__SingleElectron have no run and luminosity"
    ):
        run(analysis(tmp_path, golden_json=json.dumps(GOLDEN)), bare)
    broken = analysis(tmp_path, luminosity_csv=HEADER.format("ub") + "1:2,3\n")
    with pytest.raises(ConfigError, match="expected brilcalc's output with --byls"):
        run(broken, catalogue)


def test_a_file_that_is_not_there_ends_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.toml").write_text('[data]\nluminosity_csv = "no.csv"\n')
    assert (
        main(["process", "--config", str(tmp_path / "c.toml"), "--output", str(tmp_path / "r")])
        == 2
    )
    said = capsys.readouterr().err
    assert f"luminosity table {tmp_path / 'no.csv'}: No such file or directory" in said
