"""Files on servers: the same result as from the disk, and clear reasons where they fail."""

from __future__ import annotations

import errno
import importlib.util
import itertools
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from uproot.source.fsspec import FSSpecSource

from analysis.common.errors import ConfigError, OutputError
from analysis.datasets import remote
from analysis.datasets.catalogue import Catalogue
from analysis.datasets.remote import Access
from analysis.execution.runner import Result, run
from analysis.execution.settings import Execution
from analysis.processor import TtbarAnalysis
from tests.conftest import PROJECT
from tests.execution.test_runner import assert_same
from tests.ntuples import make_events, write
from tests.servers import http_server, xrootd

N_EVENTS = 1500


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    write(folder / "a.root", make_events(N_EVENTS, seed=8))
    return folder


@pytest.fixture(scope="module", params=["http", pytest.param("root", marks=pytest.mark.full)])
def server(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    if request.param == "http":
        pytest.importorskip("aiohttp", reason="the extra 'http' is not installed")
        with http_server(folder) as address:
            yield address
    else:
        with xrootd(folder) as running:
            yield running.address


def catalogue_at(base: str, path: Path, *files: str) -> Path:
    record: dict[str, Any] = {"process": "ttbar", "kind": "signal"}
    record |= {"files": dict.fromkeys(files or ("a.root",), N_EVENTS)}
    path.write_text(json.dumps({"base": base, "datasets": {"ttbar__nominal": record}}))
    return path


def execute(base: str, tmp_path: Path, *files: str, **options: Any) -> Result:
    catalogue = Catalogue.load(catalogue_at(base, tmp_path / "c.json", *files))
    return run(TtbarAnalysis(), catalogue, execution=Execution(**options))


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_served_files_give_the_same(server: str, folder: Path, tmp_path: Path) -> None:
    want = execute(str(folder), tmp_path)
    assert_same(execute(server, tmp_path, chunk_size=700), want)
    assert_same(execute(server, tmp_path, executor="futures", workers=2, chunk_size=700), want)


def test_a_file_that_the_server_has_not(server: str, tmp_path: Path) -> None:
    result = execute(server, tmp_path, "a.root", "b.root")
    (failure,) = result.ledger.failures
    assert failure.file == f"{server}/b.root"
    assert "no such file" in failure.reason.lower()
    assert result.ledger.events_processed == N_EVENTS


def test_the_command_line_reads_from_a_server(server: str, tmp_path: Path) -> None:
    command = [sys.executable, "run.py", "catalogue", "check", "--catalogue"]
    command += [str(catalogue_at(server, tmp_path / "c.json"))]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 files are there" in done.stderr


@pytest.mark.full
def test_a_dead_server_is_reported_within_the_client_s_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own: the XRootD client reads its settings once."""
    pytest.importorskip("XRootD", reason="the extra 'xrootd' is not installed")
    monkeypatch.setenv("XRD_CONNECTIONWINDOW", "1")
    monkeypatch.setenv("XRD_CONNECTIONRETRY", "1")
    path = catalogue_at("root://127.0.0.1:1//data", tmp_path / "c.json")
    command = [sys.executable, "run.py", "process", "--quiet", "--catalogue", str(path)]
    command += ["--output", str(tmp_path / "out"), "--retries", "0"]
    done = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=90
    )
    assert done.returncode == 3
    (line,) = done.stderr.strip().splitlines()
    assert "a.root: XRootD server: Connection error" in line


@pytest.mark.parametrize(
    ("scheme", "module", "extra"), [("root", "XRootD", "xrootd"), ("https", "aiohttp", "http")]
)
def test_an_extra_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, module: str, extra: str
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == module else find(n))
    with pytest.raises(ConfigError, match=rf"{scheme}:// needs the extra '{extra}'"):
        execute(f"{scheme}://127.0.0.1:1/x", tmp_path)


DEAD = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def no_memory_of_failed_servers() -> None:
    remote._failed_at.clear()


def test_addresses_of_replicas() -> None:
    access = Access(("root://a.org//", "https://b.org:443/mirror", "/disk/"))
    path = "eos/opendata/x.root"
    assert access.addresses(f"root://eospublic.cern.ch//{path}") == [
        f"root://a.org//{path}", f"https://b.org:443/mirror/{path}", f"/disk/{path}",
        f"root://eospublic.cern.ch//{path}",
    ]  # fmt: skip
    assert access.addresses("/local/x.root") == ["/local/x.root"]
    assert Access(("root://a.org",)).addresses("root://a.org//x") == ["root://a.org//x"]


def test_the_next_replica_is_read_where_the_first_is_dead(
    server: str, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The ledger keeps the catalogue's address; the dead one is tried once, not for each chunk."""
    prefix = server.removesuffix("//data")
    base = "https://127.0.0.1:1" + server.removeprefix(prefix)
    access = Access((DEAD, prefix), attempts=1)
    with caplog.at_level("WARNING", logger="analysis"):
        result = execute(base, tmp_path, access=access, chunk_size=500)
    assert_same(result, execute(str(folder), tmp_path))
    assert [file.url for file in result.ledger.datasets["ttbar__nominal"].files] == [
        f"{base}/a.root"
    ]
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"{DEAD}/")
    assert said.endswith("trying the next replica")


def test_a_replica_without_the_file_is_passed_by(server: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    access = Access((str(tmp_path / "empty"), str(folder)))
    result = execute(f"{server}/elsewhere", tmp_path, access=access)
    (failure,) = result.ledger.failures
    assert failure.reason == "no such file"
    assert not remote._failed_at
    good = Access((str(folder),))
    assert_same(execute(DEAD, tmp_path, access=good), execute(str(folder), tmp_path))


def test_a_file_is_tried_again_before_it_counts_as_failed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("aiohttp", reason="the extra 'http' is not installed")
    waits: list[float] = []
    with http_server(folder) as address:
        monkeypatch.setattr("time.sleep", waits.append)
        dead = {"access": Access(attempts=4, backoff_s=2), "retries": 0}
        result = execute(DEAD, tmp_path, **dead)
        assert len(result.ledger.failures) == 1
        assert waits == [pytest.approx(w, rel=0.25) for w in (2, 4, 8)]
        # Known to be dead, it is tried once: the next chunks do not wait.
        execute(DEAD, tmp_path, **dead)
        assert len(waits) == 3
        # It comes back while it is waited for.
        remote._failed_at.clear()
        port = address.rpartition(":")[2]
        opened = remote._opened

        def later(url: str, *arguments: Any) -> Any:
            return opened(url if len(waits) < 4 else url.replace(":9/", f":{port}/"), *arguments)

        monkeypatch.setattr(remote, "_opened", later)
        again = execute(DEAD, tmp_path, access=Access(), retries=0)
    assert again.ledger.complete


@pytest.mark.full
@pytest.mark.parametrize("kind", ["http", "root"])
def test_a_server_that_stalls_ends_in_an_error(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    """In the middle of a file: what was read before is kept, and what follows does not hang."""
    reads = itertools.count(1)
    read = FSSpecSource.chunks

    def stalling(source: FSSpecSource, *arguments: Any, **options: Any) -> Any:
        if next(reads) == 2:
            stall()
        return read(source, *arguments, **options)

    monkeypatch.setattr(FSSpecSource, "chunks", stalling)
    with ExitStack() as stack:
        if kind == "http":
            pytest.importorskip("aiohttp", reason="the extra 'http' is not installed")
            stalled = threading.Event()
            address, stall = stack.enter_context(http_server(folder, stalled)), stalled.set
        else:
            running = stack.enter_context(xrootd(folder))
            address, server = running.address, psutil.Process(running.pid)
            stack.callback(server.resume)

            def stall() -> None:
                server.suspend()
                # The signal takes effect a moment later, on a busy machine after the next read.
                while server.status() != psutil.STATUS_STOPPED:
                    time.sleep(0.001)

        access = Access(timeout_s=2, attempts=1)
        result = execute(address, tmp_path, access=access, chunk_size=500, retries=0)
    assert result.ledger.events_processed == 500
    assert len(result.ledger.failures) == 2
    for failure in result.ledger.failures:
        assert re.search("imeout|expired", failure.reason)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_cached_file_is_read_when_the_server_is_gone(
    server: str, folder: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    want = execute(str(folder), tmp_path)
    access = Access(cache=cache)
    options = {"executor": "futures", "workers": 2, "chunk_size": 300}
    assert_same(execute(server, tmp_path, access=access, **options), want)
    (copy,) = cache.glob("*.root")
    assert copy.read_bytes() == (folder / "a.root").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote, "_copy", lambda *_: pytest.fail("copied again"))
        assert_same(execute(server, tmp_path, access=access), want)


def test_what_came_short_is_no_cached_file(tmp_path: Path) -> None:
    short = SimpleNamespace(
        size=lambda _: 300, cat_file=lambda *_, start, end: b"root"[: end - start]
    )
    with pytest.raises(remote._UnreadableError, match="4 of 300 bytes came at position 0"):
        remote._copy_blocks(short, "a.root", tmp_path / "a.root")


@pytest.mark.full
def test_a_full_cache_is_passed_by(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pytest.importorskip("aiohttp", reason="the extra 'http' is not installed")
    from fsspec.implementations.http import HTTPFileSystem

    async def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(HTTPFileSystem, "cachable", False)  # one that was made before has the old
    monkeypatch.setattr(HTTPFileSystem, "_get_file", full)
    with http_server(folder) as address:
        result = execute(address, tmp_path, access=Access(cache=tmp_path / "cache"))
    assert result.ledger.complete
    assert "read without the cache: cannot write" in caplog.text
    assert "No space left on device" in caplog.text


def test_replicas_and_caches_that_are_none(tmp_path: Path) -> None:
    for replica in ("eospublic.cern.ch", "ftp://x//", "relative/folder", "root://"):
        with pytest.raises(ConfigError, match=r"expected root://HOST//, https://HOST/PATH or"):
            Access((replica,))
    with pytest.raises(ConfigError, match="attempts to open a file must be at least 1, got 0"):
        Access(attempts=0)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write to"):
        Access(cache=tmp_path / "file")
