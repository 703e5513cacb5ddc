"""Dask clusters, and the clients that speak to them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from analysis.errors import ConfigError
from analysis.execution.signals import kill_children, shielded

CLOSING_S = 10
"""How long a cluster may take to close, before its processes are killed."""


@contextmanager
def local_cluster(workers: int) -> Iterator[Any]:
    """A client of a cluster on this machine, stopped in the end.

    Raises ConfigError if a package that it needs is missing.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        msg = "the executor 'dask' needs the extra 'dask': pip install -e '.[dask]'"
        raise ConfigError(msg) from error

    with shielded():
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        )
        client = Client(cluster)
    try:
        yield client
    finally:
        close(client, cluster)


def close(client: Any, cluster: Any) -> None:
    """Close both in a bounded time; what is left of the cluster on this machine is killed."""

    def in_order() -> None:
        with suppress(Exception):
            client.close(timeout=CLOSING_S / 2)
        with suppress(Exception):
            cluster.close(timeout=CLOSING_S / 2)

    with shielded():
        closing = threading.Thread(target=in_order, daemon=True)
        closing.start()
    closing.join(CLOSING_S)
    kill_children()
