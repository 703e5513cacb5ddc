"""The notebooks run from top to bottom, and their kept outputs are those of a run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.notebooks import FOLDER, execute

NUMBER = re.compile(r"([+-]?\d+(?:\.\d+)?(?:e-?\d+)?)")
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def printed(notebook: Any) -> list[str]:
    """What each cell printed, tables too: words and numbers, one after the other."""
    return NUMBER.split(
        "\n".join("".join(map(_text, cell.get("outputs", []))) for cell in notebook.cells)
    )


def _text(output: Any) -> str:
    if output.output_type == "stream":
        return str(output.text) if output.name == "stdout" else ""
    return str(output.get("data", {}).get("text/markdown", ""))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder whose results several notebooks take; the first of them makes them."""
    return tmp_path_factory.mktemp("notebooks") / "results"


def last_digit(number: str) -> float:
    """What one of it is worth: 0.01 in 1.23, 1 in 123."""
    digits, _, exponent = number.partition("e")
    return float(10.0 ** (int(exponent or 0) - len(digits.partition(".")[2])))


@pytest.mark.full
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_gives_the_outputs_that_it_keeps(path: Path, results: Path) -> None:
    kept, run = nbformat.read(path, as_version=4), execute(path, results)
    for found, expected in zip(printed(run), printed(kept), strict=True):
        if NUMBER.fullmatch(expected):
            assert float(found) == pytest.approx(
                float(expected), rel=0.02, abs=1.5 * last_digit(expected)
            )
        else:
            assert found == expected
    assert path.stat().st_size < 300_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_warning_and_no_path_of_a_machine_is_kept(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    assert not [o for o in outputs if o.output_type == "stream" and o.name == "stderr"]
    assert str(Path.home()) + "/" not in str(outputs)
    assert "site-packages" not in str(outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_an_exercise_is_followed_by_its_solution_and_that_is_folded(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    solutions = [i for i, cell in enumerate(cells) if cell.source.startswith("# Solution")]
    assert solutions == [i + 1 for i, cell in enumerate(cells) if "### Exercise" in cell.source]
    for i in solutions:
        assert cells[i].metadata.get("jupyter") == {"source_hidden": True}, cells[i].source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_and_names_of_notebooks_lead_to_files(path: Path) -> None:
    texts = [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown"]
    text = "\n".join(texts)
    names = re.findall(r"`(\w+\.ipynb)`", text) + re.findall(r"\]\((?!http)([^)#]+)\)", text)
    for name in names:
        assert (FOLDER / name).exists(), name
