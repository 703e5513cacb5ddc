"""`run.py validate` and `run.py fit`: files, figures, and one clear line for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from analysis.cli import main
from analysis.inference import tables
from tests.inference.models import modifier, shapes
from tests.inference.root_file import contents, write


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a fit of templates in a ROOT file."""
    folder = tmp_path_factory.mktemp("fit")
    source = write(folder / "templates.root", contents())
    model = folder / "model.toml"
    model.write_text('processes = ["ttbar", "wjets"]')
    arguments = ["fit", str(source), "--model", str(model), "--output", str(folder / "results")]
    assert main([*arguments, "--quiet"]) == 0
    return folder / "results"


def _save(path: Path, spec: dict[str, Any]) -> Path:
    path.write_text(json.dumps(spec))
    return path


def test_everything_is_written_and_read_back(results: Path) -> None:
    measurement = tables.load(results)
    assert measurement.cross_section.value == pytest.approx(831.76 * measurement.fit.value)
    assert measurement.cross_section.value == pytest.approx(1.1 * 831.76, rel=0.1)
    figures = {path.stem for path in (results / "figures").iterdir()}
    assert figures == {
        "fit_yields_4j1b", "fit_yields_4j2b", "fit_pulls", "fit_ranking", "fit_correlations",
        "fit_scan", "fit_templates_4j1b_ttbar", "fit_templates_4j2b_ttbar",
    }  # fmt: skip
    assert all(path.stat().st_size > 5000 for path in (results / "figures").iterdir())
    for text in ("(stat)", "Impact on ttbar\\_norm", "Yields in 4j2b"):
        assert text in (results / "measurement.tex").read_text()
    assert "| Jet energy scale" in (results / "measurement.md").read_text()


@pytest.mark.usefixtures("no_figures")
def test_the_written_workspace_gives_the_same_number(results: Path, tmp_path: Path) -> None:
    source = results / "workspace.json"
    assert main(["validate", str(source), "--quiet"]) == 0
    again = ["fit", str(source), "--no-ranking", "--output", str(tmp_path), "--quiet"]
    assert main(again) == 0
    first, second = tables.load(results), tables.load(tmp_path)
    assert second.fit.value == pytest.approx(first.fit.value, abs=1e-6)
    assert second.ranking == []


@pytest.mark.usefixtures("no_figures")
def test_errors_of_the_check_stop_the_fit_unless_forced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = shapes()
    modifier(spec, "normsys")["data"].update(hi=1.03, lo=1.03)
    path = _save(tmp_path / "workspace.json", spec)
    assert main(["validate", str(path)]) == 2
    assert "both-directions" in capsys.readouterr().out
    arguments = ["fit", str(path), "--no-ranking", "--output", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "Luminosity: the same change in both directions" in capsys.readouterr().err
    assert not (tmp_path / "out" / "measurement.json").exists()
    assert main([*arguments, "--force"]) == 0
    assert tables.load(tmp_path / "out").findings[0].modifier == "Luminosity"


def test_a_file_without_a_process_or_region_of_the_model_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "two.root", contents())
    arguments = ["fit", str(source), "--output", str(tmp_path / "out"), "--quiet"]
    assert main(arguments) == 2
    said = capsys.readouterr().err.strip()
    assert "4j1b / single_top_t_chan: missing; there are ttbar, wjets" in said
    assert len(said.splitlines()) == 1
    one = {name: values for name, values in contents().items() if name.startswith("4j1b")}
    arguments[1] = str(write(tmp_path / "one.root", one))
    assert main(arguments) == 2
    assert "no histogram of region '4j2b': did you mean '4j1b'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["validate", "none.json"], "none.json"),
        (["fit", "none.root"], "none.root"),
        (["fit", "none.json"], "none.json"),
        (["fit", "nowhere"], "nowhere"),
        (["fit", "w.json", "--luminosity-fraction", "much"], "'much'"),
        (["fit", "w.json", "--model", "none.toml"], "none.toml"),
    ],
)
def test_bad_input_is_one_clear_line(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.json").write_text("{}")
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert said in line
