"""What a script, a notebook or a module of the user's own defines reaches every worker, as it is here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from analysis.common.errors import ConfigError
from analysis.execution.processor import CatalogueProcessor
from analysis.execution.runner import run
from analysis.execution.settings import Execution
from schemas import MuonTreeSchema
from tests.conftest import PROJECT
from tests.execution.small import CHUNK, EVENTS, catalogue_of, make_files

NAMES = ["one.root", "two.root"]

SCRIPT = """
print("begins")
import json, logging, sys
from pathlib import Path
import awkward as ak
from analysis.execution.processor import CatalogueProcessor
from analysis.execution.runner import run
from analysis.execution.settings import Execution
from schemas import MuonTreeSchema
from tests.execution.small import CHUNK, catalogue_of
import mine

logging.basicConfig(format="%(message)s", level="INFO", stream=sys.stdout)
CUT = 30


class Count:
    def __init__(self, n):
        self.n = n

    def __add__(self, other):
        return Count(self.n + other.n)


class Above(CatalogueProcessor):
    schema = MuonTreeSchema

    def __init__(self, where):
        self.where = where

    def columns(self, metadata):
        return frozenset({"muon.pt"})

    def process(self, events):
        n = int(ak.sum(self.where(events.muon)))
        return {events.metadata["dataset"]: {"n": n, "own": OWN}}


OWN = 1
executor, *rest = sys.argv[1:]
result = run(
    Above(lambda muon: mine.above(muon, CUT)),
    catalogue_of("FOLDER", NAMES),
    execution=Execution(executor, workers=2, chunk_size=CHUNK),
    checkpoints=Path(rest[0]) if rest else None,
    resume=bool(rest),
)
print(json.dumps([result.output, [f.reason for f in result.ledger.failures]]))
"""

MINE = "FACTOR = 1\n\ndef above(muon, cut):\n    return muon.pt * FACTOR > cut\n"


def write(folder: Path, script: str = SCRIPT, mine: str = MINE) -> Path:
    """A script, the module beside it, and files that it reads."""
    make_files(folder, NAMES)
    (folder / "mine.py").write_text(mine)
    path = folder / "script.py"
    path.write_text(script.replace("FOLDER", str(folder)).replace("NAMES", repr(NAMES)))
    return path


def lines(script: Path, *arguments: object, cwd: Path | None = None) -> list[str]:
    """What the script prints, with this package where the user has installed it."""
    done = subprocess.run(
        [sys.executable, str(script), *map(str, arguments)],
        cwd=cwd or script.parent,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_script_without_a_guard_gives_the_same_with_every_executor(tmp_path: Path) -> None:
    """It is run once, by nobody but the user; its module is beside it, not where workers look."""
    pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
    script = write(tmp_path)
    expected = None
    for executor in ("iterative", "futures", "dask"):
        first, *_, last = lines(script, executor)
        assert first == "begins"
        output, failures = json.loads(last)
        assert not failures
        assert 0 < output["data__a"]["n"] < 3 * EVENTS
        assert output == (expected := expected or output)


def test_a_changed_lambda_is_told_from_the_old_one(tmp_path: Path) -> None:
    """By another process, with the executor of before or another one."""
    script = write(tmp_path)
    kept = tmp_path / "checkpoints"

    def done(executor: str) -> str:
        (said,) = [line for line in lines(script, executor, kept) if "are done already" in line]
        return said

    total = f"of {len(NAMES) * EVENTS // CHUNK} chunks are done already"
    assert done("iterative") == f"resume: 0 {total}"
    assert done("futures") == f"resume: 4 {total}"
    write(tmp_path, SCRIPT.replace("CUT = 30", "CUT = 40"))
    assert done("iterative") == f"resume: 0 {total}"
    write(tmp_path, mine=MINE.replace("FACTOR = 1", "FACTOR = 2"))
    assert done("iterative") == f"resume: 0 {total}"


def test_workers_run_the_code_of_this_process_whatever_the_folder_has(tmp_path: Path) -> None:
    script = write(tmp_path / "here")
    other = tmp_path / "other"
    for name in ("analysis", "schemas"):
        (other / name).mkdir(parents=True)
        (other / name / "__init__.py").write_text("raise SystemExit('another checkout')\n")
    *_, one = lines(script, "iterative", cwd=other)
    *_, two = lines(script, "futures", cwd=other)
    assert one == two


class Holding(CatalogueProcessor):
    schema = MuonTreeSchema

    def __init__(self, **values: Any) -> None:
        vars(self).update(values)

    def columns(self, _metadata: Any) -> frozenset[str]:
        return frozenset({"muon.pt"})


class Region:
    def __init__(self, name: str, where: Any) -> None:
        self.name = name
        self.where = where


@pytest.mark.parametrize("executor", ["iterative", "futures"])
def test_what_cannot_be_sent_is_refused_by_its_name(tmp_path: Path, executor: str) -> None:
    """Before anything is done for the run."""
    lock = threading.Lock()
    regions = [Region("4j1b", abs), Region("4j2b_met", lambda s: s and lock)]
    with pytest.raises(ConfigError) as caught:
        run(
            Holding(cut=1, regions=regions),
            catalogue_of(tmp_path, NAMES),
            execution=Execution(executor),
            begin=lambda: pytest.fail("the run has begun"),
        )
    assert str(caught.value) == (
        "region '4j2b_met' cannot be sent to workers: cannot pickle '_thread.lock' object"
    )
