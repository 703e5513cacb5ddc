"""Processes that are started from here, and the modules that they load."""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from analysis.common.errors import ConfigError, ExecutionError

LIBRARIES_MB = 1000
"""Addresses that a process takes which has loaded all libraries."""
DASK_MB = 1500
"""The same of a process with the threads of Dask."""

_starting = threading.RLock()


@contextmanager
def same_modules() -> Iterator[None]:
    """Give processes that start in the block the module path of this one, one thread, and no main module.

    Else the server of new processes looks for modules in the current folder first (CPython before
    3.12.8 and 3.13.1: python/cpython#117378), each process runs the user's script once more, and linear
    algebra has a thread for every core in every process, unless OMP_NUM_THREADS says how many.
    """
    with _starting:
        main = sys.modules["__main__"]
        given = {
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PYTHONSAFEPATH": "1",
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        }
        known = {name: os.environ.get(name) for name in given}
        sys.modules["__main__"] = ModuleType("__main__")
        os.environ.update(given)
        try:
            yield
        finally:
            sys.modules["__main__"] = main
            for name, value in known.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


class _Spawned(SpawnProcess):
    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        with same_modules():
            return SpawnProcess._Popen(process_obj)


class _SameModules(SpawnContext):
    _name = "same_modules"
    Process = _Spawned


def spawn_method() -> str:
    """Return the name of a method that spawns processes by `same_modules`, for `get_context`."""
    method = _SameModules._name
    multiprocessing.context._concrete_contexts[method] = _SameModules()  # type: ignore[attr-defined]
    return method


def start_server(preload: Sequence[str]) -> None:
    """Start what new processes are forked from, with the modules `preload`, if it does not run yet.

    It has opened no file: a plain fork would copy the locks of this process's threads, and may hang.
    Raises ConfigError where this process cannot have others, ExecutionError where none start.
    """
    require_folder()
    if multiprocessing.current_process().daemon:
        msg = "a worker process (of Dask, or of a pool) cannot start others: use one process here"
        raise ConfigError(msg)
    multiprocessing.set_forkserver_preload(list(preload))
    try:
        with same_modules():
            forkserver.ensure_running()
    except OSError as error:
        msg = (
            f"cannot start worker processes: {error.strerror or error} (temporary folder, from TMPDIR: "
            f"{tempfile.gettempdir()})"
        )
        raise ExecutionError(msg) from error


def require_docstrings() -> None:
    """Raise ConfigError where Python drops docstrings: coffea (2026.9) adds to one, and cannot be loaded."""
    if sys.flags.optimize > 1:
        msg = "Python runs without docstrings (-OO, PYTHONOPTIMIZE=2), which coffea needs: use -O at most"
        raise ConfigError(msg)


def require_threads() -> None:
    """Raise ConfigError for a number of threads in the environment that numba cannot be loaded with."""
    name = "NUMBA_NUM_THREADS"
    with suppress(ValueError):  # numba itself warns of a word
        if int(os.environ.get(name, "1")) < 1:
            msg = f"{name}={os.environ[name]}: expected a number of at least 1"
            raise ConfigError(msg)


def require_memory(megabytes: int) -> None:
    """Raise ConfigError where a process may not have these addresses: libraries that are loaded end in
    errors of any kind, or abort the process, and threads that cannot start make others wait for ever.
    """
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < megabytes * 2**20:
        msg = (
            f"a process may have {limit / 2**20:.0f} MB of memory (ulimit -v): at least {megabytes} MB "
            "are needed, as the libraries claim more than they use"
        )
        raise ConfigError(msg)


def require_folder() -> None:
    """Raise ConfigError if the current folder is gone: no process can be started from there."""
    try:
        Path.cwd()
    except FileNotFoundError as error:
        msg = "the current folder was removed: go to another one (cd), and start again"
        raise ConfigError(msg) from error


def end_with_the_parent() -> None:
    """Let this process end when the one that started it does, however that ends."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
