"""Files on servers: the same result as from the disk, and clear reasons where they fail."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.catalogue import Catalogue
from analysis.errors import ConfigError
from analysis.execution.runner import Execution, Result, run
from analysis.processor import TtbarAnalysis
from tests.conftest import PROJECT
from tests.execution.test_runner import assert_same
from tests.ntuples import make_events, write
from tests.servers import http_server, xrootd_server

N_EVENTS = 1500


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    write(folder / "a.root", make_events(N_EVENTS, seed=8))
    return folder


@pytest.fixture(scope="module", params=["http", "root"])
def server(
    request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    if request.param == "http":
        pytest.importorskip("aiohttp", reason="the extra 'http' is not installed")
        with http_server(folder) as address:
            yield address
    else:
        with xrootd_server(folder, tmp_path_factory.mktemp("xrootd")) as address:
            yield address


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
