"""A catalogue's format is the schema that its files are read by."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from analysis.config import AnalysisConfig
from analysis.datasets.catalogue import Catalogue, Format
from analysis.execution.runner import run
from analysis.processor import TtbarAnalysis
from analysis.skim import make_skim
from schemas import FORMATS
from tests.ntuples import as_nanoaod, make_events, write_nanoaod

CONFIG = AnalysisConfig.model_validate(
    {"variations": {"jet_energy": False}, "multijet": {"enabled": False}}
)


def test_formats_of_catalogues_have_a_schema() -> None:
    assert set(get_args(Format)) == set(FORMATS)


def test_a_skim_of_nanoaod_gives_the_same_histograms(tmp_path: Path) -> None:
    path = write_nanoaod(tmp_path / "a.root", as_nanoaod(make_events(400, seed=36)))
    values = {"format": "nanoaod", "tree": "Events", "base": str(tmp_path)}
    dataset = {"process": "ttbar", "kind": "signal", "files": {path.name: 400}}
    dataset["generator_weights"] = True
    catalogue = Catalogue.model_validate({**values, "datasets": {"ttbar__nominal": dataset}})
    skim = make_skim(catalogue, tmp_path / "skim", TtbarAnalysis(CONFIG))
    assert 0 < skim.catalogue.events < 400
    whole, part = (
        run(TtbarAnalysis(CONFIG), found).output["ttbar__nominal"]
        for found in (catalogue, skim.catalogue)
    )
    assert part["observable"] == whole["observable"]
    assert part["control"] == whole["control"]
    before = skim.catalogue.datasets["ttbar__nominal"].skim
    assert before is not None
    assert before.sum_of_weights == whole["counts"]["sum_of_weights"]
