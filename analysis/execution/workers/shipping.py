"""What a worker needs to give the same result: this package's code, and the same versions."""

from __future__ import annotations

import io
import platform
import zipfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from analysis import __version__
from analysis.common.files import short_digest

PACKAGES = ("awkward", "coffea", "hist", "numba", "numpy", "uproot", "vector")
"""What the numbers may depend on."""

SHIPPED = ""
"""Of this process: which code its run sent to the workers, or that it got as a worker; empty for none."""

OWN = ("analysis", "schemas")
"""The packages of this project."""

_ROOT = Path(__file__).parents[3]


def versions() -> dict[str, str]:
    """Of this package, Python, and what the numbers may depend on."""
    return {name: _version(name) for name in ("ttbar-opendata", "python", *PACKAGES)}


def differences(here: Mapping[str, str]) -> list[str]:
    """Where this process has another version than `here`: `coffea 2025.1 there, 2026.9 here`.

    Of Python, the minor version counts: with another one, functions cannot be sent.
    """
    there = {name: _version(name) for name in here}
    return [
        f"{name} {there[name]} there, {wanted} here"
        for name, wanted in here.items()
        if _significant(name, there[name]) != _significant(name, wanted)
    ]


def _version(name: str) -> str:
    """In this process; `none` of a package that is not installed."""
    if name == "ttbar-opendata":
        return __version__
    if name == "python":
        return platform.python_version()
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _significant(name: str, number: str) -> str:
    return ".".join(number.split(".")[:2]) if name == "python" else number


def source_files() -> dict[str, bytes]:
    """The package's own modules: path from its root -> content, in the order of the paths."""
    paths = sorted(path for name in OWN for path in (_ROOT / name).rglob("*.py"))
    return {path.relative_to(_ROOT).as_posix(): path.read_bytes() for path in paths}


def source_digest(files: Mapping[str, bytes]) -> str:
    """Short hash of the modules: the same digest is the same code."""
    return short_digest(
        b"".join(f"{name}\0{len(content)}\0".encode() + content for name, content in files.items())
    )


def archive(files: Mapping[str, bytes]) -> bytes:
    """The modules as a ZIP file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as output:
        for name, content in files.items():
            output.writestr(name, content)
    return buffer.getvalue()
