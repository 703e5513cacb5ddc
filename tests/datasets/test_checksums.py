"""Size and Adler-32 of files: written by `build`, held against the files by `check` and `--verify`."""

from __future__ import annotations

import json
import os
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st

from analysis.cli import main
from analysis.common.errors import CatalogueError
from analysis.datasets import checksums
from analysis.datasets.catalogue import Catalogue, Checksum, NtupleFile
from analysis.datasets.checksums import Identities, checksum, damaged
from analysis.datasets.inventory import build, check
from analysis.execution.runner import run
from analysis.execution.settings import Execution
from analysis.processor import TtbarAnalysis
from tests.execution.test_runner import compressible, flip
from tests.ntuples import make_events, write
from tests.servers import http_server


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files of uncompressed and zstd-compressed baskets, and their catalogue with checksums."""
    data = tmp_path / "data" / "ttbar__nominal"
    write(data / "a.root", make_events(300, seed=3))
    write(data / "b.root", compressible(), compression=uproot.ZSTD(1))
    catalogue = build(data.parent, tmp_path / "c.json", {}, checksums=True)
    catalogue.write(tmp_path / "c.json")
    return tmp_path


def execute(folder: Path, **options: Any) -> Any:
    catalogue = Catalogue.load(folder / "c.json")
    of_run = {key: options.pop(key) for key in ("checkpoints", "resume") if key in options}
    return run(TtbarAnalysis(), catalogue, execution=Execution(**options), **of_run)


@given(st.binary(max_size=200), st.integers(1, 20))
def test_a_checksum_is_that_of_zlib_whatever_the_blocks(content: bytes, block: int) -> None:
    path = Path(os.environ["XDG_CACHE_HOME"]) / "content"
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checksums, "_BLOCK_BYTES", block)
        found = checksum(path)
    assert found == Checksum(size=len(content), adler32=f"{zlib.adler32(content):08x}")


def test_the_example_of_adler_32(tmp_path: Path) -> None:
    """Of `Wikipedia`, as the article on Adler-32 works it out by hand."""
    (tmp_path / "w").write_bytes(b"Wikipedia")
    assert checksum(tmp_path / "w") == Checksum(size=9, adler32="11e60398")


@pytest.mark.full
def test_a_flipped_bit_is_seen_with_verify_only(folder: Path) -> None:
    good = execute(folder, verify=True)
    assert good.ledger.complete
    path = folder / "data" / "ttbar__nominal" / "b.root"
    flip(path, "met_pt")
    unseen = execute(folder)
    assert unseen.ledger.complete
    assert not same(unseen, good)
    result = execute(folder, verify=True, chunk_size=1000)
    assert result.ledger.events_processed == 300
    assert {failure.file for failure in result.ledger.failures} == {str(path)}
    assert len(result.ledger.failures) == 3
    for failure in result.ledger.failures:
        assert failure.reason.startswith("damaged: adler32 ")
        assert failure.reason.endswith(
            f"{checksum_of(folder, 'ttbar__nominal/b.root')} in the catalogue"
        )


def test_what_was_read_of_a_damaged_file_is_not_resumed(folder: Path) -> None:
    """Also where it was damaged already when it was read, and nobody looked."""
    flip(folder / "data" / "ttbar__nominal" / "b.root", "met_pt")
    options: dict[str, Any] = {"checkpoints": folder / "checkpoints", "resume": True}
    assert execute(folder, **options).ledger.complete
    result = execute(folder, verify=True, **options)
    (failure,) = result.ledger.failures
    assert failure.reason.startswith("damaged: adler32 ")
    assert result.ledger.events_processed == 300


def same(one: Any, two: Any) -> bool:
    name = "ttbar__nominal"
    first, second = (result.output[name]["control"]["met"] for result in (one, two))
    return np.array_equal(first.values(flow=True), second.values(flow=True))


def checksum_of(folder: Path, name: str) -> str:
    record = json.loads((folder / "c.json").read_text())["datasets"]["ttbar__nominal"]
    return str(record["checksums"][name]["adler32"])


@pytest.mark.full
@pytest.mark.parametrize("executor", ["futures", pytest.param("dask", marks=pytest.mark.full)])
def test_damaged_files_are_read_by_no_executor(folder: Path, executor: str) -> None:
    flip(folder / "data" / "ttbar__nominal" / "b.root", "met_pt")
    (failure,) = execute(folder, verify=True, executor=executor).ledger.failures
    assert failure.reason.startswith("damaged: adler32 ")


def test_check_compares_content(folder: Path) -> None:
    catalogue = Catalogue.load(folder / "c.json")
    assert check(catalogue, checksums=True) == (2, [])
    data = folder / "data" / "ttbar__nominal"
    flip(data / "b.root", "met_pt")
    with (data / "a.root").open("ab") as file:
        file.write(b"more")
    assert check(catalogue) == (2, [])
    _, findings = check(catalogue, checksums=True)
    first, second = (finding.problem for finding in findings)
    size = (data / "a.root").stat().st_size
    assert first == f"damaged: {size} bytes, {size - 4} in the catalogue"
    assert second.startswith("damaged: adler32")


def test_check_asks_servers_for_the_size(folder: Path) -> None:
    pytest.importorskip("aiohttp", reason="the extra 'http' is not installed")
    with http_server(folder / "data") as address:
        catalogue = Catalogue.load(folder / "c.json").model_copy(update={"base": address})
        assert check(catalogue, checksums=True) == (2, [])
        with (folder / "data" / "ttbar__nominal" / "b.root").open("ab") as file:
            file.write(b"more")
        ((_, problem),) = check(catalogue, checksums=True)[1]
    assert " bytes on the server, " in problem


def test_check_misses_checksums_that_are_not_there(tmp_path: Path) -> None:
    write(tmp_path / "ttbar__nominal.root", make_events(10, seed=1))
    build(tmp_path, tmp_path / "c.json", {}).write(tmp_path / "c.json")
    catalogue = Catalogue.load(tmp_path / "c.json")
    ((_, problem),) = check(catalogue, checksums=True)[1]
    assert problem == "no checksum in the catalogue"
    with pytest.raises(CatalogueError, match=r"nothing to verify: .*build --checksums"):
        damaged(catalogue.files)


def test_an_unchanged_file_is_read_once(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Catalogue.load(folder / "c.json").files
    read: list[str] = []

    def counting(path: str) -> Checksum:
        read.append(Path(path).name)
        return checksum(path)

    monkeypatch.setattr(checksums, "checksum", counting)
    assert damaged(files) == {}
    assert sorted(read) == ["a.root", "b.root"]
    assert damaged(files) == {}
    assert len(read) == 2
    path = Path(files[0].url)
    shutil.copy(path, f"{path}.copy")
    Path(f"{path}.copy").replace(path)
    assert damaged(files) == {}
    assert read[2:] == ["a.root"]
    (cache / "ttbar-opendata" / "checksums.json").write_text("[1, {")
    assert damaged(files) == {}
    assert len(read) == 5
    known = json.loads((cache / "ttbar-opendata" / "checksums.json").read_text())
    known[files[0].url][1] = "00000000"
    (cache / "ttbar-opendata" / "checksums.json").write_text(json.dumps(known))
    assert list(damaged(files)) == [files[0].url]


def test_what_cannot_be_remembered_is_read_again(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    identities = Identities(tmp_path / "file" / "checksums.json")
    assert damaged(Catalogue.load(folder / "c.json").files, identities) == {}


def test_what_is_not_verified_is_said(
    folder: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    first, second = Catalogue.load(folder / "c.json").files
    others = [second._replace(checksum=None), first._replace(url="root://host//a.root")]
    gone = first._replace(url=str(tmp_path / "gone.root"))
    with caplog.at_level("WARNING", logger="analysis"):
        assert damaged([first, *others, gone]) == {gone.url: "no such file"}
    assert [record.getMessage() for record in caplog.records] == [
        "1 of 4 files are not verified: on servers",
        "1 of 4 files are not verified: no checksum",
    ]


def test_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(folder / "new.json")
    command = ["catalogue", "build", str(folder / "data"), "--output", path, "--checksums"]
    assert main(command) == 0
    assert main(["catalogue", "check", "--catalogue", path, "--checksums"]) == 0
    assert "2 files are there" in capsys.readouterr().err
    flip(folder / "data" / "ttbar__nominal" / "b.root", "met_pt")
    assert main(["catalogue", "check", "--catalogue", path, "--checksums", "--quiet"]) == 2
    command = ["process", "--catalogue", path, "--verify", "--output", str(folder / "out")]
    assert main([*command, "--quiet"]) != 0
    assert "b.root: damaged: adler32" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("checksums_of", "message"),
    [
        ({"a.root": {"size": 1}}, "checksums.a.root.adler32: missing"),
        ({"a.root": {"size": 1, "adler32": "xyz"}}, "expected eight hexadecimal digits, got 'xyz'"),
        ({"a.root": {"size": -1, "adler32": "1"}}, "checksums.a.root.size: input should be great"),
        ({"b.root": {"size": 1, "adler32": "1"}}, "b.root: of no file of the dataset, did you"),
        ({"a.root": {"sise": 1}}, "sise: unknown key, did you mean 'size'"),
    ],
)
def test_checksums_that_are_wrong(
    tmp_path: Path, checksums_of: dict[str, Any], message: str
) -> None:
    record = {"process": "ttbar", "kind": "signal", "files": {"a.root": 1}}
    values = {"datasets": {"ttbar__nominal": record | {"checksums": checksums_of}}}
    (tmp_path / "c.json").write_text(json.dumps(values))
    with pytest.raises(CatalogueError) as caught:
        Catalogue.load(tmp_path / "c.json")
    assert message in str(caught.value)


def test_the_portal_s_way_to_write_a_checksum() -> None:
    assert Checksum(size=1, adler32="adler32:9719ED04").adler32 == "9719ed04"
    assert Checksum(size=1, adler32="abc").adler32 == "00000abc"


def test_without_a_home_nothing_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a number for a user in a container."""

    def no_home() -> Path:
        msg = "Could not determine home directory."
        raise RuntimeError(msg)

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    (tmp_path / "a.root").write_bytes(b"content")
    found = checksum(tmp_path / "a.root")
    file = NtupleFile("ttbar", str(tmp_path / "a.root"), 1, found)
    assert damaged([file]) == {}
