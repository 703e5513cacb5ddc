"""What a notebook shows of a value says what it holds, in a few lines."""

from __future__ import annotations

from typing import Any

import pytest

from analysis import REAL_DATA, AnalysisConfig, Binning, Catalogue, Control, Region, TtbarAnalysis
from analysis.execution.runner import run
from analysis.processor import PARTS
from tests.execution.processors import Counting
from tests.execution.small import make_files

MOST = 3000
"""Characters."""

ANALYSIS = TtbarAnalysis()
PARTS_OF_IT = [getattr(ANALYSIS, part)[0] for part in PARTS if getattr(ANALYSIS, part)]


@pytest.mark.parametrize("part", PARTS_OF_IT, ids=lambda part: part.kind)
def test_a_part(part: Any) -> None:
    for shown in (repr(part), part._repr_html_()):
        assert part.name in shown
        assert len(shown) < MOST
        assert " at 0x" not in shown
    assert part._repr_html_().startswith("<table>")


def test_functions_are_shown_by_what_they_read() -> None:
    region = Region("met", lambda s: s.met.pt > 50, lambda s: s.ht, uses={"met.pt"})
    assert repr(region) == (
        "Region(name='met', where=lambda(met, pt), observable=lambda(ht), uses={'met.pt'})"
    )
    control = Control("ht", lambda s: s.ht, Binning(bins=2, low=0, high=1))
    assert "where" not in repr(control)


def test_a_configuration_names_what_is_not_as_usual() -> None:
    config = AnalysisConfig()
    assert repr(config) == "AnalysisConfig()"
    changed = config.model_copy(update={"jet": {"min_pt": 50}})
    assert repr(changed) == "AnalysisConfig(jet.min_pt=50.0)"
    assert "<td>jet.min_pt" in changed._repr_html_()


def test_an_analysis_names_its_parts() -> None:
    changed = ANALYSIS.with_config(AnalysisConfig(jet={"min_pt": 50}))  # type: ignore[arg-type]
    for shown in (repr(changed), changed._repr_html_()):
        for name in ("4j2b", "btag_var_0", "pt_scale", "muon", "n_vertices"):
            assert name in shown
    assert "jet.min_pt=50.0" in repr(changed)
    assert len(repr(changed)) < MOST


def test_a_catalogue_and_a_result_name_their_datasets(tmp_path: Any) -> None:
    real = Catalogue.load(REAL_DATA)
    assert len(repr(real)) < MOST
    small = make_files(tmp_path, ["1.root", "2.root"])
    result = run(Counting(), small)
    assert repr(small) == "<Catalogue: 80 events in 2 files of data__a, data__b>"
    assert repr(result) == "<Result: 80 events of data__a, data__b>"
    for shown in (real, result, small):
        assert "data__" in repr(shown)
        assert "data__" in shown._repr_html_()
