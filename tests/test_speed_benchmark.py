from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.datasets.catalogue import Catalogue
from benchmarks import agc, chunk_memory, skim, small_files, speed, workers


@pytest.mark.full
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


@pytest.mark.full
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


def test_the_benchmark_of_workers_compares_throughputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {
        "chain all": 10.0,
        "futures 1": 12.0,
        "futures 2": 7.0,
        "dask 1": 21.0,
        "dask 2": 11.0,
    }

    def measured(case: str, *_: Path) -> dict[str, float]:
        found = {"seconds": seconds[case], "events": 300.0}
        return found | ({} if case == "chain all" else {"start_up_seconds": 1.0})

    monkeypatch.setattr(speed, "measure_apart", measured)
    saved = tmp_path / "now.json"
    options = ["--data", str(tmp_path), "--events", "300", "--files", "1", "--json", str(saved)]
    results = workers.main(options)
    assert json.loads(saved.read_text())["results"] == results
    lines = [line.split("|")[1:-1] for line in workers.table(results).splitlines()[2:]]
    rows = {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}
    assert rows["two independent processes"] == ["60", "10.00", "2.00", "", "", ""]
    assert rows["futures 2"] == ["43", "7.00", "1.43", "1.71", "1.83", "1.0"]
    assert rows["dask 2"] == ["27", "11.00", "0.91", "1.91", "2.00", "1.0"]


def test_the_benchmark_of_small_files_gives_the_cost_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(_: str, path: Path, __: Path) -> dict[str, float]:
        files = Catalogue.load(path).files_of("ttbar__nominal")
        assert len({Path(file.url).read_bytes() for file in files}) == len(files)
        cost = 0.01 * len(files)
        return {"seconds": cost, "cpu_seconds": 2 * cost, "peak_mb": 1, "peak_mb_of_workers": 3}

    monkeypatch.setattr(speed, "measure_apart", measured)
    rows = small_files.main(["--data", str(tmp_path), "--files", "2,4", "--cases", "futures 2"])
    assert rows == ["| futures 2 | 2 | 10.0 | 20.0 | 3 |", "| futures 2 | 4 | 10.0 | 20.0 | 3 |"]


@pytest.mark.full
def test_the_benchmark_of_memory_looks_at_every_chunk(tmp_path: Path) -> None:
    options = ["--data", str(tmp_path), "--events", "200", "--files", "1", "--chunk-size", "100"]
    found = chunk_memory.main([*options, "--chunks", "10"])
    assert len(chunk_memory._Watched.megabytes) == 10
    assert found[-1] == chunk_memory._Watched.megabytes[-1] > 50


@pytest.mark.full
def test_the_benchmark_of_nanoaod_measures_and_its_yardstick_agrees(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="speed"):
        report = agc.main(
            ["--data", str(tmp_path), "--quick", "--events", "1500", "--codecs", "zlib"]
        )
    assert set(report["results"]["zlib"]) == set(agc.CASES)
    assert report["compared"] == 3 * 2 * 2 * (2 + 8)  # repeats, processors, regions, variations
    assert "| zlib | chain |" in caplog.text


def test_another_histogram_would_be_seen(tmp_path: Path) -> None:
    content = {"edges": [0, 1, 2], "contents": [0.0, 7.0, 5.0, 0.0]}
    other = {"edges": [0, 1, 2], "contents": [0.0, 7.0, 9.0, 0.0]}
    chain, yardstick = tmp_path / "chain.json", tmp_path / "yardstick.json"
    yardstick.write_text(json.dumps({"4j1b_ttbar": content}))
    chain.write_text(json.dumps({"4j1b_ttbar": content}))
    assert agc.compare(chain, yardstick) == 1
    chain.write_text(json.dumps({"4j1b_ttbar": other}))
    with pytest.raises(RuntimeError, match="two processors differ"):
        agc.compare(chain, yardstick)
