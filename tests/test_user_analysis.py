"""A script's own region, channel, shift, weight and control plot go wherever the analysis goes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from analysis import histograms, results
from analysis.cli import main
from analysis.histograms import Histograms
from tests.conftest import PROJECT

SCRIPT = (PROJECT / "tests" / "user_analysis.py").read_text(encoding="utf-8")

pytestmark = pytest.mark.full


def run_script(
    catalogue: Path, folder: Path, *steps: str, text: str = SCRIPT, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the script as a user does, from another folder."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "script.py"
    script.write_text(text, encoding="utf-8")
    return subprocess.run(
        [sys.executable, script, catalogue, folder, *steps],
        cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def done(catalogue_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script was run with each executor and from its skim."""
    folder = tmp_path_factory.mktemp("user")
    ran = run_script(catalogue_file, folder, "iterative", "futures", "dask", "skim")
    assert ran.returncode == 0, ran.stderr
    assert "script.py" not in ran.stderr
    # Dask may say one of its own where a worker closes on a busy machine.
    assert all("/distributed/" in said for said in ran.stderr.split("Traceback")[1:])
    return folder


CHANGED = SCRIPT.replace("s.met.pt > 60", "s.met.pt > 70")
"""The script with another constant in a lambda of the same name."""


def load(folder: Path) -> Histograms:
    return histograms.load(folder / results.UNSCALED)


def assert_same(one: Histograms, two: Histograms) -> None:
    assert one.keys() == two.keys()
    for name, histogram in one.items():
        assert histogram.axes == two[name].axes
        for part in ("values", "variances"):
            got, want = (getattr(h, part)(flow=True) for h in (histogram, two[name]))
            np.testing.assert_allclose(got, want, rtol=1e-12, err_msg=name)


def test_everything_of_the_script_is_filled(done: Path) -> None:
    filled = load(done / "iterative")
    region = filled["ttbar__nominal/observable/3j_met"]
    assert list(region.axes["channel"]) == ["electron", "mu_plus", "mu_minus"]
    for variation in ("nominal", "mu_scale_up", "pile_up_up", "pt_scale_down"):
        for channel in region.axes["channel"]:
            chosen = region[{"variation": variation, "channel": channel}]
            assert chosen.sum(flow=True).value > 0, (variation, channel)
    assert filled["data__SingleMuon/observable/3j_met"].sum(flow=True).value > 0
    assert filled["ttbar__nominal/control/ht"].sum(flow=True).value > 0


@pytest.mark.parametrize("step", ["futures", "dask", "skim"])
def test_each_executor_and_the_skim_give_the_same(done: Path, step: str) -> None:
    assert_same(load(done / step), load(done / "iterative"))
    cutflows = [(done / name / results.CUTFLOW).read_text() for name in (step, "iterative")]
    assert cutflows[0] == cutflows[1]


def test_a_run_goes_on_after_a_kill(catalogue_file: Path, done: Path, tmp_path: Path) -> None:
    """It is killed at its fourth chunk of more than 100 events; the ones before are kept."""
    killed = run_script(catalogue_file, tmp_path, "resumed", KILL_THE_RUN="1")
    assert killed.returncode < 0
    resumed = run_script(catalogue_file, tmp_path, "resumed")
    assert resumed.returncode == 0, resumed.stderr
    assert_same(load(tmp_path / "resumed"), load(done / "iterative"))


def test_another_constant_is_another_analysis(
    catalogue_file: Path, done: Path, tmp_path: Path
) -> None:
    assert CHANGED != SCRIPT
    assert run_script(catalogue_file, tmp_path, "resumed").returncode == 0
    first = load(tmp_path / "resumed")
    same = run_script(catalogue_file, tmp_path, "resumed")
    assert "resume: 24 of 24 chunks are done already" in same.stderr
    assert_same(load(tmp_path / "resumed"), first)
    other = run_script(catalogue_file, tmp_path, "resumed", text=CHANGED)
    assert "chunks are not used: another region '3j_met'" in other.stderr
    last = load(tmp_path / "resumed")
    name = "ttbar__nominal/observable/3j_met"
    assert first[name].sum(flow=True).value > last[name].sum(flow=True).value > 0
    assert first["ttbar__nominal/observable"] == last["ttbar__nominal/observable"]
    refused = run_script(catalogue_file, done, "skim", text=CHANGED)
    assert refused.returncode == 1
    assert "error: the skim was made with another region '3j_met'" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def test_its_results_are_drawn_reported_and_fitted_without_the_script(
    done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """This process has never seen the definitions. The catalogue lacks processes of the model."""
    folder = done / "iterative"
    for command, *options in (
        ["normalise"],
        ["plot", "--formats", "png", "--processes", "1"],
        ["show"],
        ["fit", "--force"],
        ["report"],
    ):
        assert main([command, str(folder), *options]) == 0, capsys.readouterr().err
    assert "3j_met" in capsys.readouterr().out
    drawn = {path.name for path in (folder / results.FIGURES).iterdir()}
    assert {"3j_met.png", "control_ht.png", "variations_3j_met_ttbar.png"} <= drawn
    page = (folder / results.REPORT).read_text(encoding="utf-8")
    assert "3 jets, MET" in page
    assert "mu_scale" in page
