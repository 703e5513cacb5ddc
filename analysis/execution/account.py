"""Answers of workers: merged output of some chunks, and the faults of others."""

from __future__ import annotations

import copy
import pickle
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from coffea.processor import accumulate

from analysis.datasets.read_errors import describe, is_definition, is_transient, retry_after_s
from analysis.datasets.remote import is_of_replica
from analysis.execution.workers.shipping import CODE
from analysis.execution.workers.usage import peak_mb

_CODES = frozenset({CODE})

Output = dict[str, Any]
"""`out` (of the processor) and `metrics` (of the reading), as coffea's Runner wants them.

To its metrics `cpu_s` is added, the processor time of the chunks, in all threads of their workers.
"""


class Fault(NamedTuple):
    """An attempt at a chunk that gave no output."""

    chunk: int
    reason: str
    transient: bool
    tries: int = 1
    """Number of tries; 0 for a chunk that only waited for a worker that died."""
    suspect: bool = False
    """Whether another chunk may have killed the worker: a try alone tells."""
    definition: bool = False
    """A function of the analysis failed, not the file: no other chunk would do better."""
    wait_s: float = 0.0
    """Time that the server asks to wait before the next try."""


class Answer(NamedTuple):
    """Result of some chunks; chunks are numbers: places in the list of the work items."""

    done: list[int]
    faults: list[Fault]
    output: Output | None = None
    """Output of all chunks that are done, merged."""
    warnings: dict[int, str] = {}  # noqa: RUF012 - never changed
    headers: dict[int, str] = {}  # noqa: RUF012 - never changed
    """Fingerprint of the file that was read, for each chunk that is done."""
    peak_mb: float = 0.0
    """The most memory that one of the processes had that did this."""
    codes: frozenset[str] = frozenset()
    """Digests of the code that made it (`shipping.CODE`)."""


@dataclass
class Account:
    """Fate of each chunk, by its number: in one of `done`, `failed`, or not reached."""

    done: set[int] = field(default_factory=set)
    failed: dict[int, str] = field(default_factory=dict)
    """Reasons of failures."""
    warnings: dict[int, str] = field(default_factory=dict)
    attempts: Counter[int] = field(default_factory=Counter)
    peak_mb: float = 0.0
    """The most memory that a worker had."""
    stopped: str = ""
    """Reason why chunks were not reached."""


def attempt(function: Callable[[Any], Any], chunk: int, item: Any) -> Answer:
    """Process a chunk; return any exception as its fault."""
    started = time.process_time()
    try:
        wrapped = function(item)
    except Exception as error:  # noqa: BLE001 - recorded, whatever it is
        waits, definition = retry_after_s(error), is_definition(error)
        passes = is_transient(error) or is_of_replica(error)
        fault = Fault(chunk, describe(error), passes, definition=definition, wait_s=waits)
        return Answer([], [fault], codes=_CODES)
    told = wrapped["out"]
    metrics = wrapped["metrics"] | {"cpu_s": time.process_time() - started}
    output = {"out": told["output"], "metrics": metrics}
    warnings = {chunk: told["warning"]} if told["warning"] else {}
    return Answer([chunk], [], output, warnings, {chunk: told["header"]}, peak_mb(), _CODES)


_unpacked = lru_cache(maxsize=4)(pickle.loads)
"""One function, with one processor, for all chunks of a run in a worker."""


def attempt_packed(packed: bytes, chunk: int, item: Any) -> Answer:
    """Process a chunk with a function that was packed in another process."""

    def function(item: Any) -> Any:
        return _unpacked(packed)(item)

    return attempt(function, chunk, item)


def merge(answers: Sequence[Answer]) -> Answer:
    """Merge answers into a new one."""
    warnings: dict[int, str] = {}
    headers: dict[int, str] = {}
    for answer in answers:
        warnings |= answer.warnings
        headers |= answer.headers
    return Answer(
        [chunk for answer in answers for chunk in answer.done],
        [fault for answer in answers for fault in answer.faults],
        accumulate(answer.output for answer in answers),
        warnings,
        headers,
        max(answer.peak_mb for answer in answers),
        frozenset[str]().union(*(answer.codes for answer in answers)),
    )


def add(total: Output | None, output: Output | None) -> Output | None:
    """Return the sum of two outputs; only `total` may be changed."""
    return copy.deepcopy(output) if total is None else accumulate([output], total)
