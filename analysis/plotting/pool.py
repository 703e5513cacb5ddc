"""Processes that draw: matplotlib draws one figure at a time in a process."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from analysis.common.errors import ConfigError, ExecutionError, OutputError
from analysis.common.processes import end_with_the_parent, same_modules, start_server
from analysis.execution.signals import held, shielded

logger = logging.getLogger(__name__)

_PRELOADED = ["analysis.plotting.figures"]

_T = TypeVar("_T")
_R = TypeVar("_R")


def prepare() -> bool:
    """Let the server of new processes import the figures already now, while the caller does.

    Return whether there is one: below a TMPDIR with a long name its socket cannot be.
    """
    try:
        # What it makes does not get Ctrl-C either.
        with shielded():
            start_server(_PRELOADED)
    except (ConfigError, ExecutionError) as error:
        logger.info("one process draws: %s", error)
        return False
    return True


def mapped(function: Callable[[_T], _R], items: Iterable[_T], processes: int) -> list[_R]:
    """Apply `function` to every item, in their order; in this process if it is only one.

    Raises OutputError if a process dies.
    """
    if processes == 1 or not prepare():
        return [function(item) for item in items]
    context = multiprocessing.get_context("forkserver")
    try:
        with ProcessPoolExecutor(processes, context, end_with_the_parent) as executor:
            # The processes start here; those of a parent that is gone by then complain.
            try:
                with held(), shielded(), same_modules():
                    results = executor.map(function, items)
                return list(results)
            except KeyboardInterrupt:
                executor.shutdown(cancel_futures=True)
                raise
    except BrokenProcessPool as error:
        msg = "a process that draws figures died (killed, or out of memory)"
        raise OutputError(msg) from error
