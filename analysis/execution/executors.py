"""Where chunks run: coffea's executors, guarded so that a failed chunk is recorded, not fatal."""

from __future__ import annotations

import multiprocessing.forkserver
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

from coffea.processor import DaskExecutor, accumulate
from coffea.processor.executor import ExecutorBase
from coffea.util import rich_bar

from analysis.errors import ExecutionError
from analysis.execution.cluster_settings import Cluster
from analysis.execution.clusters import connected
from analysis.execution.failures import describe

EXECUTORS = ("iterative", "futures", "dask")

_PRELOADED = ["analysis.processor", "schemas", "analysis.execution.runner"]


def guard(function: Callable[[Any], Any], item: Any) -> Any:
    """`function(item)`, or an empty output with the reason why there is none.

    With Dask an item is a pair of work item and processor.
    """
    try:
        return function(item)
    except Exception as error:  # noqa: BLE001 - recorded, whatever it is
        work = item[0] if isinstance(item, tuple) else item
        return {"out": {}, "processed": set(), "failed": {(work, describe(error))}}


@dataclass
class LocalExecutor(ExecutorBase):
    """On this machine: in the processes of a pool, or without one in this process.

    Unlike coffea's executors, it can be silent, and stops at once when interrupted.
    """

    pool: Executor | None = None

    def __call__(
        self, items: Sequence[Any], function: Callable[[Any], Any], accumulator: Any
    ) -> tuple[Any, int]:
        outputs = self._outputs(partial(guard, function), items)
        with rich_bar() if self.status else nullcontext() as progress:
            if progress is not None:
                outputs = progress.track(
                    outputs,
                    total=len(items),
                    task_id=progress.add_task(self.desc, total=len(items), unit=self.unit),
                )
            return accumulate(outputs, accumulator), 0

    def _outputs(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        if self.pool is None:
            yield from map(function, items)
            return
        try:
            with _interrupts_held():
                futures = {self.pool.submit(function, item) for item in items}
            for future in as_completed(futures):
                futures.remove(future)
                yield future.result()
        except BrokenProcessPool as error:
            msg = "a worker process died: killed, or out of memory"
            raise ExecutionError(msg) from error


class GuardedDask(DaskExecutor):
    """In the workers of a Dask cluster."""

    def __call__(
        self, items: Sequence[Any], function: Callable[[Any], Any], accumulator: Any
    ) -> tuple[Any, int]:
        result: tuple[Any, int] = super().__call__(items, partial(guard, function), accumulator)
        return result


@contextmanager
def executor(
    name: str,
    workers: int,
    *,
    progress: bool,
    cluster: Cluster,
    max_workers: int | None,
) -> Iterator[ExecutorBase]:
    """The executor of that name, with what it needs started and, in the end, stopped."""
    if name == "dask":
        with connected(cluster, workers, max_workers) as client:
            yield GuardedDask(client=client, status=progress, retries=0)
    elif name == "futures":
        with _process_pool(workers) as pool:
            yield LocalExecutor(pool=pool, status=progress)
    else:
        yield LocalExecutor(status=progress)


@contextmanager
def _process_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes forked from a server that has imported the analysis, but opened no file yet.

    A plain fork would copy the threads' locks of file readers, and may hang.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    # Ignored from its first moment, Ctrl-C is ignored in all that is forked from the server.
    with _on_interrupt(signal.SIG_IGN):
        multiprocessing.forkserver.ensure_running()
    pool = ProcessPoolExecutor(workers, mp_context=context)
    try:
        yield pool
    except BaseException:
        # Queued chunks would still be run to the end: stop the workers instead.
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown()


@contextmanager
def _on_interrupt(handler: Callable[[int, Any], Any] | signal.Handlers) -> Iterator[None]:
    """Handle Ctrl-C so within the block; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back until the end of the block, so that no process is half started."""
    caught: list[int] = []
    with _on_interrupt(lambda number, _frame: caught.append(number)):
        yield
    if caught:
        raise KeyboardInterrupt
