"""Ctrl-C and SIGTERM: stop in order; a second Ctrl-C kills."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

_HANDLED = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_status = 128 + number


class _Held:
    """Which interrupt came, and whether it waits for the end of a block."""

    depth = 0
    caught = 0
    waits = False


@contextmanager
def handled() -> Iterator[None]:
    """Raise Interrupted for Ctrl-C and SIGTERM, and kill everything at a Ctrl-C after that.

    Only the main thread can; in another one nothing changes. What is ignored, as Ctrl-C is by a job
    in the background of a script, stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _Held.caught, _Held.waits = 0, False
    previous = {
        number: signal.signal(number, _interrupt)
        for number in _HANDLED
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def held() -> Iterator[None]:
    """Hold an interrupt back until the end of the block, so that nothing is left half done."""
    _Held.depth += 1
    try:
        yield
    finally:
        _Held.depth -= 1
    if _Held.waits and _Held.depth == 0:
        _Held.waits = False
        raise Interrupted(_Held.caught)


@contextmanager
def shielded() -> Iterator[None]:
    """Processes that are started in the block, and by threads of it, never get Ctrl-C.

    It goes to the whole process group, but is for the main process to handle.
    """
    # If it had to be started within the block, this helper of multiprocessing would unblock Ctrl-C.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def kill_children() -> None:
    """Of this process, as far as they were started by multiprocessing; Dask's workers are."""
    for child in multiprocessing.active_children():
        child.kill()


def _interrupt(number: int, _frame: Any) -> None:
    if _Held.caught and number == signal.SIGINT:
        kill_children()
        os.write(2, b"killed\n")
        os._exit(128 + number)
    if _Held.caught:
        return  # Batch systems may say it more than once.
    _Held.caught = number
    _Held.waits = _Held.depth > 0
    if not _Held.waits:
        raise Interrupted(number)
