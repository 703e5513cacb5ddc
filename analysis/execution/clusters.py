"""Dask clusters, and the clients that speak to them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from analysis.errors import ConfigError, ExecutionError
from analysis.execution.signals import held, kill_children, shielded

CLOSING_S = 10
"""How long a cluster may take to close, before its processes are killed."""


@contextmanager
def local_cluster(workers: int, retries: int = 3) -> Iterator[Any]:
    """A client of a cluster on this machine, stopped in the end.

    A task whose worker dies is given to another one, `retries` times.

    Raises ConfigError if a package that it needs is missing.
    """
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        msg = "the executor 'dask' needs the extra 'dask': pip install -e '.[dask]'"
        raise ConfigError(msg) from error

    allowed = {"distributed.scheduler.allowed-failures": retries}
    cluster = client = None
    try:
        with held(), shielded(), dask.config.set(allowed):
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                # What becomes of a chunk is in its answer; the rest is noise of starting and stopping.
                silence_logs=logging.CRITICAL,
            )
            client = Client(cluster)
    except KeyboardInterrupt:
        close(client, cluster)
        raise
    except (RuntimeError, OSError) as error:
        close(client, cluster)
        msg = f"the Dask cluster does not start: {error}"
        raise ExecutionError(msg) from error
    try:
        yield client
    finally:
        close(client, cluster)


def close(client: Any, cluster: Any) -> None:
    """Close both, as far as they were started, in a bounded time; what is left here is killed."""

    def in_order() -> None:
        for part in (client, cluster):
            with suppress(Exception):
                part.close(timeout=CLOSING_S / 2)

    with shielded():
        closing = threading.Thread(target=in_order, daemon=True)
        closing.start()
    closing.join(CLOSING_S)
    kill_children()
