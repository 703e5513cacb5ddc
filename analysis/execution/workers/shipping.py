"""Code of this process and versions, which workers need to give the same result."""

from __future__ import annotations

import io
import platform
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cloudpickle

from analysis import __version__
from analysis.common.errors import ConfigError
from analysis.common.files import short_digest
from analysis.execution.code import OWN, users_modules

PACKAGES = ("awkward", "coffea", "hist", "numba", "numpy", "uproot", "vector")
"""Packages that the numbers may depend on."""

_ROOT = Path(__file__).parents[3]


def versions() -> dict[str, str]:
    """Return the versions of this package, Python, and what the numbers may depend on."""
    return {name: _version(name) for name in ("ttbar-opendata", "python", *PACKAGES)}


def differences(here: Mapping[str, str]) -> list[str]:
    """Say where this process has another version than `here`: `coffea 2025.1 there, 2026.9 here`.

    Of Python, the minor version counts: with another one, functions cannot be sent.
    """
    there = {name: _version(name) for name in here}
    return [
        f"{name} {there[name]} there, {wanted} here"
        for name, wanted in here.items()
        if _significant(name, there[name]) != _significant(name, wanted)
    ]


def _version(name: str) -> str:
    """Return the version in this process; `none` for a package that is not installed."""
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
    """Return the package's own modules: path from its root -> content, in the order of the paths."""
    paths = sorted(path for name in OWN for path in (_ROOT / name).rglob("*.py"))
    return {path.relative_to(_ROOT).as_posix(): path.read_bytes() for path in paths}


def archive(files: Mapping[str, bytes]) -> bytes:
    """Return the modules as a ZIP file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as output:
        for name, content in files.items():
            output.writestr(name, content)
    return buffer.getvalue()


_LATER = tuple(
    f"analysis/{room}/"
    for room in ("cli", "inference", "plotting", "postprocess", "report", "simulation")
)
"""Rooms of this package that no worker enters."""


def _digests() -> dict[str, str]:
    files = source_files().items()
    return {name: short_digest(content) for name, content in files if not name.startswith(_LATER)}


_LOADED = _digests()
"""Module -> digest of its source. Read when this module is imported: what was imported is known then."""

CODE = short_digest(repr(_LOADED))
"""Digest of this process's own code: each answer of a worker carries that of the code that made it."""


def changed() -> list[str]:
    """Return the modules whose source is another one now than when this process began."""
    now = _digests()
    names = sorted(name for name in {*now, *_LOADED} if now.get(name) != _LOADED.get(name))
    return [name.removesuffix(".py").replace("/", ".") for name in names]


def pack(value: Any) -> bytes:
    """Return the value with all code of the user's own that it needs, as bytes for `pickle.loads`.

    Functions and classes of scripts, notebooks and modules that nobody has installed go by value:
    workers need not find them. Raises what cloudpickle raises for what cannot be sent.
    """
    with _by_value():
        packed: bytes = cloudpickle.dumps(value)
    return packed


@contextmanager
def _by_value() -> Iterator[None]:
    modules = [sys.modules[name] for name in users_modules()]
    before = cloudpickle.list_registry_pickle_by_value()
    mine = [module for module in modules if module.__name__ not in before]
    for module in mine:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in mine:
            cloudpickle.unregister_pickle_by_value(module)


def require_portable(parts: Iterable[tuple[str, Any]]) -> None:
    """Raise ConfigError, with the words for it, for a part that cannot be sent to workers."""
    known = list(parts)
    with suppress(Exception):
        pack([part for _, part in known])
        return  # One by one they take twenty times as long.
    for words, part in known:
        try:
            pack(part)
        except Exception as error:
            msg = f"{words} cannot be sent to workers: {' '.join(str(error).split())}"
            raise ConfigError(msg) from error
