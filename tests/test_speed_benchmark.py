from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import speed


def test_the_benchmark_measures_and_its_yardstick_agrees(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saved = tmp_path / "speed.json"
    options = ["--quick", "--events", "500", "--files", "2", "--repeats", "1"]
    options += ["--cases", "read lean,chain lean,yardstick", "--json", str(saved)]
    with caplog.at_level("INFO", logger="speed"):
        report = speed.main(options)
        assert json.loads(saved.read_text()) == report
        assert report["difference"] <= 1e-12
        assert all(result["events"] == 1000 for result in report["results"].values())
        speed.main([*options[:-3], "read lean", "--compare", str(saved)])
    row = caplog.records[-1].getMessage().splitlines()[-1]
    assert row.startswith("| read lean |")
    assert float(row.split("|")[-2]) > 0  # to the earlier run


def test_a_difference_would_be_seen(tmp_path: Path) -> None:
    from analysis import histograms
    from tests.test_histograms import filled

    histograms.save(tmp_path / "chain lean.zip", {"a": filled()})
    changed = filled()
    changed.view(flow=True)["value"][1] *= 1 + 1e-6
    histograms.save(tmp_path / "yardstick.zip", {"a": changed})
    assert speed.compare_histograms(tmp_path) == pytest.approx(1e-6, rel=1e-3)
