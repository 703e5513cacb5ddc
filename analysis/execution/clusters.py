"""Dask clusters, and the clients that speak to them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from analysis.errors import ConfigError


@contextmanager
def local_cluster(workers: int) -> Iterator[Any]:
    """A client of a cluster on this machine, stopped in the end.

    Raises ConfigError if a package that it needs is missing.
    """
    try:
        from distributed import Client, LocalCluster, WorkerPlugin
    except ImportError as error:
        msg = "the executor 'dask' needs the extra 'dask': pip install -e '.[dask]'"
        raise ConfigError(msg) from error

    class IgnoreInterrupts(WorkerPlugin):
        """Ctrl-C goes to the whole process group, but is for the main process to handle."""

        def setup(self, worker: Any) -> None:  # noqa: ARG002 - the interface
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
    ):
        client.register_plugin(IgnoreInterrupts())
        yield client
