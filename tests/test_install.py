"""A wheel, installed without the checkout: its command, and the data that come along."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from analysis.datasets.catalogue import Catalogue
from tests.conftest import PROJECT

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which the wheel was installed."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=PROJECT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def outside(site: Path, folder: Path, *arguments: str) -> str:
    """Run the installed copy in a folder elsewhere; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "analysis", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(site)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_has_a_name_of_its_own(site: Path, tmp_path: Path) -> None:
    (entries,) = site.glob("*.dist-info/entry_points.txt")
    assert "ttbar = analysis.__main__:command" in entries.read_text()
    program = "from analysis.__main__ import command; command()"
    command = [sys.executable, "-c", program, "--help"]
    environment = os.environ | {"PYTHONPATH": str(site)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.startswith("usage: ttbar ")
    assert "run.py" not in done.stdout
    assert outside(site, tmp_path, "--help").startswith("usage: python -m analysis ")


def test_the_catalogue_of_the_real_data_comes_along(site: Path, tmp_path: Path) -> None:
    real = Catalogue.load(PROJECT / "ntuples.json")
    assert Catalogue.load(site / "analysis" / "ntuples.json") == real
    assert f"{real.events:,}" in outside(site, tmp_path, "catalogue", "show")


def test_the_sample_is_processed_drawn_and_reported(site: Path, tmp_path: Path) -> None:
    outside(site, tmp_path, "process", "--processes", "data,ttbar", "--quiet")
    outside(site, tmp_path, "plot", "--formats", "png", "--quiet")
    outside(site, tmp_path, "report", "--quiet")
    for name in ("yields.md", "figures/4j2b.png", "report.html"):
        assert (tmp_path / "results" / name).stat().st_size
