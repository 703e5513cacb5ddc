"""Execute the notebooks; `python -m tests.notebooks [NAME ...]` also keeps the outputs.

Run it after a change of what they show: the sample, the selection, a figure.
"""

from __future__ import annotations

import base64
import io
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import nbformat
from PIL import Image

PROJECT = Path(__file__).parents[1]
FOLDER = PROJECT / "notebooks"
TIMEOUT_S = 240
"""A cell; they take seconds, but a machine may be busy."""
COLOURS = 128
"""Of a figure that is kept: a third of the bytes, and no difference to the eye."""


def execute(path: Path, results: Path) -> Any:
    """The notebook with the outputs of a run of its own, in a kernel that imports this project.

    `results` is the folder whose results it takes, or where it makes them.
    """
    with warnings.catch_warnings():
        # Of the client's own machinery; the kernel is a process of its own.
        warnings.simplefilter("ignore")
        from nbclient import NotebookClient

        notebook = nbformat.read(path, as_version=4)
        environment = {**os.environ, "PYTHONPATH": str(PROJECT), "RESULTS": str(results)}
        client = NotebookClient(
            notebook,
            timeout=TIMEOUT_S,
            kernel_name="python3",
            record_timing=False,
            coalesce_streams=True,
        )
        client.execute(cwd=FOLDER, env=environment)
    return notebook


def main(names: list[str]) -> None:
    """Execute these notebooks, or all, and write them."""
    paths = [FOLDER / f"{name}.ipynb" for name in names] or sorted(FOLDER.glob("*.ipynb"))
    for path in paths:
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            notebook = execute(path, Path(folder) / "results")
        for cell in notebook.cells:
            if "outputs" in cell:
                cell.outputs = [output for output in cell.outputs if not _is_bar(output)]
                for output in cell.outputs:
                    _shrink(output.get("data", {}))
        notebook.metadata.pop("widgets", None)
        # What the kernel says of the interpreter would differ from machine to machine.
        notebook.metadata["language_info"] = {"name": "python"}
        nbformat.write(notebook, path)
        size = path.stat().st_size
        sys.stdout.write(f"{path.name}: {time.monotonic() - started:.1f} s, {size / 1e3:.0f} kB\n")


def _is_bar(output: Any) -> bool:
    """A progress bar of rich: a widget, and nothing once it has ended."""
    data = output.get("data", {})
    return "application/vnd.jupyter.widget-view+json" in data or data.get("text/plain") == ""


def _shrink(data: Any) -> None:
    """Give the figure of an output, if it is one, few colours."""
    if "image/png" in data:
        figure = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB")
        smaller = io.BytesIO()
        figure.quantize(COLOURS).save(smaller, "PNG", optimize=True)
        data["image/png"] = base64.b64encode(smaller.getvalue()).decode()


if __name__ == "__main__":
    main(sys.argv[1:])
