"""Clusters on loopback for the tests: a Dask scheduler with workers, certificates, a SLURM."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.servers import free_port

LISTENING = re.compile(r"Scheduler at:\s+(\S+)")


@contextmanager
def process(
    command: Sequence[str | Path], log: Path, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        started = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            env=os.environ | (environment or {}),
            cwd=log.parent,  # where this package is not
        )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(timeout=15)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@contextmanager
def dask_scheduler(
    folder: Path,
    *,
    workers: int = 1,
    tls: Path | None = None,
    environment: dict[str, str] | None = None,
) -> Iterator[str]:
    """Address of a scheduler with workers, as somebody else may have started them."""
    pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
    protocol = ["--protocol", "tls" if tls else "tcp"]
    if tls:
        for name in ("ca-file", "cert", "key"):
            protocol += [f"--tls-{name}", str(tls.with_suffix(".key" if name == "key" else ".pem"))]
    module = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1"]
    command = [*module, "--port", "0", "--dashboard-address", "127.0.0.1:0", *protocol]
    with ExitStack() as stack:
        log = folder / "scheduler.log"
        scheduler = stack.enter_context(process(command, log))
        address = _logged(log, scheduler)
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1"]
        worker += [
            "--no-nanny",
            "--dashboard-address",
            "127.0.0.1:0",
            "--local-directory",
            str(folder),
            *protocol,
        ]
        worker += ["--host", "127.0.0.1"]
        for number in range(workers):
            name = f"test-{number}"
            log = folder / f"{name}.log"
            stack.enter_context(process([*worker, "--name", name], log, environment))
        yield address


def _logged(log: Path, scheduler: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and scheduler.poll() is None:
        if found := LISTENING.search(log.read_text()):
            return found[1]
        time.sleep(0.1)
    pytest.fail(f"the scheduler did not start: {log.read_text()}")


def certificate(folder: Path, name: str) -> Path:
    """A self-signed certificate NAME.pem with its NAME.key."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("no program 'openssl' to make a certificate with")
    command = [program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-subj", f"/CN={name}", "-keyout", str(folder / f"{name}.key")]
    subprocess.run([*command, "-out", folder / f"{name}.pem"], check=True, capture_output=True)
    return folder / f"{name}.pem"


@contextmanager
def slurm(folder: Path) -> Iterator[None]:
    """A SLURM of one node on loopback, its commands set up by SLURM_CONF; skips without one."""
    missing = [name for name in ("slurmctld", "slurmd", "munged") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip("needs root and the programs of SLURM (Debian packages slurm-wlm, munge)")
    node = socket.gethostname().split(".")[0]
    munge = folder / "munge"
    for path in (folder / "state", folder / "spool", munge):
        path.mkdir()
    for parent in (munge, *munge.parents[:-2]):
        parent.chmod(0o755)
    (munge / "key").write_bytes(os.urandom(128))
    for path in (munge, munge / "key"):
        shutil.chown(path, "munge", "munge")
    (munge / "key").chmod(0o400)
    port, node_port = free_port(), free_port()
    (folder / "slurm.conf").write_text(
        f"ClusterName=test\nSlurmctldHost={node}(127.0.0.1)\nSlurmUser=root\n"
        f"SlurmctldPort={port}\nSlurmdPort={node_port}\n"
        f"AuthType=auth/munge\nAuthInfo=socket={munge}/socket\nCredType=cred/munge\n"
        "ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\n"
        "JobAcctGatherType=jobacct_gather/none\nSelectType=select/cons_tres\n"
        "SlurmdParameters=config_overrides\nMpiDefault=none\nReturnToService=2\n"
        "CommunicationParameters=NoCtldInAddrAny,NoInAddrAny\nKillWait=2\n"
        f"SlurmctldPidFile={folder}/slurmctld.pid\nSlurmdPidFile={folder}/slurmd.pid\n"
        f"SlurmctldLogFile={folder}/slurmctld.log\nSlurmdLogFile={folder}/slurmd.log\n"
        f"StateSaveLocation={folder}/state\nSlurmdSpoolDir={folder}/spool\n"
        f"NodeName={node} NodeAddr=127.0.0.1 CPUs=8 RealMemory=20000\n"
        f"PartitionName=main Nodes={node} Default=YES MaxTime=INFINITE State=UP\n"
    )
    configuration = {"SLURM_CONF": str(folder / "slurm.conf")}
    commands = {
        "munged": [
            "munged", "--foreground", f"--key-file={munge}/key", f"--socket={munge}/socket",
            f"--pid-file={munge}/pid", f"--log-file={munge}/log", f"--seed-file={munge}/seed",
        ],
        "slurmctld": ["slurmctld", "-D", "-c"],
        "slurmd": ["slurmd", "-D", "-N", node],
    }  # fmt: skip
    commands["munged"][:0] = ["runuser", "-u", "munge", "--"]
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", configuration["SLURM_CONF"])
        for name, command in commands.items():
            stack.enter_context(process(command, folder / f"{name}.out", configuration))
            if name == "munged":
                _until((munge / "socket").exists)
        _until(lambda: "idle" in _output("sinfo", "-h", "-o", "%T"))
        try:
            yield
        finally:
            # What still runs of a test that failed would outlive the node's daemon.
            _output("scancel", "--user", "root")
            _until(lambda: not _output("squeue", "-h").strip())


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("the batch system did not start")
        time.sleep(0.1)


@contextmanager
def dask_gateway_server(folder: Path) -> Iterator[str]:
    """Address of a Dask Gateway server whose clusters are processes on this machine."""
    pytest.importorskip("dask_gateway", reason="the extra 'gateway' is not installed")
    pytest.importorskip("dask_gateway_server", reason="no package dask-gateway-server")
    from dask_gateway_server.proxy.core import _PROXY_EXE

    if not Path(_PROXY_EXE).exists():
        pytest.skip("dask-gateway-server is installed without its proxy")
    port = free_port()
    python = [sys.executable, "-m"]
    (folder / "config.py").write_text(
        "from dask_gateway_server.options import Options, Integer\n"
        f"c.Proxy.address = '127.0.0.1:{port}'\n"
        f"c.DaskGateway.address = '127.0.0.1:{free_port()}'\n"
        "c.DaskGateway.backend_class = "
        "'dask_gateway_server.backends.local.UnsafeLocalBackend'\n"
        f"c.LocalBackend.clusters_directory = {str(folder)!r}\n"
        f"c.ClusterConfig.scheduler_cmd = {[*python, 'distributed.cli.dask_scheduler']}\n"
        f"c.ClusterConfig.worker_cmd = {[*python, 'distributed.cli.dask_worker']}\n"
        "c.Backend.cluster_options = Options(Integer('worker_cores', default=1, min=1, max=4))\n"
    )
    command = [sys.executable, "-m", "dask_gateway_server", "-f", folder / "config.py"]
    with process(command, folder / "gateway.log"):
        _until(lambda: _answers(port))
        yield f"http://127.0.0.1:{port}"


def _answers(port: int) -> bool:
    try:
        url = f"http://127.0.0.1:{port}/api/health"
        return bool(urllib.request.urlopen(url, timeout=1).status == 200)
    except OSError:
        return False
