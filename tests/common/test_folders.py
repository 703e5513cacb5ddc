"""A results folder that is not there: one line, at once, with the nearest name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from analysis.cli import main
from analysis.common.errors import OutputError
from analysis.common.folders import LEDGER, WORKSPACE, fit_source, run_folder, workspace_file
from analysis.execution.ledger import Ledger
from tests.conftest import PROJECT

SIGNAL = ["--signal", "s.root"]
for name in ("sum-of-weights", "cross-section", "luminosity"):
    SIGNAL += [f"--{name}", "1"]
COMMANDS = [
    *([name] for name in ("normalise", "plot", "toppeak", "abcd", "fit", "report", "show", "validate")),
    ["limit", *SIGNAL],
]  # fmt: skip


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results_2015"
    folder.mkdir()
    for name in (LEDGER, WORKSPACE):
        (folder / name).write_text("{}")
    return folder


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_every_command_names_the_nearest_folder(
    capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert main([command[0], "result_2015", *command[1:]]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: result_2015")
    assert line.endswith("did you mean 'results_2015'?")


def test_no_heavy_library_is_imported_to_say_so(there: Path) -> None:
    program = (
        "import sys; from analysis.cli import main\n"
        f"for command in {COMMANDS}:\n"
        "    assert main([command[0], 'nowhere', *command[1:]]) == 2\n"
        "heavy = {'numpy', 'pydantic', 'hist', 'coffea', 'pyhf', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command,
        check=False,
        cwd=there.parent,
        env={"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("there")
def test_one_message_for_the_command_line_and_the_ledger() -> None:
    with pytest.raises(OutputError) as said:
        Ledger.load(Path("result_2015"))
    with pytest.raises(OutputError) as same:
        run_folder(Path("result_2015"))
    assert str(said.value) == str(same.value)


def test_a_file_in_the_folder_and_files_beside(there: Path) -> None:
    assert run_folder(there) == there == fit_source(there)
    assert workspace_file(there) == there / WORKSPACE
    assert fit_source(there / WORKSPACE) == there / WORKSPACE
    with pytest.raises(OutputError, match=r"did you mean 'results_2015'\?"):
        run_folder(Path("results_2015") / "report.html")
    (there.parent / "mine.root").touch()
    with pytest.raises(OutputError, match=r"mein\.root: no such file: did you mean 'mine\.root'\?"):
        fit_source(Path("mein.root"))
    (there / WORKSPACE).unlink()
    with pytest.raises(OutputError, match=f"has no {WORKSPACE}: run 'fit' on it first"):
        workspace_file(there)
    (there / LEDGER).unlink()
    with pytest.raises(OutputError, match="'process' makes one"):
        run_folder(there)
