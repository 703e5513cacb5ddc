"""What a configuration does not allow is known before the run, in the words of the stage itself."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.config import AnalysisConfig
from analysis.postprocess.feasible import obstacles

TOP_PEAK = "top_peak: top_peak.{} has to be on edges of the bins of [observable]: "
MULTIJET = (
    "multijet: muon.max_isolation (0.15), multijet.min_control_isolation (0.3) and "
    "multijet.min_transverse_mass (50) have to be edges of the bins of multijet.isolation and "
    "multijet.transverse_mass: "
)


@pytest.mark.parametrize(
    ("sections", "found"),
    [
        ({}, []),
        (
            {"observable": {"bins": 20, "low": 0, "high": 500}},
            [
                TOP_PEAK.format("fit_range")
                + "region 90 to 350 cuts the bin from 75 to 100: move it to an edge"
            ],
        ),
        (
            {
                "observable": {"bins": 20, "low": 0, "high": 500},
                "top_peak": {"fit_range": [100, 350]},
            },
            [
                TOP_PEAK.format("window")
                + "region 130 to 210 cuts the bin from 125 to 150: move it to an edge"
            ],
        ),
        (
            {"observable": {"bins": 20, "low": 100, "high": 500}},
            [TOP_PEAK.format("fit_range") + "region 90 to 350 begins below the axis (100 to 500)"],
        ),
        (
            {"muon": {"max_isolation": 0.12}},
            [
                MULTIJET.replace("0.15", "0.12")
                + "isolation from 0 to 0.12 cuts the bin from 0.1 to 0.15: move it to an edge"
            ],
        ),
        (
            {"multijet": {"min_transverse_mass": 55}},
            [
                MULTIJET.replace("50", "55")
                + "transverse_mass from 55 to inf cuts the bin from 50 to 60: move it to an edge"
            ],
        ),
        ({"muon": {"max_isolation": 0.12}, "multijet": {"enabled": False}}, []),
    ],
)
def test_obstacles(sections: dict[str, Any], found: list[str]) -> None:
    config = AnalysisConfig.model_validate(sections)
    assert [f"{name}: {why}" for name, why in obstacles(config).items()] == found
