"""What stages read, found by name before the libraries of a stage are imported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from analysis.common.errors import OutputError, did_you_mean

LEDGER = "run.json"
"""What a finished run writes last."""
NORMALISATION = "normalisation.json"
"""What a normalisation writes last."""
FIT = "measurement.json"
"""What a fit writes last."""
MADE_OF = "made of"
"""Key of a result: the digest of the histograms that it was made of. No region may be called so."""
WORKSPACE = "workspace.json"
"""What a fit leaves of its model."""


def run_folder(folder: Path) -> Path:
    """The results folder of a finished run; raises OutputError, with the nearest one, if it is none."""
    if (folder / LEDGER).exists():
        return folder
    if (folder.parent / LEDGER).exists():
        hint = f"did you mean {str(folder.parent)!r}?"
    else:
        hint = _nearest(folder.name, _folders_with(LEDGER, folder.parent), "'process' makes one")
    msg = f"{folder} is no results folder of a finished run: {hint}"
    raise OutputError(msg)


def fit_source(source: Path) -> Path:
    """A results folder, ROOT file or workspace; raises OutputError, with the nearest name, if it is none."""
    return required_file(source) if source.suffix in (".root", ".json") else run_folder(source)


def workspace_file(source: Path) -> Path:
    """A workspace: the file, or that of a folder; raises OutputError if there is none."""
    if source.is_dir():
        if not (source / WORKSPACE).exists():
            msg = f"{source} has no {WORKSPACE}: run 'fit' on it first"
            raise OutputError(msg)
        require_of_run(source, FIT, "fit", value_of(source / FIT, MADE_OF))
        return source / WORKSPACE
    return required_file(source, _folders_with(WORKSPACE, source.parent))


def required_file(path: Path, others: list[str] | None = None) -> Path:
    """The file; raises OutputError, with the nearest of those beside it and `others`, if it is none."""
    if path.is_file():
        return path
    if path.is_dir():
        msg = f"{path} is a folder: expected a file"
        raise OutputError(msg)
    beside = sorted(other.name for other in path.parent.glob(f"*{path.suffix or '.json'}"))
    hint = _nearest(path.name, [*(others or []), *beside], f"there is none in {path.parent}")
    msg = f"{path}: no such file: {hint}"
    raise OutputError(msg)


def require_of_run(folder: Path, name: str, command: str, made_of: str | None) -> None:
    """Raise OutputError if the file of a results folder was `made_of` other histograms than those that
    the folder's normalisation scaled, as where the files of two runs were copied together.
    """
    scaled = value_of(folder / NORMALISATION, "scaled")
    if made_of and scaled and made_of != scaled:
        msg = f"{folder / name} was made of another run's histograms: run '{command}' again"
        raise OutputError(msg)


def value_of(path: Path, key: str) -> Any:
    """Read the value of a key of a JSON object; None where there is none."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return content.get(key) if isinstance(content, dict) else None


def _folders_with(name: str, parent: Path) -> list[str]:
    return sorted(path.parent.name for path in parent.glob(f"*/{name}"))


def _nearest(word: str, there: list[str], otherwise: str) -> str:
    return did_you_mean(word, there) if there else otherwise
