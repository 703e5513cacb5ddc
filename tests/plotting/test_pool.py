"""Processes that draw."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from analysis.common.errors import OutputError
from analysis.plotting import pool
from tests.conftest import PROJECT


@pytest.fixture(autouse=True, scope="module")
def _one_process_draws() -> None:
    """Several do here."""


def _square(number: int) -> tuple[int, int]:
    return number**2, os.getpid()


@pytest.mark.full
def test_results_come_in_their_order() -> None:
    for processes in (1, 2):
        results = pool.mapped(_square, range(5), processes)
        assert [value for value, _ in results] == [0, 1, 4, 9, 16]
        here = {process for _, process in results} == {os.getpid()}
        assert here == (processes == 1)


def test_one_process_draws_where_the_name_of_tmpdir_is_too_long_for_a_socket(
    tmp_path: Path,
) -> None:
    folder = tmp_path / ("job-" + 96 * "0")
    folder.mkdir()
    script = "from analysis.plotting import pool; print(pool.mapped(abs, [-1, 2], 2))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT, env=os.environ | {"TMPDIR": str(folder)},
        text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "[1, 2]\n"), done.stderr


def test_a_process_that_dies_is_an_error_of_ours() -> None:
    with pytest.raises(OutputError, match="a process that draws figures died"):
        pool.mapped(os._exit, [1], 2)


@pytest.mark.full
def test_an_interrupt_is_for_the_parent_alone(tmp_path: Path) -> None:
    """Ctrl-C goes to the whole process group; the drawing processes would all say so."""
    script = (
        "import signal, sys\n"
        "from pathlib import Path\n"
        "from analysis.plotting import pool\n"
        "from tests.plotting.waiting import wait\n"
        "pool._PRELOADED = []\n"
        # A shell starts what runs in its background with this signal ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "try:\n"
        f"    pool.mapped(wait, [Path({str(tmp_path)!r}, str(n)) for n in range(99)], 2)\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(130)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=PROJECT, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while len(list(tmp_path.iterdir())) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert (process.returncode, said) == (130, "")


@pytest.mark.full
def test_no_process_outlives_one_that_is_killed(tmp_path: Path) -> None:
    script = (
        "from pathlib import Path\n"
        "from analysis.plotting import pool\n"
        "from tests.plotting.waiting import wait_named\n"
        "pool._PRELOADED = []\n"
        f"pool.mapped(wait_named, [Path({str(tmp_path)!r})] * 99, 2)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=PROJECT, start_new_session=True)
    while len(list(tmp_path.iterdir())) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    waited = time.monotonic() + 120
    while any(Path("/proc", pid.name).exists() for pid in tmp_path.iterdir()):
        assert time.monotonic() < waited
        time.sleep(0.05)


@pytest.mark.full
def test_figures_do_not_import_the_shapes_of_peaks() -> None:
    """That compiles them, for seconds."""
    script = "import sys, analysis.plotting.figures\nsys.exit('numba_stats' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], cwd=PROJECT, check=True)
