"""What stages read, found by name before the libraries of a stage are imported."""

from __future__ import annotations

from pathlib import Path

from analysis.common.errors import OutputError, did_you_mean

LEDGER = "run.json"
"""What a finished run writes last."""
WORKSPACE = "workspace.json"
"""What a fit leaves of its model."""


def run_folder(folder: Path) -> Path:
    """The results folder of a finished run; raises OutputError, with the nearest one, if it is none."""
    if (folder / LEDGER).exists():
        return folder
    if (folder.parent / LEDGER).exists():
        hint = f"did you mean {str(folder.parent)!r}?"
    else:
        hint = _nearest(
            folder.name, _folders_with(LEDGER, folder.parent), "'run.py process' makes one"
        )
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


def _folders_with(name: str, parent: Path) -> list[str]:
    return sorted(path.parent.name for path in parent.glob(f"*/{name}"))


def _nearest(word: str, there: list[str], otherwise: str) -> str:
    return did_you_mean(word, there) if there else otherwise
