"""Processes that are started from here, and where none can be."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from analysis.cli import main
from analysis.common.errors import ConfigError
from analysis.common.processes import require_folder, same_modules, spawn_method, start_server
from tests.common.told import tell
from tests.conftest import PROJECT


def test_what_is_changed_for_new_processes_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "before")
    for name in ("PYTHONSAFEPATH", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    main_module = sys.modules["__main__"]
    with same_modules():
        assert os.environ["PYTHONPATH"].split(os.pathsep) == sys.path
        assert os.environ["OMP_NUM_THREADS"] == "1"
        assert not hasattr(sys.modules["__main__"], "__file__")
    assert sys.modules["__main__"] is main_module
    assert os.environ["PYTHONPATH"] == "before"
    assert not {"PYTHONSAFEPATH", "OMP_NUM_THREADS"} & set(os.environ)


def test_spawned_processes_have_this_path_and_no_script() -> None:
    context = multiprocessing.get_context(spawn_method())
    ours, theirs = context.Pipe()
    process = context.Process(target=tell, args=(theirs,))
    process.start()
    assert ours.recv() == (False, sys.path)
    process.join()


def test_where_no_process_can_be_started_a_line_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = SimpleNamespace(daemon=True)
    with monkeypatch.context() as patch:
        patch.setattr(multiprocessing, "current_process", lambda: worker)
        with pytest.raises(ConfigError, match="cannot start others"):
            start_server([])
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigError, match="the current folder was removed"):
        require_folder()


def test_a_number_of_threads_that_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NUMBA_NUM_THREADS", "0")
    assert main(["show", "anywhere"]) == 2
    assert capsys.readouterr().err == (
        "error: NUMBA_NUM_THREADS=0: expected a number of at least 1\n"
    )


def test_less_memory_than_the_libraries_take(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (400 * 2**20, 400 * 2**20))
    assert main(["show", "anywhere"]) == 2
    assert capsys.readouterr().err.startswith(
        "error: a process may have 400 MB of memory (ulimit -v): at least 1000 MB are needed"
    )


def test_python_without_docstrings() -> None:
    shown = subprocess.run(
        [sys.executable, "-OO", "-m", "analysis", "show", "anywhere"],
        check=False, capture_output=True, text=True, cwd=PROJECT,
    )  # fmt: skip
    assert shown.returncode == 2
    assert shown.stderr == (
        "error: Python runs without docstrings (-OO, PYTHONOPTIMIZE=2), which coffea needs: use -O at most\n"
    )
