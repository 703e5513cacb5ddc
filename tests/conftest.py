"""Fixtures: ntuples that the tests make, catalogues of them, and the material beside the project."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from analysis.datasets.catalogue import Catalogue
from analysis.datasets.inventory import build
from analysis.plotting import pool
from tests.ntuples import write_random

# It tells each glyph of a PDF at the level that tests log at.
logging.getLogger("fontTools").setLevel(logging.WARNING)

# The same examples each time: a change that is innocent does not fail. `--hypothesis-profile=explore`
# draws new ones.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.register_profile("explore", deadline=None)
hypothesis.settings.load_profile("repeatable")

PROJECT = Path(__file__).parents[1]
SHARED = PROJECT.parent / "shared"

N_EVENTS = 2500
SAMPLES = {
    "data__SingleMuon/a.root": 1,
    "data__SingleElectron/a.root": 2,
    "ttbar__nominal/a.root": 3,
    "ttbar__nominal/b.root": 4,
    "ttbar__scaleup/a.root": 5,
    "wjets__nominal.root": 6,
    "single_top_tW__nominal__top/a.root": 7,
    "single_top_tW__nominal__antitop/a.root": 8,
}
TOP_W = {"cross_section": 35.6, "sum_of_weights": 20_000, "filter_efficiency": 0.5}
NUMBERS = {
    "ttbar": {"cross_section": 831.76},
    "ttbar__nominal": {"sum_of_weights": 50_000},
    "ttbar__scaleup": {"sum_of_weights": 50_000},
    "wjets": {"cross_section": "61.5267 nb", "sum_of_weights": 1_000_000, "k_factor": 1.2},
    "single_top_tW__nominal__top": TOP_W,
    "single_top_tW__nominal__antitop": TOP_W,
}


@pytest.fixture(autouse=True, scope="module")
def _one_process_draws(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let commands of the quick tests draw in this process: others load the libraries for seconds."""
    with pytest.MonkeyPatch.context() as patch:
        if request.config.option.markexpr == "not full":
            patch.setattr(pool, "prepare", lambda: False)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the project with real events and references."""
    if not SHARED.is_dir():
        pytest.skip(f"the folder {SHARED} with real events and references is not here")
    return SHARED


@pytest.fixture(scope="session")
def real_files(shared: Path) -> dict[str, Path]:
    """Real CMS simulation in the POET layout, by process."""
    data = shared / "data"
    return {name: data / f"cms_{name}_poet_layout.root" for name in ("ttbar", "wjets")}


@pytest.fixture(scope="session")
def ntuples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ntuples with random events, as `catalogue build` wants it. Not to be changed."""
    folder = tmp_path_factory.mktemp("ntuples")
    for name, seed in SAMPLES.items():
        write_random(folder / name, N_EVENTS, seed)
    return folder


@pytest.fixture(scope="session")
def catalogue_file(ntuples: Path) -> Path:
    path = ntuples / "ntuples.json"
    build(ntuples, path, NUMBERS, luminosity="100 /pb").write(path)
    return path


@pytest.fixture(scope="session")
def catalogue(catalogue_file: Path) -> Catalogue:
    return Catalogue.load(catalogue_file)
