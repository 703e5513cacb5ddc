"""Ctrl-C, SIGTERM and a closed terminal: stop in order; a second Ctrl-C kills."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from typing import Any

from analysis.common.errors import OutputError

_WORDS = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "terminated",
    signal.SIGHUP: "hung up",
}
"""Last word of a program that was ended by a signal."""
_SOON_S = 0.01


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, SIGTERM or SIGHUP."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_status = 128 + number
        self.word = _WORDS[signal.Signals(number)]


class _Held:
    """Interrupt that came, and whether it waits for the end of a block."""

    depth = 0
    caught = 0
    waits = False
    hook: Callable[[Any], object]
    """Hook for other exceptions that Python drops."""


def end_program_at_once() -> None:
    """Let signals end the program wherever they are not `handled`: with a line, and all it started.

    For a program's first line, as Python's own way is a traceback, or nothing.
    """
    for number in _not_ignored():
        signal.signal(number, _end)


@contextmanager
def handled() -> Iterator[None]:
    """Raise Interrupted for Ctrl-C, SIGTERM and SIGHUP, and kill everything at a Ctrl-C after that.

    Only the main thread can; in another one nothing changes. What is ignored, as Ctrl-C is by a job
    in the background of a script, stays so. It is Interrupted too if some library swallows it, or makes
    another error of it, as modules do that are loaded.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous: dict[signal.Signals, Any] = {}
    hook = sys.unraisablehook
    try:
        if hook is not _again_if_lost:
            _Held.hook, sys.unraisablehook = hook, _again_if_lost
        for number in _not_ignored():
            if signal.getsignal(number) is not _interrupt:
                previous[number] = signal.signal(number, _interrupt)
        yield
    except OutputError:
        raise
    except Exception as error:
        if _Held.caught:
            raise Interrupted(_Held.caught) from error
        raise
    else:
        if _Held.caught:
            raise Interrupted(_Held.caught)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook
        if previous:
            _Held.caught, _Held.waits = 0, False


def _again_if_lost(lost: Any) -> None:
    """Send the signal again: Python drops exceptions that are raised while it disposes of something."""
    if not isinstance(lost.exc_value, Interrupted):
        _Held.hook(lost)
        return
    number, _Held.caught = _Held.caught, 0
    threading.Timer(_SOON_S, _send, (number,)).start()


def _send(number: int) -> None:
    main = threading.main_thread().ident
    if main is not None and not _Held.caught:
        signal.pthread_kill(main, number)


def _not_ignored() -> list[signal.Signals]:
    return [number for number in _WORDS if signal.getsignal(number) is not signal.SIG_IGN]


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
    """Keep Ctrl-C off processes that are started in the block, and by threads of it.

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
    """Kill the child processes that multiprocessing started; Dask's workers are among them."""
    for child in multiprocessing.active_children():
        child.kill()


def _end(number: int, _frame: Any, word: str | None = None) -> None:
    kill_children()
    with suppress(OSError):  # the terminal may be gone
        os.write(2, f"{word or _WORDS[signal.Signals(number)]}\n".encode())
    os._exit(128 + number)


def _interrupt(number: int, frame: Any) -> None:
    if _Held.caught and number == signal.SIGINT:
        _end(number, frame, "killed")
    if _Held.caught:
        return  # Batch systems may say it more than once.
    _Held.caught = number
    _Held.waits = _Held.depth > 0
    if not _Held.waits:
        raise Interrupted(number)
