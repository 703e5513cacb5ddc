"""`run.py show`: plain text in a pipe, tables in a terminal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from pydantic_core import to_jsonable_python

from analysis.cli import main
from analysis.execution.settings import Execution
from analysis.execution.workers.cluster_settings import scheduler_settings
from analysis.report.loaded import load
from analysis.report.page import render
from analysis.report.summary import cutflow, speed, tables

pytestmark = pytest.mark.full


def test_show_prints_every_stage_and_where_the_files_are(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", str(finished)]) == 0
    out = capsys.readouterr().out
    for text in (
        "Cutflow: events read", "Yields at 100 /pb", "Top peak", "σ(signal)", "| prediction ",
        "Uncertainties of σ(signal)", "- simulation statistics",
        f"histograms: {finished / 'scaled.root'}",
    ):  # fmt: skip
        assert text in out
    lines = out.splitlines()
    assert any(
        line.startswith("σ(signal) = ") and line.endswith(", fitted to data") for line in lines
    )
    assert "\x1b" not in out
    assert "measurement.json" not in out


def test_the_speed_is_that_of_the_run(finished: Path) -> None:
    run = load(finished)
    changes = {
        "duration_s": 4.0, "bytes_read": 2_500_000, "columns_read": ["a", "b"],
        "cpu_s": 3.25, "peak_memory_mb": 480.4,
    }  # fmt: skip
    ledger = run.ledger.model_copy(update=changes)
    rate = f"{ledger.events_processed / 4:,.0f} events/s"
    assert speed(run._replace(ledger=ledger)).startswith(
        f"{rate}, 2.5 MB read, 2 columns, 3.2 s of processor time, "
        "at most 480 MB of memory a worker, iterative"
    )
    assert ledger.chunks is not None
    resumed = ledger.model_copy(update={"chunks": ledger.chunks.model_copy(update={"resumed": 1})})
    assert "events/s" not in speed(run._replace(ledger=resumed))


@pytest.mark.parametrize(
    ("execution", "said"),
    [
        (Execution(), "iterative, 1 worker"),
        (Execution("futures", 3), "futures, 3 workers"),
        (Execution("dask", 2, max_workers=20), "dask, 2 to 20 workers"),
        (
            Execution("dask", 2, cluster=scheduler_settings("tcp://there:8786")),
            "dask, the scheduler's own workers",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_workers_are_those_of_the_run(finished: Path, execution: Execution, said: str) -> None:
    run = load(finished)
    ledger = run.ledger.model_copy(update={"executor": to_jsonable_python(execution)})
    assert speed(run._replace(ledger=ledger)).endswith(f", {said}")


def test_show_says_what_is_missing(processed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(processed)]) == 0
    out = capsys.readouterr().out
    assert "no normalised histograms: run 'normalise' on it first." in out
    assert "has no measurement.json: run 'fit' on it first." in out


def test_a_terminal_gets_drawn_tables(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["show", str(finished)]) == 0
    out = capsys.readouterr().out
    assert "─" in out
    assert "| prediction" not in out


def test_cutflow_adds_up_nominal_datasets_and_channels(processed: Path) -> None:
    run = load(processed)
    assert run.cutflow is not None
    header, rows = cutflow(run).header, {row[0]: row[1:] for row in cutflow(run).rows}
    assert list(rows) == ["data", "ttbar", "wjets", "single_top_tW"]
    parts = [run.cutflow[f"single_top_tW__nominal__{name}"] for name in ("top", "antitop")]
    assert rows["single_top_tW"][0] == f"{sum(p['all']['events'] for p in parts)}" == "5000"
    jets = sum(p[channel]["jets"]["events"] for p in parts for channel in ("electron", "muon"))
    assert rows["single_top_tW"][header.index("jets") - 1] == f"{jets}"
    assert rows["ttbar"][0] == "5000"


def test_multijet_tests_on_simulation_are_for_the_page_only(finished: Path) -> None:
    shown = {table.title: table for table in tables(load(finished))}
    (multijet,) = (t for title, t in shown.items() if title.startswith("Multijet"))
    assert {row[1] for row in multijet.rows} == {"data"}


def test_what_makes_a_fit_doubtful_is_said_with_its_result(finished: Path) -> None:
    run = load(finished)
    assert run.measurement is not None
    remark = "the model does not describe the data: p = 0"
    doubtful = run._replace(measurement=run.measurement.model_copy(update={"remarks": [remark]}))
    (result,) = (table for table in tables(doubtful) if table.title.startswith("Measurement"))
    assert list(result.notes) == [remark]
    assert remark in render(doubtful)
    assert remark not in render(run)


def test_no_results_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("show", "report"):
        assert main([command, str(tmp_path)]) == 2
        line = capsys.readouterr().err
        assert line.startswith(f"error: {tmp_path} is no results folder of a finished run")
    near = tmp_path.with_name(f"{tmp_path.name}2")
    near.mkdir()
    (near / "run.json").write_text("{}")
    assert main(["show", str(tmp_path)]) == 2
    assert f"did you mean '{near.name}'?" in capsys.readouterr().err
    (tmp_path / "run.json").write_text("{}")
    assert main(["report", str(tmp_path)]) == 2
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("command", ["toppeak", "abcd", "report"])
def test_a_configuration_of_another_version_is_one_line(
    command: str, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(finished, tmp_path / "results")
    ledger = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    ledger["config"]["jet"]["min_energy"] = 20.0
    (folder / "run.json").write_text(json.dumps(ledger), encoding="utf-8")
    assert main([command, str(folder)]) == 2
    error = capsys.readouterr().err
    assert "another version (jet.min_energy: unknown key" in error
    assert error.endswith(": run 'process' again\n")
    assert error.count("\n") == 1
