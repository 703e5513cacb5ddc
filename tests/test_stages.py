"""The stages after processing: what cannot be is left out, what fails is said with the command to try."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis import InferenceConfig, stages
from analysis.cli import main
from analysis.common.errors import FitError, StageError
from tests.conftest import PROJECT


def test_a_stage_that_fails_costs_the_status_and_no_other_stage(
    tmp_path: Path,
    catalogue_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(folder: Path, choices: stages.Choices) -> None:
        msg = f"no minimum of {choices.model.poi} in {folder.name}"
        raise FitError(msg)

    done: list[str] = []
    table = [
        stages.Stage("fit", "cross section", "fitting", broken, lambda *_: ""),
        stages.Stage("abcd", "multijet estimate", "estimating", broken, lambda *_: "no muons"),
        stages.Stage("report", "page", "writing", lambda f, _: done.append(f.name), lambda *_: ""),
    ]
    monkeypatch.setattr(stages, "AFTER_PROCESSING", table)
    out = tmp_path / "out"
    command = ["--catalogue", str(catalogue_file), "--datasets", "ttbar__nominal", "--quiet"]
    assert main([*command, "--output", str(out)]) == StageError.exit_status == 4
    assert done == ["out"]
    lines = capsys.readouterr().err.strip().splitlines()
    assert "no multijet estimate: no muons" in lines
    assert lines[-1] == (
        f"error: no cross section: no minimum of ttbar_norm in out (try: run.py fit {out})"
    )


def test_each_stage_is_a_command() -> None:
    commands = {path.stem for path in (PROJECT / "analysis" / "cli").glob("*.py")}
    assert {stage.command for stage in stages.AFTER_PROCESSING} <= commands


def test_what_a_run_lacks_is_no_failure(tmp_path: Path, catalogue_file: Path) -> None:
    """Simulation alone has no data to fit, whatever the model."""
    out = str(tmp_path / "out")
    command = ["process", "--catalogue", str(catalogue_file), "--datasets", "ttbar__nominal"]
    assert main([*command, "--max-events", "50", "--output", out, "--quiet"]) == 0
    normalised = stages.results.load_normalised(Path(out))
    reasons = {
        stage.command: stage.obstacle(normalised, InferenceConfig())
        for stage in stages.AFTER_PROCESSING
    }
    assert reasons["fit"] == reasons["abcd"] == "the run has no data"
    assert reasons["plot"] == reasons["report"] == ""
