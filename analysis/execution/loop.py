"""Where chunks run, and the loop that hands them out and accounts for each one."""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

from coffea.processor.executor import ExecutorBase

from analysis.common.errors import DefinitionError
from analysis.execution.account import Account, Answer, Fault, Output, add
from analysis.execution.progress import Progress
from analysis.execution.settings import Execution
from analysis.execution.signals import held
from analysis.execution.workers.cluster_settings import Local
from analysis.execution.workers.clusters import connected
from analysis.execution.workers.local import ThisProcess, Workers, WorkersLost, processes
from analysis.execution.workers.shipping import CODE
from analysis.execution.workers.usage import kept_what_is_loaded

FAIL_FAST = "stopped at the first failure"
OTHER_CODE = "its worker has other code than this process"
REPLACED = "a file was replaced while the run read it"
_LOOK_S = 1.0
"""Longest wait for answers before other work is looked for."""


class _Ready:
    """Chunks to be handed out, by file: the first ones of each first, in the order of the files.

    To open a file takes as long as to process 50,000 events, so that a worker is given the chunks of
    the file that it has open, before another one is; and those of others' files at the end only.
    """

    def __init__(self, files: Mapping[int, str]) -> None:
        self._file_of = files
        self._untouched: dict[str, deque[int]] = {}
        self._begun: dict[str, deque[int]] = {}
        for chunk, file in files.items():
            self._untouched.setdefault(file, deque()).append(chunk)

    def __bool__(self) -> bool:
        return bool(self._untouched or self._begun)

    def add(self, chunk: int, *, first: bool = False) -> None:
        """Add a chunk that was handed out before."""
        chunks = self._begun.setdefault(self._file_of[chunk], deque())
        (chunks.appendleft if first else chunks.append)(chunk)

    def pop(self, file: str | None) -> int:
        """Take the next chunk for a worker that has `file` open."""
        if file not in self._begun:
            file = next(iter(self._untouched or self._begun))
            if file in self._untouched:
                self._begun.setdefault(file, deque()).extend(self._untouched.pop(file))
        chunk = self._begun[file].popleft()
        if not self._begun[file]:
            del self._begun[file]
        return chunk


class _Waiting:
    """Chunks that wait: to be handed out, for the time of their next try, or to be tried alone."""

    def __init__(self, files: Mapping[int, str]) -> None:
        """`files` of the chunks, in their order."""
        self._ready = _Ready(files)
        self._delayed: list[tuple[float, int]] = []
        self._suspects: deque[int] = deque()

    def __bool__(self) -> bool:
        return bool(self._ready or self._delayed or self._suspects)

    def at_once(self, chunk: int) -> None:
        self._ready.add(chunk, first=True)

    def later(self, chunk: int, delay: float) -> None:
        heapq.heappush(self._delayed, (time.monotonic() + delay, chunk))

    def alone(self, chunk: int) -> None:
        self._suspects.append(chunk)

    def next(self, file: str | None, *, idle: bool) -> int | None:
        """Take the next chunk to hand out now, if any, for a worker that has `file` open.

        A suspect only where nothing else is under way.
        """
        while self._delayed and self._delayed[0][0] <= time.monotonic():
            self._ready.add(heapq.heappop(self._delayed)[1])
        if self._ready:
            return self._ready.pop(file)
        if idle and not self._delayed and self._suspects:
            return self._suspects.popleft()
        return None

    def seconds(self) -> float:
        """Return the time until there may be something to hand out."""
        if not self._delayed:
            return _LOOK_S
        return min(_LOOK_S, max(0.0, self._delayed[0][0] - time.monotonic()))


class ChunkLoop(ExecutorBase):
    """An executor of coffea's Runner: chunks to workers, merged output back, an account of each chunk.

    At most as many chunks as the workers have room for are under way. What may pass is tried again,
    `execution.retries` times, with twice the delay each time. A chunk that may have killed its worker
    is tried again alone, to tell it from its neighbours.
    """

    def __init__(
        self,
        workers: Workers,
        execution: Execution,
        numbers: Sequence[int],
        account: Account,
        total: Output | None = None,
        read: Mapping[str, str] | None = None,
    ) -> None:
        """`numbers` are those of the chunks; `total` is output to add to, of files with the fingerprints
        `read`.
        """
        super().__init__(status=execution.progress)
        self.account = account
        self.total = total
        self.keep: Callable[[Answer], None] = _forget
        """Called with each answer that has output."""
        self._workers = workers
        self._execution = execution
        self._numbers = numbers
        self._read = dict(read or {})

    def copy(self, **_: Any) -> Self:
        """Return this executor: the Runner's words for a progress bar are not needed."""
        return self

    def __call__(
        self,
        items: Sequence[Any],
        function: Callable[[Any], Any],
        accumulator: Any,  # noqa: ARG002 - the interface
    ) -> tuple[Output, int]:
        self._items = dict(zip(self._numbers, items, strict=True))
        self._waiting = _Waiting({n: item.filename for n, item in self._items.items()})
        self._under_way: set[int] = set()
        self._tried_alone: set[int] = set()
        self._workers.start(function)
        with Progress(items, shown=self._execution.progress) as self._progress:
            try:
                self._loop()
            except WorkersLost as error:
                self.account.stopped = str(error)
        # Without the metrics: the Runner would change them.
        return {"out": self.total["out"] if self.total else {}}, 0

    def _loop(self) -> None:
        while (self._waiting or self._under_way) and not self.account.stopped:
            self._hand_out()
            for answer in self._workers.collect(self._waiting.seconds()):
                with held():
                    self._take(answer)

    def _hand_out(self) -> None:
        for _ in range(self._workers.room()):
            chunk = self._waiting.next(self._workers.next_file(), idle=not self._under_way)
            if chunk is None:
                return
            self._under_way.add(chunk)
            self._workers.give(chunk, self._items[chunk])

    def _take(self, answer: Answer) -> None:
        account = self.account
        if answer.codes != {CODE} and (answer.done or answer.codes):
            answer = Answer([], [Fault(chunk, OTHER_CODE, False) for chunk in _chunks(answer)])
        elif (file := self._replaced(answer)) is not None:
            answer = self._without_output(answer, file)
        for fault in answer.faults:
            self._under_way.discard(fault.chunk)
            self._judge(fault)
        if answer.done:
            self._under_way.difference_update(answer.done)
            account.done.update(answer.done)
            account.attempts.update(answer.done)
            account.warnings |= answer.warnings
            account.peak_mb = max(account.peak_mb, answer.peak_mb)
            self.keep(answer)
            self.total = add(self.total, answer.output)
        self._progress.show(answer, len(account.failed))

    def _replaced(self, answer: Answer) -> str | None:
        """Return a file of the answer that is another one than was read before, if there is one."""
        for chunk, fingerprint in answer.headers.items():
            file = self._items[chunk].filename
            if self._read.setdefault(file, fingerprint) != fingerprint:
                return str(file)
        return None

    def _without_output(self, answer: Answer, replaced: str) -> Answer:
        """Drop merged output, which cannot be split: chunks of other files are tried again."""
        faults = [
            Fault(chunk, f"{REPLACED}: {replaced}", self._items[chunk].filename != replaced)
            for chunk in answer.done
        ]
        return Answer([], answer.faults + faults)

    def _judge(self, fault: Fault) -> None:
        """Give up on the chunk, or say when it is to be tried again.

        Raises DefinitionError for a fault of the analysis.
        """
        if fault.definition:
            raise DefinitionError(fault.reason)
        chunk, account = fault.chunk, self.account
        account.attempts[chunk] += fault.tries
        if fault.tries == 0:
            self._waiting.at_once(chunk)
        elif fault.suspect and chunk not in self._tried_alone:
            self._tried_alone.add(chunk)
            self._waiting.alone(chunk)
        elif fault.transient and account.attempts[chunk] <= self._execution.retries:
            delay = self._execution.retry_delay_s * 2 ** (account.attempts[chunk] - 1)
            self._waiting.later(chunk, max(delay, fault.wait_s))
        else:
            account.failed[chunk] = fault.reason
            if self._execution.fail_fast:
                account.stopped = FAIL_FAST


def _chunks(answer: Answer) -> list[int]:
    return [*answer.done, *(fault.chunk for fault in answer.faults)]


def _forget(_: Answer) -> None:
    pass


@contextmanager
def workers(execution: Execution) -> Iterator[Workers]:
    """Start the workers of an execution, and stop them at the end of the block."""
    if execution.executor == "dask":
        with connected(
            execution.cluster, execution.workers, execution.max_workers, execution.retries
        ) as client:
            from analysis.execution.workers.dask import DaskWorkers

            yield DaskWorkers(client, others_may_come=not isinstance(execution.cluster, Local))
    elif execution.executor == "futures":
        with processes(execution.workers) as found:
            yield found
    else:
        with kept_what_is_loaded():
            yield ThisProcess()
