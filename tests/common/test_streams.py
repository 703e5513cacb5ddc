"""Standard output and error that cannot be written to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT

PROGRAM = """
import sys
from pathlib import Path
from analysis.common.streams import kept

with kept() as output:
    for stream in (sys.stdout, sys.stderr):
        for _ in range(3):
            print("words", file=stream, flush=True)
        print("more words", file=stream)
    output.flush()
    Path(sys.argv[1]).write_text(type(output.error).__name__)
"""


@pytest.mark.parametrize(("lost", "error"), [("stdout", "OSError"), ("stderr", "NoneType")])
def test_a_full_disk_ends_nothing(tmp_path: Path, lost: str, error: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    done = tmp_path / "done"
    other = {"stdout": "stderr", "stderr": "stdout"}[lost]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", PROGRAM, done],
            cwd=PROJECT,
            check=False,
            **{lost: full, other: subprocess.PIPE},  # type: ignore[call-overload]
        )
    assert ended.returncode == 0
    assert done.read_text() == error
    assert getattr(ended, other).decode() == 3 * "words\n" + "more words\n"


def test_a_reader_that_is_gone_ends_nothing(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    done = tmp_path / "done"
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, done],
        cwd=PROJECT,
        stdout=theirs,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(theirs)
    assert ended.returncode == 0
    assert done.read_text() == "BrokenPipeError"
    assert "Exception" not in ended.stderr.decode()


@pytest.mark.parametrize("closed", ["1>&-", "2>&-"])
def test_closed_streams_end_nothing(tmp_path: Path, closed: str) -> None:
    command = ["sh", "-c", f'"$@" {closed}', "sh", sys.executable, "-c", PROGRAM, tmp_path / "done"]
    assert subprocess.run(command, cwd=PROJECT, capture_output=True, check=False).returncode == 0
    assert (tmp_path / "done").read_text() == "NoneType"
