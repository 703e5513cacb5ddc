"""A folder has one run at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.cli import main
from analysis.common.errors import OutputError
from analysis.common.files import LOCK, sole_run, writable_folder, write_text
from tests.conftest import PROJECT

HOLD = """
import sys
from pathlib import Path
from analysis.common.files import sole_run
with sole_run(Path(sys.argv[1])):
    print("inside", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that runs in the folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path],
        cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "inside\n"
        yield process
        process.kill()


@pytest.mark.parametrize("command", ["process", "all", "skim"])
def test_a_second_run_is_refused_and_touches_nothing(
    tmp_path: Path,
    catalogue_file: Path,
    other: subprocess.Popen[str],
    command: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "run.json").write_text("{}")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert main([command, "--catalogue", str(catalogue_file), "--output", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"error: {tmp_path}: another run writes there (process {other.pid} on " in line
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_run_that_was_killed_leaves_no_lock(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    other.kill()
    other.wait()
    assert (tmp_path / LOCK).exists()
    with sole_run(tmp_path):
        assert f"process {os.getpid()} on " in (tmp_path / LOCK).read_text()
    assert not list(tmp_path.iterdir())


def test_a_lock_that_was_removed_meanwhile_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would keep nobody out: the next one makes a file of its own."""
    lock, removed = fcntl.flock, []

    def slow(descriptor: int, how: int) -> None:
        if not removed:
            removed.append((tmp_path / LOCK).unlink())
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", slow)
    with sole_run(tmp_path), pytest.raises(OutputError, match="another run"), sole_run(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_file_system_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(*_: int) -> None:
        raise OSError(37, os.strerror(37))

    monkeypatch.setattr(fcntl, "flock", none)
    with sole_run(tmp_path / "new"):
        assert f"{tmp_path / 'new'} cannot be locked: No locks available" in caplog.text


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write to"), sole_run(tmp_path / "file" / "out"):
        pass


def test_a_link_to_a_folder_that_was_removed_is_followed(tmp_path: Path) -> None:
    """As `results` is on clusters, to a scratch disk that is cleaned."""
    link = tmp_path / "results"
    link.symlink_to(tmp_path / "scratch" / "cleaned")
    write_text(link / "deeper" / "a.txt", "a")
    shutil.rmtree(tmp_path / "scratch")
    assert writable_folder(link) == link
    shutil.rmtree(tmp_path / "scratch")
    with sole_run(link):
        assert (tmp_path / "scratch" / "cleaned" / LOCK).exists()
