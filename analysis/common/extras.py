"""Libraries that are installed on request."""

from __future__ import annotations

import importlib.util

from analysis.common.errors import ConfigError

_MODULES = {
    "batch": ("distributed", "dask_jobqueue", "cryptography"),
    "dask": ("distributed",),
    "gateway": ("dask_gateway",),
    "hepdata": ("hepdata_lib",),
    "http": ("aiohttp",),
    "simulate": ("pythia8mc", "fastjet"),
    "xrootd": ("XRootD", "fsspec_xrootd"),
}


def require_extra(extra: str, what: str) -> None:
    """Raise ConfigError, with how to install it, if a library that `what` needs is not installed."""
    if any(importlib.util.find_spec(module) is None for module in _MODULES[extra]):
        msg = f"{what} needs the extra '{extra}': pip install -e '.[{extra}]'"
        raise ConfigError(msg)
