"""The README's code does what it says."""

from __future__ import annotations

import re
import shlex
import tomllib

import pytest

from analysis.cli import main
from analysis.config import AnalysisConfig
from tests.conftest import PROJECT

README = (PROJECT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_python_blocks_run_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    code = blocks("python")
    assert len(code) == 2
    names: dict[str, object] = {}
    for block in code:
        exec(block, names)  # noqa: S102 - our own README
    assert names["histogram"].sum(flow=True).value > 0  # type: ignore[attr-defined]
    assert len(names["mass"]) > 0  # type: ignore[arg-type]


def test_toml_blocks_are_valid_configurations() -> None:
    for block in blocks("toml"):
        assert AnalysisConfig.model_validate(tomllib.loads(block)) != AnalysisConfig()


@pytest.mark.parametrize(
    "line", [line for block in blocks("sh") for line in block.splitlines() if "run.py" in line]
)
def test_commands_have_options_that_exist(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command with `--help` put at its end: argparse has then taken what stands before."""
    arguments = shlex.split(line.partition("run.py")[2])
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    for option in (word for word in arguments if word.startswith("--")):
        assert option in out


def test_links_lead_to_files() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (PROJECT / target).exists(), target


def test_the_layout_names_what_is_there() -> None:
    for name in re.findall(r"(?:analysis|schemas)/\w+(?:\.py|/)", README):
        assert (PROJECT / name).exists(), name
