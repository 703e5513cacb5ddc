"""Ctrl-C and SIGTERM: a short message, what was done is kept, and no process is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from analysis.cli import main
from analysis.execution.ledger import Ledger
from analysis.execution.signals import Interrupted, handled, held
from tests.conftest import PROJECT
from tests.execution.small import session_of, start
from tests.execution.test_runner import one_file
from tests.ntuples import make_events, write

EVENTS = 5000


@pytest.fixture(autouse=True)
def _ctrl_c_is_not_ignored() -> Iterator[None]:
    """As it would be, here and in what is started, where the tests run in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long")
    write(folder / "a.root", make_events(EVENTS, seed=1))
    one_file(folder, "a.root", EVENTS)
    return folder / "cat.json"


def command(arguments: Sequence[str], errors: Path) -> int:
    """The command line, with its standard error in a file."""
    with errors.open("w") as stream:
        os.dup2(stream.fileno(), 2)
    return main(arguments)


def start_run(catalogue: Path, folder: Path, executor: str, *more: str) -> Any:
    """A run of five thousand chunks, which takes long enough."""
    arguments = ["process", *input_of(catalogue, folder)]
    arguments += ["--executor", executor, "--workers", "2", *more]
    return start(command, arguments, folder / "errors")


def input_of(catalogue: Path, folder: Path) -> list[str]:
    where = ["--catalogue", str(catalogue), "--output", str(folder / "out")]
    return [*where, "--chunk-size", "1", "--quiet"]


def wait_for_checkpoints(folder: Path, process: Any) -> None:
    while not list(folder.glob("out/checkpoints/*/*.zip")):
        assert process.is_alive()
        time.sleep(0.02)


def assert_stopped(process: Any, folder: Path, status: int, last: str) -> None:
    process.join(300)
    if process.is_alive():
        os.killpg(process.pid, signal.SIGKILL)
    assert process.exitcode == status
    lines = (folder / "errors").read_text().strip().splitlines()
    assert lines[-1] == last
    assert not any("Traceback" in line for line in lines)
    assert len(lines) <= 3
    assert_nothing_is_left(process)
    assert not (folder / "out" / "run.json").exists()


def assert_nothing_is_left(process: Any) -> None:
    deadline = time.monotonic() + 60
    while session_of(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not session_of(process.pid)


@pytest.mark.full
@pytest.mark.parametrize(
    ("executor", "number", "last"),
    [("iterative", signal.SIGINT, "interrupted"), ("futures", signal.SIGTERM, "terminated")],
)
def test_stopped_in_order_and_resumed(
    tmp_path: Path, catalogue: Path, executor: str, number: int, last: str
) -> None:
    """To the whole process group, as Ctrl-C and batch systems do it."""
    process = start_run(catalogue, tmp_path, executor)
    wait_for_checkpoints(tmp_path, process)
    os.killpg(process.pid, number)
    assert_stopped(process, tmp_path, 128 + number, last)
    assert "what was finished is kept" in (tmp_path / "errors").read_text()
    kept = len(list(tmp_path.glob("out/checkpoints/*/*.zip")))
    assert kept > 0
    again = start_run(catalogue, tmp_path, executor, "--resume", "--max-events", "40")
    again.join(300)
    assert again.exitcode == 0
    resumed = Ledger.load(tmp_path / "out").chunks
    assert resumed is not None
    assert resumed.resumed > 0


@pytest.mark.full
@pytest.mark.parametrize(
    ("executor", "delay"), [("futures", 0.2), ("dask", 0.3), ("dask", 1.5), ("dask", 4)]
)
def test_stopped_at_any_moment(
    tmp_path: Path, catalogue: Path, executor: str, delay: float
) -> None:
    """Whether the workers start, are ready or work."""
    if executor == "dask":
        pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
    process = start_run(catalogue, tmp_path, executor)
    while not (tmp_path / "out").exists():
        time.sleep(0.02)
    time.sleep(delay)
    assert process.is_alive()
    os.killpg(process.pid, signal.SIGINT)
    assert_stopped(process, tmp_path, 130, "interrupted")


def test_the_second_ctrl_c_kills_at_once(tmp_path: Path) -> None:
    process = start(stubborn, tmp_path)
    while not (tmp_path / "ready").exists():
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    while not (tmp_path / "asked").exists():
        time.sleep(0.01)
    assert process.is_alive()
    os.kill(process.pid, signal.SIGINT)
    process.join(120)
    assert process.exitcode == 130
    assert (tmp_path / "errors").read_text() == "killed\n"
    assert_nothing_is_left(process)


def stubborn(folder: Path) -> None:
    """Takes for ever to stop, with a worker process that does too."""
    import multiprocessing

    with (folder / "errors").open("w") as stream:
        os.dup2(stream.fileno(), 2)
    child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
    child.start()
    with handled():
        try:
            (folder / "ready").touch()
            time.sleep(60)
        finally:
            (folder / "asked").touch()
            time.sleep(60)


def test_a_held_interrupt_comes_at_the_end_of_the_block() -> None:
    done = []

    def work() -> None:
        with handled(), held():
            with held():
                os.kill(os.getpid(), signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGTERM)
                done.append(1)
            done.append(2)

    with pytest.raises(Interrupted) as caught:
        work()
    assert done == [1, 2]
    assert caught.value.exit_status == 143
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize("module", ["argparse", "hist"])
@pytest.mark.parametrize(
    ("number", "word"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")]
)
def test_stopped_while_modules_load(tmp_path: Path, module: str, number: int, word: str) -> None:
    """The command line's own, and those of a command."""
    (tmp_path / f"{module}.py").write_text(f"import os\nos.kill(os.getpid(), {int(number)})\n")
    done = python(tmp_path, "run.py", "process", "--output", str(tmp_path / "out"))
    assert (done.returncode, done.stderr) == (128 + number, f"{word}\n")


@pytest.mark.parametrize("made", [None, ImportError("initialization failed")])
def test_what_a_library_makes_of_it_is_an_interrupt(made: Exception | None) -> None:
    """It swallows it, or makes another error of it."""

    def library() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt as interrupt:
            if made is not None:
                raise made from interrupt

    def work() -> None:
        with handled():
            with handled():
                library()
            pytest.fail("the inner block is to raise it")

    with pytest.raises(Interrupted) as caught:
        work()
    assert caught.value.exit_status == 130


def test_what_python_drops_comes_again(capsys: pytest.CaptureFixture[str]) -> None:
    """It drops, with a traceback, what is raised in a finalizer."""

    class Disposed:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    def work() -> None:
        with handled():
            Disposed()
            time.sleep(60)
            pytest.fail("it has not come")

    with pytest.raises(Interrupted) as caught:
        work()
    assert caught.value.exit_status == 143
    assert capsys.readouterr().err == ""


CLOSING = """
import os, signal, sys
from distributed import LocalCluster
from analysis.execution.workers.cluster_settings import Local
from analysis.execution.workers.clusters import connected
from analysis.execution.signals import Interrupted, handled

known = []

def close(cluster, timeout=None, really=LocalCluster.close):
    known.append(cluster)
    os.kill(os.getpid(), signal.SIGINT)
    if "fails" in sys.argv:
        print("failed")
        raise OSError
    really(cluster, timeout)
    print("closed")

LocalCluster.close = close
try:
    with handled(), connected(Local(), 1):
        pass
except Interrupted as interrupted:
    sys.exit(interrupted.exit_status)
"""


@pytest.mark.full
@pytest.mark.parametrize(("how", "said"), [("works", "closed\n"), ("fails", "failed\n")])
def test_stopped_while_a_cluster_closes(tmp_path: Path, how: str, said: str) -> None:
    """That is done to the end, as far as it can be, and once: not again at the end of Python."""
    pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
    done = python(tmp_path, "-c", CLOSING, how)
    assert (done.returncode, done.stdout, done.stderr) == (130, said, "")


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """With modules of the folder before all others."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": f"{folder}:{PROJECT}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
