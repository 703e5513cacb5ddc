"""Dask clusters: started or found, given this package's code, and checked for its versions."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from analysis.common.errors import ConfigError, ExecutionError, did_you_mean
from analysis.common.extras import require_extra
from analysis.common.processes import DASK_MB, require_folder, require_memory, spawn_method
from analysis.execution.signals import held, kill_children, shielded
from analysis.execution.workers import shipping
from analysis.execution.workers.cluster_settings import (
    LOOPBACK,
    Batch,
    Cluster,
    Gateway,
    HTCondor,
    Local,
    Scheduler,
    Slurm,
    Tls,
)

logger = logging.getLogger(__name__)

_LOOK_S = 5.0
"""Wait for a worker before it is looked for why there is none."""
_ANSWER_S = 60.0
"""Time for a scheduler to answer: one that is frozen keeps its connections."""
CLOSING_S = 10
"""Time for a cluster to close before its processes are killed."""
PLUGIN = "ttbar-opendata"
_DASK = {
    # So many of the last messages and transitions, of each connection, are kept for Dask's developers. Its
    # own number, 1000, would make this process grow for the first ten thousand chunks, by 50 MB.
    "distributed.admin.low-level-log-length": 10,
    # Memory that is given back at once has to be had again for the next column: a fifth of the time.
    "distributed.nanny.pre-spawn-environ": {"MALLOC_TRIM_THRESHOLD_": None},
    # Its own 10 ms take a tenth of the time.
    "distributed.worker.profile.interval": "200 ms",
}
"""Settings of Dask for what it starts from here."""
_PATIENCE: dict[str, Any] = {"interval": "5 s", "wait_count": 12}
"""An idle worker is given back after a minute: another one would have to queue and to compile."""
_TRIAL: dict[type[Batch], list[str]] = {
    HTCondor: ["condor_submit", "-dry-run", "/dev/null"],
    Slurm: ["sbatch", "--test-only"],
}
"""Commands that say whether a job would be accepted, and submit nothing."""


@contextmanager
def connected(
    settings: Cluster, workers: int, max_workers: int | None = None, retries: int = 3
) -> Iterator[Any]:
    """Connect a client to the cluster, whose workers get this code; stop both at the end of the block.

    Adaptive between `workers` and `max_workers`, if that is given. Raises ConfigError if a package or
    program is missing or a certificate is wrong, ExecutionError if the scheduler cannot be reached,
    no worker comes in time, or a worker has other versions.
    """
    require_extra("dask", "the executor 'dask'")
    require_memory(DASK_MB)
    import dask

    # Its defaults come with it: within `set` they would be gone in the end, and a second cluster fail.
    import distributed  # noqa: F401

    method = {"distributed.worker.multiprocessing-method": spawn_method()}
    with (
        dask.config.set(_DASK | method),
        _opened(settings, workers, max_workers, retries) as client,
    ):
        yield client


@contextmanager
def _opened(
    settings: Cluster, workers: int, max_workers: int | None, retries: int
) -> Iterator[Any]:
    if isinstance(settings, Local):
        with _local(settings, workers, max_workers, retries) as client:
            yield client
        return
    if isinstance(settings, Scheduler):
        opened = _client_of(settings)
    elif isinstance(settings, Gateway):
        opened = _gateway(settings, workers, max_workers)
    else:
        opened = _batch(settings, workers, max_workers)
    with opened as client:
        _wait_for_worker(client, settings.wait_s)
        with _equipped(client, scheduler_too=not isinstance(settings, Batch)):
            yield client


@contextmanager
def _local(settings: Local, workers: int, max_workers: int | None, retries: int) -> Iterator[Any]:
    """Start a cluster on this machine; a task whose worker dies is run again, `retries` times."""
    import dask
    from distributed import Client, LocalCluster

    allowed = {"distributed.scheduler.allowed-failures": retries}
    require_folder()
    cluster = client = None
    try:
        try:
            with held(), shielded(), dask.config.set(allowed):
                cluster = LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    host="127.0.0.1",
                    dashboard_address=settings.dashboard,
                    # What becomes of a chunk is in its answer; the rest is noise of starting and stopping.
                    silence_logs=logging.CRITICAL,
                )
                client = Client(cluster)
                if max_workers is not None:
                    cluster.adapt(minimum=workers, maximum=max_workers, **_PATIENCE)
        except (RuntimeError, OSError) as error:
            msg = f"the Dask cluster does not start: {_first_cause(error)}"
            raise ExecutionError(msg) from error
        yield client
    finally:
        close(client, cluster)


def _first_cause(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def close(*parts: Any) -> None:
    """Close the parts, None for what was not started, in order and in a bounded time.

    What is left here is killed.
    """
    known = [part for part in parts if part is not None]

    def in_order() -> None:
        for part in known:
            with suppress(Exception):
                if "timeout" in inspect.signature(part.close).parameters:
                    part.close(timeout=CLOSING_S / len(parts))
                else:
                    part.close()

    with held():
        if not _done_in_time(in_order):
            logger.warning(
                "the cluster does not close within %g s: look for its workers", CLOSING_S
            )
        kill_children()
        for part in known:
            # Dask closes what it knows of at the end of Python, and fails on what is half closed.
            part.close = _nothing


def _done_in_time(function: Callable[[], object]) -> bool:
    """Call the function in a thread; return whether it ended within `CLOSING_S`."""
    with held():
        with shielded():
            thread = threading.Thread(target=function, daemon=True)
            thread.start()
        thread.join(CLOSING_S)
    return not thread.is_alive()


def _nothing(*_: Any, **__: Any) -> None:
    pass


@contextmanager
def _client_of(settings: Scheduler) -> Iterator[Any]:
    """Connect to a scheduler that runs already, and goes on."""
    from distributed import Client

    security = _security(settings)
    _require_reachable(settings, security)
    with Client(settings.address, security=security, timeout=settings.connect_s) as client:
        yield client


def _security(settings: Scheduler) -> Any:
    from distributed import Security

    security = Security() if settings.tls is None else _certificates(settings.tls)
    if not settings.address.startswith("tls://"):
        return security
    try:
        context = security.get_connection_args("client").get("ssl_context")
    except OSError as error:
        msg = f"certificate for {settings.address}: {error}"
        raise ConfigError(msg) from error
    if context is None:
        msg = (
            f"{settings.address} needs certificates: --tls-ca, --tls-cert and --tls-key, or "
            "distributed.comm.tls in Dask's own configuration"
        )
        raise ConfigError(msg)
    return security


def _certificates(tls: Tls) -> Any:
    from distributed import Security

    for path in (tls.ca, tls.cert, tls.key):
        if not path.is_file():
            msg = f"certificate {path}: no such file"
            raise ConfigError(msg)
    return Security(
        require_encryption=True,
        tls_ca_file=str(tls.ca),
        tls_client_cert=str(tls.cert),
        tls_client_key=str(tls.key),
    )


def _require_reachable(settings: Scheduler, security: Any) -> None:
    """Probe the address before there is a client: one that fails to connect blocks when disposed of."""
    from distributed.comm.core import CommClosedError, connect

    arguments = security.get_connection_args("client")

    async def probe() -> None:
        comm = await connect(settings.address, timeout=settings.connect_s, **arguments)
        await comm.close()

    try:
        # In a thread of its own: a notebook's has an event loop already.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, probe()).result()
    except CommClosedError as error:
        if settings.address.startswith("tls://"):
            why = f"certificate not accepted, there or here ({error.__cause__ or error})"
        else:
            why = "it closed the connection (does it want tls://, or is it no Dask scheduler?)"
        msg = f"scheduler {settings.address}: {why}"
        raise ConfigError(msg) from error
    except OSError as error:
        why = f" ({error.__cause__})" if error.__cause__ else ""
        msg = f"scheduler {settings.address}: no answer within {settings.connect_s:g} s{why}"
        raise ConfigError(msg) from error


@contextmanager
def _batch(settings: Batch, workers: int, max_workers: int | None) -> Iterator[Any]:
    """Start a scheduler in this process, with jobs of a batch system as workers."""
    from distributed import Client

    if max_workers is not None and settings.cores > 1:
        # With one idle process the job would be taken from the others in the middle of their work.
        msg = f"an adaptive number of workers needs jobs of one core, got cores = {settings.cores}"
        raise ConfigError(msg)
    cluster = client = None
    try:
        with held():
            cluster = batch_cluster(settings)
            client = Client(cluster)
        _require_accepted(settings, cluster.job_script())
        _scale(cluster, workers, max_workers, **_PATIENCE)
        yield client
    finally:
        close(client, cluster)
        # It would leave the certificate's files until it is disposed of.
        for name in ("ca_file", "cert", "key"):
            if (file := getattr(cluster, f"_job_{name}", None)) is not None:
                file.close()


def _require_accepted(settings: Batch, script: str) -> None:
    """Try the job: dask-jobqueue only logs one that is refused later."""
    program, *trial = _TRIAL[type(settings)]
    if isinstance(settings, HTCondor):
        trial += settings.submit_args
    if shutil.which(program) is None:
        msg = f"no program '{program}': start from a machine that can submit jobs"
        raise ConfigError(msg)
    with tempfile.NamedTemporaryFile("w", prefix=PLUGIN, suffix=".sh") as file:
        file.write(script)
        file.flush()
        done = subprocess.run(
            [program, *trial, file.name], capture_output=True, text=True, check=False, timeout=60
        )
    if done.returncode:
        why = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        msg = f"{program} refuses the job: {why[-1].removeprefix(f'{program}: ')}"
        raise ConfigError(msg)


def _require_plain_paths(settings: Batch) -> None:
    """Raise ConfigError for a path that the command of a job, which has no quotes, would be cut at."""
    paths = {
        "shared_folder": settings.shared_folder.absolute() if settings.tls else None,
        "python": settings.python or sys.executable,
        "local_folder": settings.local_folder,
        "log_folder": settings.log_folder,
    }
    for name, path in paths.items():
        if path is not None and re.search(r"[\s'\"\\]", str(path)):
            msg = (
                f"{name}: {str(path)!r} has a space or quote, which jobs of a batch system cannot have: "
                "name another one in --cluster-settings"
            )
            raise ConfigError(msg)


def batch_cluster(settings: Batch) -> Any:
    """Return the cluster of dask-jobqueue, without a job yet."""
    _require_plain_paths(settings)
    kind = "htcondor" if isinstance(settings, HTCondor) else "slurm"
    require_extra("batch", f"--cluster {kind}")
    jobqueue: Any = importlib.import_module("dask_jobqueue")

    scheduler = {"dashboard_address": settings.dashboard, "port": settings.port}
    if settings.host is not None:
        scheduler["host"] = settings.host
    options: dict[str, Any] = {
        "cores": settings.cores,
        "processes": settings.cores,
        "memory": settings.memory,
        "interface": settings.interface,
        "scheduler_options": scheduler,
        "python": settings.python,
        "job_script_prologue": settings.prologue,
        "worker_extra_args": ["--dashboard-address", LOOPBACK, *settings.worker_args],
        "local_directory": settings.local_folder,
        "log_directory": None if settings.log_folder is None else str(settings.log_folder),
        "job_extra_directives": settings.job_extra,  # type: ignore[attr-defined]
        "name": PLUGIN,
        "job_name": PLUGIN,
    }
    if settings.tls:
        options |= {
            "security": True,
            "shared_temp_directory": str(settings.shared_folder.absolute()),
        }
    if isinstance(settings, HTCondor):
        return jobqueue.HTCondorCluster(
            **options, disk=settings.disk, submit_command_extra=settings.submit_args
        )
    if isinstance(settings, Slurm):
        options |= {"queue": settings.partition, "account": settings.account}
        return jobqueue.SLURMCluster(**options, walltime=settings.walltime)
    raise NotImplementedError(type(settings))


@contextmanager
def _gateway(settings: Gateway, workers: int, max_workers: int | None) -> Iterator[Any]:
    """Start a cluster of a Dask Gateway server for this run."""
    require_extra("gateway", "--cluster gateway")
    import dask

    library: Any = importlib.import_module("dask_gateway")

    address = settings.address or dask.config.get("gateway.address")
    if address is None:
        msg = "gateway: no 'address', neither in the settings nor in Dask's own configuration"
        raise ConfigError(msg)
    gateway = library.Gateway(address, proxy_address=settings.proxy_address, auth=settings.auth)
    try:
        _require_offered(settings.options, gateway)
        cluster = gateway.new_cluster(**settings.options)
    except (
        ValueError,
        OSError,
        library.GatewayClusterError,
        library.GatewayServerError,
    ) as error:
        msg = f"gateway {address}: {error or type(error).__name__}"
        raise ConfigError(msg) from error
    finally:
        _close(gateway)
    client = None
    try:
        client = cluster.get_client()
        _scale(cluster, workers, max_workers)
        yield client
    finally:
        close(client, cluster)
        _close(cluster.gateway)


def _close(gateway: Any) -> None:
    """Close the gateway for good: it would close itself again when disposed of, and fail."""
    with suppress(RuntimeError):
        gateway.close()
    gateway.close = lambda: None


def _require_offered(options: dict[str, Any], gateway: Any) -> None:
    offered = list(gateway.cluster_options())
    for name in options:
        if name not in offered:
            msg = (
                f"gateway {gateway.address}: unknown option {name!r}: {did_you_mean(name, offered)}"
            )
            raise ConfigError(msg)


def _scale(cluster: Any, workers: int, max_workers: int | None, **adaptive: Any) -> None:
    if max_workers is None:
        cluster.scale(workers)
    else:
        cluster.adapt(minimum=workers, maximum=max_workers, **adaptive)


def _wait_for_worker(client: Any, wait_s: float) -> None:
    logger.debug("waiting for a worker of %s", client.scheduler.address)
    end = time.monotonic() + wait_s
    why = ""
    while True:
        try:
            client.wait_for_workers(1, timeout=max(0.1, min(_LOOK_S, end - time.monotonic())))
        except TimeoutError as error:
            before, why = why, paused(workers_of(client))
            if why != before:
                logger.warning("%s", why)
            if time.monotonic() >= end:
                msg = f"{client.scheduler.address}: no worker within {wait_s:g} s"
                raise ExecutionError(f"{msg}: {why}" if why else msg) from error
        else:
            return


def identity(client: Any, n_workers: int = -1) -> Any:
    """Return what the scheduler says of itself and some workers. Raises OSError if it does not answer."""
    return client.sync(client.scheduler.identity, n_workers=n_workers, callback_timeout=_ANSWER_S)


def workers_of(client: Any) -> list[dict[str, Any]]:
    return list(identity(client)["workers"].values())


def paused(workers: list[dict[str, Any]]) -> str:
    """Say, where there are workers and each one is paused, that and why; else an empty text."""
    if not workers or any(worker["status"] != "paused" for worker in workers):
        return ""
    fullest = max(workers, key=lambda worker: worker["metrics"].get("memory", 0))
    return (
        f"all workers ({len(workers)}) are paused by Dask for their memory: one has "
        f"{fullest['metrics'].get('memory', 0) / 1e6:.0f} MB of {fullest['memory_limit'] / 1e6:.0f} MB "
        "(--memory-limit of the workers, memory of batch jobs)"
    )


@contextmanager
def _equipped(client: Any, *, scheduler_too: bool) -> Iterator[None]:
    """Give each worker this code and check its versions, also of those that come during the block.

    A worker that comes later with other versions is not let in.
    """
    _require_same_python(client)
    try:
        plugin, equip_scheduler = _equipment()
        try:
            client.register_plugin(plugin)
            if scheduler_too:
                client.run_on_scheduler(equip_scheduler)
        except RuntimeError as error:
            raise ExecutionError(str(error)) from error
        yield
    finally:
        # The scheduler may go on without this run.
        def remove() -> None:
            with suppress(Exception):
                client.unregister_worker_plugin(PLUGIN)

        _done_in_time(remove)


def _require_same_python(client: Any) -> None:
    """Raise ExecutionError for workers of another Python: functions cannot be sent to them."""
    here = ".".join(platform.python_version_tuple()[:2])
    for address, told in client.get_versions()["workers"].items():
        there = ".".join(told["host"]["python"].split(".")[:2])
        if there != here:
            msg = f"worker {address}: python {there} there, {here} here"
            raise ExecutionError(msg)


def _equipment() -> tuple[Any, Any]:
    """Return a plugin for the workers, and a function for a scheduler of another process.

    The scheduler unpacks the tasks too, so it needs what they are made of. Both are sent by value, and so
    use no module of this package before it is there.
    """
    from distributed import WorkerPlugin

    files = shipping.source_files()
    folder = f"ttbar-opendata-{shipping.CODE}"
    content = shipping.archive(files)
    names = tuple({name.partition("/")[0] for name in files})
    here = shipping.versions()
    xrootd = {name: value for name, value in os.environ.items() if name.startswith("XRD_")}

    def equip(who: str, root: str | None) -> None:
        import io
        import os
        import sys
        import tempfile
        import zipfile
        from pathlib import Path

        for name, value in xrootd.items():
            os.environ.setdefault(name, value)
        if not sys.path[0].endswith(folder):
            path = Path(root or tempfile.mkdtemp()) / folder
            zipfile.ZipFile(io.BytesIO(content)).extractall(path)
            # Another version may be installed there, or loaded by an earlier run.
            sys.path.insert(0, str(path))
            for module in list(sys.modules):
                if module.partition(".")[0] in names:
                    del sys.modules[module]
        there: Any = importlib.import_module("analysis.execution.workers.shipping")
        found = there.differences(here)
        if found:
            msg = f"{who}: {'; '.join(found)}"
            raise RuntimeError(msg)

    class Equip(WorkerPlugin):
        name = PLUGIN

        def setup(self, worker: Any) -> None:
            equip(f"worker {worker.name} ({worker.address})", worker.local_directory)

    def equip_scheduler(dask_scheduler: Any) -> None:
        equip(f"scheduler ({dask_scheduler.address})", None)

    return Equip(), equip_scheduler
