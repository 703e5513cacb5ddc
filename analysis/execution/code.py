"""Whose code a module is: this package's, the user's own, or an installed one."""

from __future__ import annotations

import sys
from pathlib import Path

OWN = ("analysis", "schemas")
"""The packages of this project."""

INSTALLED = {"site-packages", "dist-packages"}
"""Folders of installed packages."""


def top(module: str) -> str:
    """Return the name of the package or module of the top level."""
    return module.partition(".")[0]


def is_own(module: str) -> bool:
    """Return whether the module is of this project."""
    return top(module) in OWN


def is_users(module: str) -> bool:
    """Return whether the module is one that is loaded and that nobody has installed.

    Such are scripts, notebooks (`__main__`), and the modules beside them or on `PYTHONPATH`.
    """
    name = top(module)
    if name in ("__main__", "__mp_main__"):
        return True
    if is_own(name) or name in sys.stdlib_module_names or name not in sys.modules:
        return False
    loaded = sys.modules[name]
    places = [getattr(loaded, "__file__", None), *getattr(loaded, "__path__", ())]
    return any(INSTALLED.isdisjoint(Path(place).parts) for place in places if place)


def users_modules() -> list[str]:
    """Return the user's own modules that are loaded, of the top level, without `__main__`."""
    return [
        name
        for name in list(sys.modules)
        if "." not in name and name not in ("__main__", "__mp_main__") and is_users(name)
    ]
