"""The workers of a Dask cluster: outputs are merged there, and come back for several chunks at once."""

from __future__ import annotations

import logging
import queue
import time
import uuid
from itertools import count
from typing import Any

from distributed import Client, Future, KilledWorker

from analysis.datasets.read_errors import describe, is_transient
from analysis.execution.account import Answer, Fault, attempt_packed, merge
from analysis.execution.workers import shipping
from analysis.execution.workers.clusters import identity, paused, workers_of
from analysis.execution.workers.local import Function, WorkersLost
from analysis.execution.workers.usage import keep_what_is_loaded

logger = logging.getLogger(__name__)

FAN_IN = 16
"""Chunks whose outputs are merged on a worker before they are fetched."""

_PER_THREAD = 3
_AT_LEAST = 2 * FAN_IN
"""Chunks under way; enough to make an adaptive cluster grow, few enough for any scheduler."""
_LOOK_S = 10.0
"""Time without answers before the workers are looked at."""
_PAUSED_S = 300.0
"""Time without a worker that takes chunks before the run gives them up."""
_RESULT_S = 300.0
"""Time for merged output to come from a worker."""
NO_WORKERS = "there are no Dask workers: all have died or ended, or are not started"
_PATIENCE_S = 2.0
"""Time that a finished chunk waits for others to be merged with."""
_MOST_FUNCTIONS = 10
"""How often the function is sent anew because the worker died that had it to keep."""


class DaskWorkers:
    """Workers of a Dask cluster, with chunks as tasks; what is under way is bounded.

    When a worker dies, Dask runs its tasks again elsewhere, up to its `allowed-failures`.
    """

    def __init__(self, client: Client, *, others_may_come: bool = True) -> None:
        """`others_may_come`: workers are waited for where there are none, as those of a batch system."""
        self._client = client
        self._others_may_come = others_may_come
        self._name = uuid.uuid4().hex[:8]
        self._numbers = count()
        self._file: str | None = None
        self._arrived: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self._chunk_of: dict[Future[Any], int] = {}
        self._finished: dict[Future[Any], int] = {}
        self._finished_since = 0.0
        self._merges: dict[Future[Any], dict[Future[Any], int]] = {}
        self._most = _AT_LEAST
        self._most_known_at = -float("inf")
        self._waiting_since = self._looked_at = time.monotonic()

    def start(self, function: Function) -> None:
        self._packed = shipping.pack(function)
        self._functions: list[Future[Any]] = []
        self._send_function()

    def _send_function(self) -> None:
        # A task of its own, so that it goes to each worker once and survives any of them.
        self._functions.append(self._submit("function", _itself, self._packed))

    def room(self) -> int:
        if time.monotonic() - self._most_known_at > _PATIENCE_S:
            self._require_scheduler()
            threads = self._told(identity, 1)["total_threads"]
            self._most = max(_AT_LEAST, _PER_THREAD * threads)
            self._most_known_at = time.monotonic()
        merging = sum(map(len, self._merges.values()))
        return self._most - len(self._chunk_of) - len(self._finished) - merging

    def next_file(self) -> str | None:
        """Return the file of the chunk before: Dask chooses workers, and takes chunks in their order."""
        return self._file

    def give(self, chunk: int, item: Any) -> None:
        self._file = item.filename
        future = self._submit("chunk", _attempt, shipping.CODE, self._functions[-1], chunk, item)
        self._chunk_of[future] = chunk
        future.add_done_callback(self._arrived.put)

    def collect(self, timeout: float) -> list[Answer]:
        answers = []
        arrived = self._arrivals(timeout)
        self._look_at_workers(waiting=not arrived)
        for future in arrived:
            if future.status == "cancelled":
                raise self._lost()
            if future in self._merges:
                answers.append(self._merged(future, self._merges.pop(future)))
            elif future in self._chunk_of:
                chunk = self._chunk_of.pop(future)
                if future.status == "error":
                    answers.append(Answer([], [self._fault(chunk, future.exception())]))
                else:
                    # Where its worker died since, Dask computes it again for the merge.
                    self._finished_since = self._finished_since or time.monotonic()
                    self._finished[future] = chunk
        self._require_scheduler()
        self._start_merges()
        return answers

    def _arrivals(self, timeout: float) -> list[Future[Any]]:
        """Return futures that have arrived, after waiting for the first."""
        found = []
        try:
            found.append(self._arrived.get(timeout=timeout))
            while True:
                found.append(self._arrived.get_nowait())
        except queue.Empty:
            return found

    def _look_at_workers(self, *, waiting: bool) -> None:
        """Warn that no worker takes chunks; raises WorkersLost where that does not pass."""
        now = time.monotonic()
        if not waiting:
            self._waiting_since, self._looked_at = now, now
        elif now - self._looked_at > _LOOK_S:
            self._looked_at = now
            self._require_scheduler()
            workers = self._told(workers_of)
            why = paused(workers) if workers else NO_WORKERS
            if not why:
                self._waiting_since = now
            elif now - self._waiting_since > _PAUSED_S and (workers or not self._others_may_come):
                raise WorkersLost(why)
            elif now - self._waiting_since < 2 * _LOOK_S:
                logger.warning("%s", why)

    def _told(self, ask: Any, *arguments: Any) -> Any:
        try:
            return ask(self._client, *arguments)
        except Exception as error:
            raise self._lost() from error

    def _start_merges(self) -> None:
        waited = time.monotonic() - self._finished_since > _PATIENCE_S
        while len(self._finished) >= FAN_IN or (
            self._finished and (waited or not (self._chunk_of or self._merges))
        ):
            batch = dict(list(self._finished.items())[:FAN_IN])
            for future in batch:
                del self._finished[future]
            merged = self._submit("merge", merge, list(batch), priority=1)
            self._merges[merged] = batch
            merged.add_done_callback(self._arrived.put)
        if not self._finished:
            self._finished_since = 0.0

    def _merged(self, future: Future[Any], batch: dict[Future[Any], int]) -> Answer:
        if future.status != "error":
            try:
                answer: Answer = future.result(_RESULT_S)
            except Exception as error:
                raise self._lost() from error
            return answer
        of_merge = future.exception()
        faults = []
        for one, chunk in batch.items():
            # What was lost with its worker, and could not be had again, is to blame itself.
            own = one.exception() if one.status == "error" else None
            faults.append(self._fault(chunk, of_merge if own is None else own))
        return Answer([], faults)

    def _fault(self, chunk: int, error: BaseException | None) -> Fault:
        if isinstance(error, KilledWorker):
            if self._is_of_function(error):
                return Fault(chunk, "the function was lost with its worker", True, 0)
            deaths = error.allowed_failures + 1
            reason = f"its worker died, {deaths} times (out of memory?)"
            return Fault(chunk, reason, True, deaths, suspect=True)
        assert error is not None
        return Fault(chunk, describe(error), is_transient(error))

    def _is_of_function(self, death: KilledWorker) -> bool:
        """Whether the function was on the worker that a chunk beside it killed; it is sent anew."""
        keys = [function.key for function in self._functions]
        if death.task not in keys or len(keys) > _MOST_FUNCTIONS:
            return False
        if death.task == keys[-1]:
            self._send_function()
        return True

    def _submit(self, kind: str, function: Any, *arguments: Any, priority: int = 0) -> Future[Any]:
        # With tuples for keys all chunks are one group to Dask, which it queues: a worker that dies
        # is then not the death of a long list of chunks that wait for it.
        key = (f"{kind}-{self._name}", next(self._numbers))
        return self._client.submit(function, *arguments, key=key, priority=priority, pure=False)

    def _require_scheduler(self) -> None:
        if self._client.status != "running":
            raise self._lost()

    def _lost(self) -> WorkersLost:
        return WorkersLost("the Dask scheduler is gone")


def _itself(packed: bytes) -> bytes:
    return packed


def _attempt(code: str, packed: bytes, chunk: int, item: Any) -> Answer:
    """Process a chunk, unless another run on the same scheduler has sent its code in between."""
    if code != shipping.CODE:
        reason = "its worker has got other code, of another run on the same scheduler"
        return Answer([], [Fault(chunk, reason, transient=False)])
    keep_what_is_loaded()
    return attempt_packed(packed, chunk, item)
