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
from analysis.datasets.inventory import build
from analysis.execution.processor import CatalogueProcessor
from analysis.execution.runner import run
from analysis.execution.settings import Execution
from schemas import MuonTreeSchema
from tests.conftest import PROJECT
from tests.execution.small import CHUNK, EVENTS, catalogue_of, make_files
from tests.ntuples import write_random

NAMES = ["one.root", "two.root"]

SCRIPT = """
print("begins")
import json, logging, sys
from pathlib import Path
import awkward as ak
from analysis.datasets.inventory import build
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


@pytest.mark.full
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


@pytest.mark.full
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


@pytest.mark.full
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


WHOLE = """
import sys
from pathlib import Path

import numpy as np

from analysis import Catalogue, Control, Execution, Region, Shift, TtbarAnalysis, Weight
from analysis import histograms
from analysis.config import Binning
from analysis.execution.runner import run
from analysis.skim import make_skim

folder = Path(sys.argv[1])
CUT = 20


def met(selection):
    return selection.met.pt > CUT


analysis = TtbarAnalysis().adding(
    regions=[Region("met", lambda s: (s.n_jets >= 2) & met(s), lambda s: s.ht, uses={"met.pt"})],
    weights=[Weight("mine", up=lambda s: 1 + 0.01 * s.n_jets, down=lambda s: 1 - 0.01 * s.n_jets)],
    shifts=[Shift("harder", up=lambda jets: 1.03 * jets.pt)],
    controls=[
        Control("m", lambda s: s.met.pt, Binning(bins=9, low=0, high=90), "MET", uses={"met.pt"})
    ],
)
catalogue = Catalogue.load(folder / "ntuples.json")


def done(executor, **options):
    how = Execution(executor, workers=2, chunk_size=200)
    return run(analysis, catalogue, execution=how, checkpoints=folder / "kept", **options)


def same(got, want):
    assert got.ledger.complete, got
    one, two = histograms.flatten(got.output), histograms.flatten(want.output)
    assert one.keys() == two.keys()
    for name, histogram in one.items():
        assert histogram.axes == two[name].axes, name
        for part in ("values", "variances"):
            np.testing.assert_allclose(
                *(getattr(h, part)(flow=True) for h in (histogram, two[name])), rtol=1e-12
            )


want = run(analysis, catalogue)
assert want.output["ttbar__nominal"]["observable"][{"region": "met"}].sum().value > 0
file = folder / "ttbar__nominal" / "b.root"
file.rename(file.with_suffix(".away"))
cut_short = done("futures")
file.with_suffix(".away").rename(file)
assert not cut_short.ledger.complete
resumed = done("dask", resume=True)
assert resumed.ledger.chunks.resumed == 2
same(resumed, want)
same(done("futures"), want)
skim = make_skim(catalogue, folder / "skim", analysis, execution=Execution("futures", workers=2))
same(run(analysis, skim.catalogue), want)
print("the same")
"""


@pytest.mark.full
def test_an_analysis_of_a_script_is_the_same_everywhere(tmp_path: Path) -> None:
    """With each executor, after an interruption, and from a skim."""
    pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
    for seed, name in enumerate("ab"):
        write_random(tmp_path / "ttbar__nominal" / f"{name}.root", 400, seed)
    build(tmp_path, tmp_path / "ntuples.json", {"ttbar": {"cross_section": 831.76}}).write(
        tmp_path / "ntuples.json"
    )
    script = tmp_path / "script.py"
    script.write_text(WHOLE)
    assert lines(script, tmp_path)[-1] == "the same"
