"""How a run is done: where, in what pieces, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from analysis.common.errors import ConfigError, did_you_mean
from analysis.datasets.remote import Access
from analysis.execution.workers.cluster_settings import Cluster, Local

EXECUTORS = ("iterative", "futures", "dask")

CHUNK_EVENTS = 150_000
"""Events of a chunk, at most, where nobody says otherwise: a worker then has 500 MB, of which half are
the libraries and 1.5 kB an event the columns and what is made of them. Larger chunks are no faster, as
a file is opened once for all of its chunks; baskets at the border of two chunks are read twice."""


class Limits(NamedTuple):
    """How much of each dataset to process; None for all."""

    max_files: int | None = None
    max_events: int | None = None


@dataclass(frozen=True)
class Execution:
    """Where and in what pieces a run is done.

    Raises ConfigError for an unknown executor, no workers or no events a chunk.
    """

    executor: str = "iterative"
    workers: int = 1
    chunk_size: int = CHUNK_EVENTS
    """Events."""
    progress: bool = False
    retries: int = 3
    """Of a chunk, for what may pass: the network, a worker that was killed."""
    retry_delay_s: float = 1.0
    """Before the first retry; each further one waits twice as long."""
    fail_fast: bool = False
    """Stop at the first chunk that fails, instead of finishing what can be finished."""
    cluster: Cluster = field(default_factory=Local)
    """Of the executor `dask`."""
    max_workers: int | None = None
    """Of an adaptive cluster, that has `workers` at least; None for a fixed number."""
    access: Access = field(default_factory=Access)
    verify: bool = False
    """Hold local files against the catalogue's checksums before anything is read."""

    def __post_init__(self) -> None:
        if self.executor not in EXECUTORS:
            msg = f"unknown executor {self.executor!r}: {did_you_mean(self.executor, EXECUTORS)}"
            raise ConfigError(msg)
        if self.workers < 1:
            msg = f"the number of workers must be at least 1, got {self.workers}"
            raise ConfigError(msg)
        if self.chunk_size < 1:
            msg = f"the chunk size must be at least 1 event, got {self.chunk_size}"
            raise ConfigError(msg)
        if self.retries < 0:
            msg = f"the number of retries must not be negative, got {self.retries}"
            raise ConfigError(msg)
