"""The README's code does what it says."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from analysis.cli import main
from analysis.config import AnalysisConfig
from analysis.results import load_normalised
from tests.conftest import PROJECT
from tests.ntuples import write_random

README = (PROJECT / "README.md").read_text(encoding="utf-8")
METADATA = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))


def blocks(language: str) -> list[str]:
    """Those without a mark of their own."""
    return re.findall(rf"(?<!-->\n)```{language}\n(.*?)```", README, flags=re.DOTALL)


def marked(mark: str) -> str:
    """The block after a comment in the text."""
    found = re.search(rf"<!-- {re.escape(mark)} -->\n```\w+\n(.*?)```", README, flags=re.DOTALL)
    assert found is not None, mark
    return found[1]


def commands_in(text: str) -> list[str]:
    """Every line with a command of the project, without its comment."""
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).replace("\\\n", "")
    lines = re.findall(r"^.*\brun\.py\b.*$", blocks, re.MULTILINE)
    return [line.partition("  #")[0] for line in lines]


def arguments_of(line: str) -> list[str]:
    return shlex.split(line.partition("run.py")[2])


def test_toml_blocks_are_valid_configurations() -> None:
    for block in blocks("toml"):
        assert AnalysisConfig.model_validate(tomllib.loads(block)) != AnalysisConfig()


@pytest.mark.parametrize("line", commands_in(README))
def test_commands_have_options_that_exist(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command with `--help` put at its end: argparse has then taken what stands before."""
    arguments = arguments_of(line)
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    for option in (word for word in arguments if word.startswith("--")):
        assert option in out


def test_datasets_of_ones_own_are_counted_and_processed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_random(tmp_path / "my_ntuples" / "zjets__nominal" / "a.root", 300, seed=1)
    build, process = marked("dataset").splitlines()
    assert main([*arguments_of(build), "--quiet"]) == 0
    assert main(["process", *arguments_of(process), "--quiet"]) == 0
    yields = (tmp_path / "results_mine" / "yields.md").read_text(encoding="utf-8")
    assert "| zjets " in yields


def test_an_analysis_of_ones_own_is_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, catalogue_file: Path
) -> None:
    """The README's file, by the README's command, up to the scaled histograms."""
    monkeypatch.chdir(tmp_path)
    Path("my_analysis.py").write_text(marked("my_analysis.py"), encoding="utf-8")
    (line,) = (line for line in commands_in(README) if "--analysis my_analysis.py" in line)
    given = [*arguments_of(line), "--catalogue", str(catalogue_file), "--quiet"]
    assert main(["process", *given, "--datasets", "ttbar__nominal"]) == 0
    normalised = load_normalised(Path("results_own"))
    assert normalised.description.name == "my_analysis"
    inside, whole = (
        normalised.regions[name][{"process": "ttbar", "variation": "nominal"}].sum(flow=True).value
        for name in ("4j2b_met", "4j2b")
    )
    assert 0 < inside < whole
    assert normalised.description.overlaps["4j2b"]["4j2b_met"] > 0
    region = normalised.regions["4j2b"][{"process": "ttbar"}]
    nominal, up, plus = (
        region[{"variation": name}].sum(flow=True).value
        for name in ("nominal", "hard_jet_up", "jet_plus_up")
    )
    assert up > 1.03 * nominal  # 1 + 0.001 pT: jets of 30 GeV and more
    assert plus > nominal
    assert normalised.histograms["control/met_high"].sum(flow=True).value > 0


def test_extras_that_are_installed_exist() -> None:
    extras = METADATA["project"]["optional-dependencies"]
    asked = re.findall(r"-e '\.\[([\w,]+)\]'", README)
    assert len(asked) >= 3
    for names in asked:
        assert set(names.split(",")) <= set(extras)


def test_links_lead_to_files() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (PROJECT / target).exists(), target


def test_the_layout_and_the_text_name_what_is_there() -> None:
    for name in re.findall(r"(?:analysis|schemas)/\w+(?:\.py|/)", README):
        assert (PROJECT / name).exists(), name
    for name in re.findall(r"`(\w+\.ipynb)`", README):
        assert (PROJECT / "notebooks" / name).exists(), name
    for name in re.findall(r"`([A-Z]+\.(?:md|cff))`", README):
        assert (PROJECT / name).exists(), name
    layout = re.search(r"## Where what is\n\n```\n(.*?)```", README, re.DOTALL)
    assert layout is not None
    assert layout[1].count("\n") <= 12
