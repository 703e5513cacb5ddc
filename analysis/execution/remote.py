"""What reading from servers needs: packages, and an XRootD client that gives up in time."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable

from analysis.errors import ConfigError

TIMEOUT_S = 60
"""Of one request to a server."""

_PACKAGES = {
    "root": ("xrootd", ("XRootD", "fsspec_xrootd")),
    "http": ("http", ("aiohttp",)),
    "https": ("http", ("aiohttp",)),
}
"""Scheme of an address -> extra of this package, modules that it brings."""

_XROOTD_DEFAULTS = {
    "XRD_CONNECTIONWINDOW": "10",
    "XRD_CONNECTIONRETRY": "2",
    "XRD_TIMEOUTRESOLUTION": "5",
}
"""Seconds, tries, seconds. The client's own 120 s and 5 tries make a dead server take minutes."""


def prepare(urls: Iterable[str]) -> None:
    """Make ready for reading the files; nothing happens where they are local.

    The client's settings are given by the environment, to be in force in worker processes too; what
    the user has set there stays. Raises ConfigError if a package that is needed is not installed.
    """
    schemes = {url.partition("://")[0] for url in urls if "://" in url}
    for scheme in sorted(schemes & _PACKAGES.keys()):
        extra, modules = _PACKAGES[scheme]
        if any(importlib.util.find_spec(module) is None for module in modules):
            msg = f"reading {scheme}:// needs the extra '{extra}': pip install -e '.[{extra}]'"
            raise ConfigError(msg)
    if "root" in schemes:
        for name, value in _XROOTD_DEFAULTS.items():
            os.environ.setdefault(name, value)
