"""The notebooks run from top to bottom, and their kept outputs are those of a run."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.conftest import PROJECT

NUMBER = re.compile(r"([+-]?\d+(?:\.\d+)?(?:e-?\d+)?)")
NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))


def printed(notebook: Any) -> list[str]:
    """What each cell printed: words and numbers, one after the other."""
    texts = [
        "".join(o.text for o in cell.get("outputs", []) if o.output_type == "stream")
        for cell in notebook.cells
    ]
    return NUMBER.split("\n".join(texts))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_gives_the_outputs_that_it_keeps(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        # Of the client's own machinery; the kernel is a process of its own.
        warnings.simplefilter("ignore")
        from nbclient import NotebookClient

        monkeypatch.setenv("PYTHONPATH", str(PROJECT))
        monkeypatch.setenv("RESULTS", str(tmp_path / "results"))
        kept = nbformat.read(path, as_version=4)
        run = nbformat.read(path, as_version=4)
        NotebookClient(run, timeout=240, kernel_name="python3").execute()
    for found, expected in zip(printed(run), printed(kept), strict=True):
        if NUMBER.fullmatch(expected):
            assert float(found) == pytest.approx(float(expected), rel=0.02)
        else:
            assert found == expected
    assert path.stat().st_size < 500_000
