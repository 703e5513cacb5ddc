from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.catalogue import Catalogue
from benchmarks import skim, speed


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


def test_the_benchmark_of_skims_compares_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def a_second_a_thousand_events(_: str, path: Path, __: Path) -> dict[str, float]:
        return {"cpu_seconds": Catalogue.load(path).events / 1000}

    monkeypatch.setattr(speed, "measure_apart", a_second_a_thousand_events)
    monkeypatch.setattr(skim, "_command", lambda *_: (1.0, 2.0))
    options = ["--data", str(tmp_path), "--mean-jets", "7.5", "--events", "1000", "--files", "2"]
    (row,) = skim.main(options)
    cells = [cell.strip() for cell in row.split("|")]
    assert cells[2] == "2,000"
    kept = float(cells[3].rstrip("%")) / 100
    assert 0.4 < kept < 0.6
    assert float(cells[8].strip("*")) == pytest.approx(1 / kept, abs=0.06)
    assert float(cells[5]) < float(cells[4])  # MB
