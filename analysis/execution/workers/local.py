"""Workers on this machine: this process itself, or processes of which each does one chunk at a time."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from analysis.common.errors import ExecutionError
from analysis.common.processes import end_with_the_parent, same_modules, start_server
from analysis.datasets.read_errors import describe
from analysis.execution.account import Answer, Fault, attempt, attempt_packed
from analysis.execution.signals import held, shielded
from analysis.execution.workers.shipping import pack
from analysis.execution.workers.usage import keep_what_is_loaded

Function = Callable[[Any], Any]

_PRELOADED = ["analysis.processor", "schemas", "analysis.execution.runner"]
_AT_HAND = 2
"""Chunks that a process has: one that it works on, and the next."""


class WorkersLost(ExecutionError):
    """There are no workers any more, and there will not be any."""


class Workers(Protocol):
    """Takes chunks and gives answers; a chunk that was given is answered once."""

    def start(self, function: Function) -> None:
        """Process every chunk that is given from now on with `function`."""

    def room(self) -> int:
        """Return how many more chunks can be given now."""

    def next_file(self) -> str | None:
        """Return the file that the worker of the next chunk has open, as far as is known."""

    def give(self, chunk: int, item: Any) -> None: ...

    def collect(self, timeout: float) -> list[Answer]:
        """Return answers that have come; wait for the first at most `timeout` seconds.

        Raises WorkersLost.
        """


class ThisProcess:
    """This process as the worker: a chunk is processed when it is collected."""

    def __init__(self) -> None:
        self._given: deque[tuple[int, Any]] = deque()
        self._file: str | None = None

    def start(self, function: Function) -> None:
        self._function = function

    def room(self) -> int:
        return 1 - len(self._given)

    def next_file(self) -> str | None:
        return self._file

    def give(self, chunk: int, item: Any) -> None:
        self._file = item.filename
        self._given.append((chunk, item))

    def collect(self, timeout: float) -> list[Answer]:
        if not self._given:
            time.sleep(timeout)
            return []
        return [attempt(self._function, *self._given.popleft())]


class _Process:
    """A worker process, its pipe, and the chunks it has."""

    def __init__(self, packed: bytes) -> None:
        context = multiprocessing.get_context("forkserver")
        self.pipe, theirs = context.Pipe()
        self.given: deque[int] = deque()
        self.file: str | None = None
        """File of the last chunk that was given."""
        arguments = (theirs, packed, dict(os.environ))
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        with same_modules():
            self._process.start()
        theirs.close()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self.pipe.close()

    def exit_code(self) -> int | None:
        self._process.join(1)
        code: int | None = self._process.exitcode
        return code


class Processes:
    """Worker processes with a pipe each, so that a death tells whose it was: no other chunk suffers.

    A process that died is replaced.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._processes: list[_Process] = []
        self._deaths_in_a_row = 0

    def start(self, function: Function) -> None:
        self._packed = pack(function)
        with held(), shielded():
            self._processes = [_Process(self._packed) for _ in range(self._count)]

    def room(self) -> int:
        return sum(_AT_HAND - len(process.given) for process in self._processes)

    def next_file(self) -> str | None:
        return self._next().file

    def give(self, chunk: int, item: Any) -> None:
        process = self._next()
        process.given.append(chunk)
        process.file = item.filename
        # If it has died, the next `collect` finds that out, and who is to blame.
        with suppress(OSError):
            process.pipe.send((chunk, item))

    def collect(self, timeout: float) -> list[Answer]:
        by_pipe: dict[Any, _Process] = {process.pipe: process for process in self._processes}
        return [self._receive(by_pipe[pipe]) for pipe in wait(list(by_pipe), timeout)]

    def close(self) -> None:
        for process in self._processes:
            process.kill()
        self._processes = []

    def _next(self) -> _Process:
        return min(self._processes, key=lambda process: len(process.given))

    def _receive(self, process: _Process) -> Answer:
        try:
            answer: Answer = pickle.loads(process.pipe.recv_bytes())
        except (EOFError, OSError):
            return self._bury(process)
        process.given.popleft()
        self._deaths_in_a_row = 0
        return answer

    def _bury(self, process: _Process) -> Answer:
        """Replace a dead process: its first chunk is to blame, the next is given again."""
        reason = f"its worker process died: {_cause(process.exit_code())}"
        self._deaths_in_a_row += 1
        with held():
            process.kill()
            self._processes.remove(process)
            if self._deaths_in_a_row > max(20, 4 * self._count):
                msg = f"{self._deaths_in_a_row} worker processes died without finishing a chunk"
                raise WorkersLost(msg)
            self._processes.append(_Process(self._packed))
        given = enumerate(process.given)
        return Answer([], [Fault(chunk, reason, True, int(place == 0)) for place, chunk in given])


@contextmanager
def processes(count: int) -> Iterator[Processes]:
    """Start worker processes, and end them with the block.

    Raises ExecutionError or ConfigError where none can be started, before anything is done for them.
    """
    workers = Processes(count)
    with held(), shielded():
        start_server(_PRELOADED)
    try:
        yield workers
    finally:
        with held():
            workers.close()


def _serve(pipe: Connection, packed: bytes, environment: dict[str, str]) -> None:
    """Process chunks from the pipe, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_the_parent()
    os.environ.clear()
    os.environ.update(environment)
    keep_what_is_loaded()
    while True:
        try:
            chunk, item = pipe.recv()
        except EOFError:
            return
        answer = attempt_packed(packed, chunk, item)
        try:
            content = pack(answer)
        except Exception as error:  # noqa: BLE001 - pickling calls what the user wrote
            reason = f"the output cannot be sent: {describe(error)}"
            content = pack(Answer([], [Fault(chunk, reason, transient=False)], codes=answer.codes))
        pipe.send_bytes(content)


def _cause(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"exit status {exit_code}"
    name = signal.Signals(-exit_code).name
    return f"{name} (out of memory?)" if name == "SIGKILL" else name
