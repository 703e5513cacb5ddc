"""Settings of a run: where, in what pieces, and how much of each dataset."""

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
    """Largest numbers of files and events of each dataset; None for all."""

    max_files: int | None = None
    max_events: int | None = None


@dataclass(frozen=True)
class Execution:
    """Executor, workers and chunks of a run.

    Raises ConfigError for an unknown executor, no workers or no events a chunk.
    """

    executor: str = "iterative"
    workers: int = 1
    chunk_size: int = CHUNK_EVENTS
    """Events."""
    progress: bool = False
    retries: int = 3
    """Retries of a chunk after temporary failures: the network, a worker that was killed."""
    retry_delay_s: float = 1.0
    """Time before the first retry; each further one waits twice as long."""
    fail_fast: bool = False
    """Whether the run stops at the first chunk that fails."""
    cluster: Cluster = field(default_factory=Local)
    """Cluster of the executor `dask`."""
    max_workers: int | None = None
    """Largest number of workers of an adaptive cluster, `workers` is the smallest; None for a fixed one."""
    access: Access = field(default_factory=Access)
    verify: bool = False
    """Whether local files are compared with the catalogue's checksums before anything is read."""

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
