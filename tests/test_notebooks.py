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
    """What each cell printed: words and numbers, one after the other."""
    texts = [
        "".join(
            o.text
            for o in cell.get("outputs", [])
            if o.output_type == "stream" and o.name == "stdout"
        )
        for cell in notebook.cells
    ]
    return NUMBER.split("\n".join(texts))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_gives_the_outputs_that_it_keeps(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RESULTS", str(tmp_path / "results"))
    kept, run = nbformat.read(path, as_version=4), execute(path)
    for found, expected in zip(printed(run), printed(kept), strict=True):
        if NUMBER.fullmatch(expected):
            assert float(found) == pytest.approx(float(expected), rel=0.02)
        else:
            assert found == expected
    assert path.stat().st_size < 500_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_warning_and_no_path_of_a_machine_is_kept(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    assert not [o for o in outputs if o.output_type == "stream" and o.name == "stderr"]
    assert str(Path.home()) + "/" not in str(outputs)
    assert "site-packages" not in str(outputs)
