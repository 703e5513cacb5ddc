"""Dask clusters that are not of this process: the same result, and clear words for what is wrong."""

from __future__ import annotations

import importlib.metadata
import itertools
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from analysis.cli import main
from analysis.common.errors import ConfigError, ExecutionError
from analysis.datasets.bundled import DIMUON_SAMPLE
from analysis.datasets.catalogue import Catalogue
from analysis.dimuon.processor import DimuonAnalysis
from analysis.execution.runner import Result, run
from analysis.execution.settings import Execution
from analysis.execution.workers import clusters
from analysis.execution.workers.cluster_settings import (
    Cluster,
    Gateway,
    HTCondor,
    Local,
    Scheduler,
    Slurm,
    Tls,
    cluster_settings,
    scheduler_settings,
    worker_range,
)
from analysis.execution.workers.clusters import batch_cluster, connected
from tests.clusters import certificate, dask_gateway_server, dask_scheduler, slurm
from tests.conftest import PROJECT

pytestmark = [
    # Of connections that distributed leaves to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

UNUSED = "tcp://127.0.0.1:9"


@pytest.fixture(scope="module")
def small() -> Catalogue:
    return Catalogue.load(DIMUON_SAMPLE)


@pytest.fixture(scope="module")
def reference(small: Catalogue) -> Result:
    return run(DimuonAnalysis(), small)


def on(cluster: Cluster, catalogue: Catalogue, **options: Any) -> Result:
    execution = Execution("dask", cluster=cluster, chunk_size=3000, **options)
    return run(DimuonAnalysis(), catalogue, execution=execution)


def assert_same(got: Result, want: Result) -> None:
    assert got.ledger.complete
    assert got.output == want.output


@pytest.fixture
def stale(tmp_path: Path) -> dict[str, str]:
    """An environment that has another, older package of the same name."""
    for name in ("analysis", "schemas"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("__version__ = '0.0.1'\n")
    return {"PYTHONPATH": str(tmp_path)}


@pytest.mark.full
def test_a_running_scheduler_gets_the_code_and_gives_the_same(
    small: Catalogue, reference: Result, tmp_path: Path, stale: dict[str, str]
) -> None:
    pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
    from distributed import Client

    with dask_scheduler(tmp_path, workers=2, environment=stale) as address:
        with Client(address) as client:
            client.wait_for_workers(2, timeout=60)
            loaded = client.run(lambda: importlib.import_module("analysis").__version__)
        assert set(loaded.values()) == {"0.0.1"}
        for _ in range(2):
            result = on(scheduler_settings(address), small)
            assert_same(result, reference)
        assert result.ledger.executor["cluster"]["address"] == address
        with Client(address) as client:
            plugins = client.run(lambda dask_worker: list(dask_worker.plugins))
    assert not [names for names in plugins.values() if "ttbar-opendata" in names]


@pytest.mark.full
def test_code_of_another_run_on_the_same_scheduler_is_not_used(
    small: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
    from analysis.execution.workers.dask import DaskWorkers

    def replace() -> None:
        importlib.import_module("analysis.execution.workers.shipping").CODE = "another"

    class Replaced(DaskWorkers):
        def start(self, function: Any) -> None:
            super().start(function)
            self._client.run(replace)

    monkeypatch.setattr("analysis.execution.workers.dask.DaskWorkers", Replaced)
    with dask_scheduler(tmp_path) as address:
        ledger = on(scheduler_settings(address), small).ledger
    assert ledger.events_processed == 0
    assert {failure.reason for failure in ledger.failures} == {
        "its worker has got other code, of another run on the same scheduler"
    }


def test_a_cluster_that_does_not_close_is_left_in_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    released, closed = threading.Event(), []

    class Client:
        def close(self, timeout: float) -> None:
            closed.append(timeout)
            raise OSError

    class Hanging:
        def close(self) -> None:
            released.wait()

    monkeypatch.setattr(clusters, "CLOSING_S", 0.2)
    try:
        clusters.close(Client(), Hanging())
    finally:
        released.set()
    assert closed == [0.1]
    assert "the cluster does not close within 0.2 s" in caplog.text


@pytest.mark.full
def test_an_encrypted_scheduler(small: Catalogue, reference: Result, tmp_path: Path) -> None:
    mine, other = certificate(tmp_path, "mine"), certificate(tmp_path, "other")

    def settings(address: str, ca: Path, cert: Path) -> Scheduler:
        tls = Tls(ca=ca, cert=cert, key=cert.with_suffix(".key"))
        return scheduler_settings(address, tls=tls)

    with dask_scheduler(tmp_path, tls=mine) as address:
        assert_same(on(settings(address, mine, mine), small), reference)
        for ca, cert in ((other, mine), (mine, other)):
            with pytest.raises(ConfigError, match="certificate not accepted"):
                on(settings(address, ca, cert), small)
        with pytest.raises(ConfigError, match=r"needs certificates: --tls-ca"):
            on(scheduler_settings(address), small)
        with pytest.raises(ConfigError, match=r"it closed the connection \(does it want tls"):
            on(scheduler_settings(address.replace("tls:", "tcp:")), small)
        broken = tmp_path / "broken.pem"
        broken.write_text("no certificate")
        with pytest.raises(ConfigError, match=r"certificate for tls://"):
            on(settings(address, broken, mine), small)
        with pytest.raises(ConfigError, match=r"certificate .*gone.pem: no such file"):
            on(settings(address, tmp_path / "gone.pem", mine), small)


@pytest.mark.full
def test_dask_s_logs_of_messages_do_not_grow_with_the_chunks() -> None:
    """They are for its developers, and would be most of what the client's memory grows by."""
    pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
    with connected(Local(), 1) as client:
        assert client.scheduler_comm.recent_message_log.maxlen <= 10
        scheduler = client.cluster.scheduler
        comms = [*scheduler.stream_comms.values(), *scheduler.client_comms.values()]
        assert len(comms) == 2
        assert all(comm.recent_message_log.maxlen <= 10 for comm in comms)
        assert scheduler.transition_log.maxlen <= 10


@pytest.mark.full
def test_a_worker_with_other_versions_is_named(small: Catalogue, tmp_path: Path) -> None:
    folder = tmp_path / "site" / "hist-0.0.1.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: hist\nVersion: 0.0.1\n")
    environment = {"PYTHONPATH": str(folder.parent)}
    with dask_scheduler(tmp_path, environment=environment) as address:
        here = importlib.metadata.version("hist")
        found = rf"worker test-0 \(tcp://.*\): hist 0\.0\.1 there, {here} here$"
        with pytest.raises(ExecutionError, match=found):
            on(scheduler_settings(address), small)


@pytest.mark.full
def test_another_python_is_named(
    small: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dask_scheduler(tmp_path) as address:
        monkeypatch.setattr("platform.python_version_tuple", lambda: ("3", "99", "0"))
        found = rf"worker tcp://.*: python 3\.{sys.version_info.minor} there, 3\.99 here"
        with pytest.raises(ExecutionError, match=found):
            on(scheduler_settings(address), small)


@pytest.mark.full
def test_a_scheduler_without_workers(small: Catalogue, tmp_path: Path) -> None:
    with (
        dask_scheduler(tmp_path, workers=0) as address,
        pytest.raises(ExecutionError, match=rf"{address}: no worker within 0.5 s"),
    ):
        on(scheduler_settings(address, wait_s=0.5), small)


def test_a_scheduler_that_is_not_there(small: Catalogue) -> None:
    with pytest.raises(ConfigError, match=rf"{UNUSED}: no answer within 0.5 s"):
        on(scheduler_settings(UNUSED, connect_s=0.5), small)


@pytest.mark.full
def test_jobs_of_a_real_slurm(small: Catalogue, reference: Result, tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue", reason="the extra 'batch' is not installed")
    common = {"interface": "lo", "shared_folder": tmp_path, "local_folder": str(tmp_path)}
    settings = Slurm(partition="main", memory="1 GB", log_folder=tmp_path, **common)
    with slurm(tmp_path):
        assert_same(on(settings, small, workers=2), reference)
        assert_same(on(settings, small, workers=1, max_workers=3), reference)
        with pytest.raises(ConfigError, match=r"sbatch refuses the job: .*Invalid partition"):
            on(settings.model_copy(update={"partition": "nosuch"}), small)
    assert not list(tmp_path.glob(".dask-jobqueue*"))


def script(settings: HTCondor | Slurm) -> str:
    pytest.importorskip("dask_jobqueue", reason="the extra 'batch' is not installed")
    with batch_cluster(settings) as cluster:
        return str(cluster.job_script())


def test_the_script_of_a_slurm_job() -> None:
    """As SLURM's sbatch(1) documents the options."""
    lines = script(
        Slurm(
            interface="lo", tls=False, partition="short", account="cms", walltime="02:00:00",
            cores=4, memory="8 GiB", job_extra=["--constraint=el9"], prologue=["source env.sh"],
            python="/cvmfs/python", worker_args=["--lifetime 110m"],
        )
    ).splitlines()  # fmt: skip
    assert lines[0] == "#!/usr/bin/env bash"
    assert lines[2:11] == [
        "#SBATCH -J ttbar-opendata", "#SBATCH -p short", "#SBATCH -A cms", "#SBATCH -n 1",
        "#SBATCH --cpus-per-task=4", "#SBATCH --mem=8G", "#SBATCH -t 02:00:00",
        "#SBATCH --constraint=el9", "source env.sh",
    ]  # fmt: skip
    command = lines[11]
    assert command.startswith("/cvmfs/python -m distributed.cli.dask_worker tcp://127.0.0.1:")
    assert "--nthreads 1 --memory-limit 2.00GiB --nworkers 4" in command
    assert "--dashboard-address 127.0.0.1:0 --lifetime 110m --interface lo" in command


def test_the_script_of_an_htcondor_job() -> None:
    """As condor_submit(1) and CERN's batch documentation name the commands of a submit file."""
    text = script(
        HTCondor(
            interface="lo", tls=False, memory="2 GiB", disk="3 GiB", python="/cvmfs/python",
            job_extra={"+JobFlavour": '"longlunch"'}, prologue=["source env.sh"],
        )
    )  # fmt: skip
    values = dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line)
    assert values["RequestCpus"] == "MY.DaskWorkerCores"
    assert values["MY.DaskWorkerCores"] == "1"
    assert values["RequestMemory"] == "floor(MY.DaskWorkerMemory / 1048576)"
    assert values["MY.DaskWorkerMemory"] == str(2 * 1024**3)
    assert values["MY.DaskWorkerDisk"] == str(3 * 1024**3)
    assert values["+JobFlavour"] == '"longlunch"'
    assert values["Executable"] == "/bin/sh"
    assert values["Arguments"].startswith(
        "\"-c 'source env.sh; /cvmfs/python -m distributed.cli.dask_worker tcp://127.0.0.1:"
    )
    assert text.splitlines()[-1] == "Queue"


def test_a_batch_worker_is_told_of_the_certificate_and_binds_to_loopback(tmp_path: Path) -> None:
    text = script(Slurm(interface="lo", shared_folder=tmp_path))
    assert "dask_worker tls://127.0.0.1:" in text
    assert f"--tls-key {tmp_path}/.dask-jobqueue.worker.key." in text
    assert "--dashboard-address 127.0.0.1:0" in text


@pytest.mark.parametrize("name", ["shared_folder", "python", "local_folder", "log_folder"])
def test_a_path_with_a_space_is_refused_before_any_job(tmp_path: Path, name: str) -> None:
    pytest.importorskip("dask_jobqueue", reason="the extra 'batch' is not installed")
    values = {"shared_folder": tmp_path} | {name: tmp_path / "my analysis"}
    settings = Slurm.model_validate({"interface": "lo"} | {k: str(v) for k, v in values.items()})
    with pytest.raises(ConfigError, match=f"{name}: .*my analysis' has a space"):
        batch_cluster(settings)


@pytest.mark.parametrize(("settings", "program"), [(Slurm, "sbatch"), (HTCondor, "condor_submit")])
def test_a_machine_that_cannot_submit(
    small: Catalogue,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: type[Slurm | HTCondor],
    program: str,
) -> None:
    pytest.importorskip("dask_jobqueue", reason="the extra 'batch' is not installed")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=f"no program '{program}'"):
        on(settings(interface="lo", tls=False), small)


def test_a_job_that_htcondor_refuses(
    small: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a program of that name that says what condor_submit(1) would: nothing is submitted."""
    pytest.importorskip("dask_jobqueue", reason="the extra 'batch' is not installed")
    program = tmp_path / "condor_submit"
    program.write_text(
        '#!/bin/sh\necho "$@" > "$0.asked"\necho "ERROR: no such flavour" >&2; exit 1\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    settings = HTCondor(interface="lo", tls=False, submit_args=["-spool"])
    with pytest.raises(ConfigError, match="condor_submit refuses the job: ERROR: no such flavour"):
        on(settings, small)
    asked = (tmp_path / "condor_submit.asked").read_text()
    assert asked.startswith("-dry-run /dev/null -spool /")


def test_an_adaptive_cluster_has_jobs_of_one_core(small: Catalogue) -> None:
    pytest.importorskip("dask_jobqueue", reason="the extra 'batch' is not installed")
    with pytest.raises(ConfigError, match="needs jobs of one core, got cores = 2"):
        on(Slurm(interface="lo", cores=2), small, workers=1, max_workers=2)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with dask_gateway_server(tmp_path_factory.mktemp("gateway")) as address:
        yield address


@pytest.mark.full
def test_a_gateway(small: Catalogue, reference: Result, gateway: str) -> None:
    settings = Gateway(address=gateway, options={"worker_cores": 1})
    assert_same(on(settings, small, workers=2), reference)
    found = r"unknown option 'worker_core': did you mean 'worker_cores'"
    with pytest.raises(ConfigError, match=found):
        on(Gateway(address=gateway, options={"worker_core": 1}), small)


def test_a_gateway_that_is_not_there(small: Catalogue) -> None:
    pytest.importorskip("dask_gateway", reason="the extra 'gateway' is not installed")
    with pytest.raises(ConfigError, match=r"gateway http://127.0.0.1:9: Cannot connect"):
        on(Gateway(address="http://127.0.0.1:9"), small)
    with pytest.raises(ConfigError, match=r"gateway: no 'address'"):
        on(Gateway(), small)


@pytest.mark.parametrize(
    ("settings", "module", "extra"),
    [
        (Slurm(interface="lo"), "dask_jobqueue", "batch"),
        (Gateway(), "dask_gateway", "gateway"),
        (Scheduler(address=UNUSED), "distributed", "dask"),
    ],
)
def test_a_kind_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, settings: Cluster, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with (
        pytest.raises(ConfigError, match=rf"needs the extra '{extra}': pip install -e"),
        connected(settings, 1),
    ):
        pass


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (
            "slurm",
            'interface = "lo"\npartion = "x"',
            "partion: unknown key, did you mean 'partition'",
        ),
        ("slurm", 'interface = "lo"\nmemory = "much"', "memory: expected such as 2 GB, got 'much'"),
        ("slurm", 'interface = "lo"\nwalltime = "2 h"', "walltime: expected such as 02:00:00 or"),
        ("slurm", "cores = 2", "one of 'interface' and 'host' is needed"),
        ("slurm", 'interface = "lo"\nhost = "a"', "one of 'interface' and 'host' is needed"),
        ("htcondor", 'interface = "lo"\ncores = 0', "cores: input should be greater than 0"),
        ("htcondor", 'interface = "lo"\npartition = "x"', "partition: unknown key"),
        ("gateway", 'address = "gateway.cern.ch"', "address: expected such as https://HOST"),
        ("gateway", "workers = 0", "workers: expected a range such as 2:20, or a number of at"),
        ("local", 'dashbord = ":0"', "dashbord: unknown key, did you mean 'dashboard'"),
    ],
)
def test_settings_that_are_wrong(tmp_path: Path, kind: str, text: str, message: str) -> None:
    path = tmp_path / "cluster.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        cluster_settings(kind, path)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"configuration {path}: ")
    assert message in line


DOCS = PROJECT / "docs" / "clusters"


@pytest.mark.parametrize("kind", ["slurm", "htcondor", "gateway"])
def test_the_settings_of_the_docs_are_valid(tmp_path: Path, kind: str) -> None:
    text = (DOCS / f"{kind}.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    (tmp_path / "c.toml").write_text(block)
    assert cluster_settings(kind, tmp_path / "c.toml").kind == kind


@pytest.mark.parametrize("page", [*sorted(DOCS.glob("*.md")), PROJECT / "docs" / "scaling.md"])
def test_the_options_of_the_docs_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = page.read_text(encoding="utf-8")
    with pytest.raises(SystemExit):
        main(["process", "--help"])
    with pytest.raises(SystemExit):
        main(["catalogue", "build", "--help"])
    known = capsys.readouterr().out
    commands = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    asked = " ".join(line for block in commands for line in block.splitlines() if "pip" not in line)
    quoted = " ".join(word for word in re.findall(r"`(--[^`]+)`", text) if "lifetime" not in word)
    for option in re.findall(r"--[a-z-]+", f"{asked} {quoted}"):
        assert option in known, option


@pytest.mark.full
def test_one_cluster_after_another_in_a_process_that_had_none() -> None:
    pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
    code = (
        "from analysis.execution.workers.cluster_settings import Local\n"
        "from analysis.execution.workers.clusters import connected\n"
        "for _ in range(2):\n    with connected(Local(), 1) as client:\n"
        "        print(client.submit(abs, -1).result())\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.stdout == "1\n1\n", done.stderr


def test_numbers_of_workers() -> None:
    assert worker_range("4") == worker_range(4) == (4, None)
    assert worker_range("2:20") == (2, 20)
    for wrong in ("0", 0, "-1", "2:", ":2", "0:2", "a", "1.5", "20:2"):
        with pytest.raises(ValueError, match="expected"):
            worker_range(wrong)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scheduler", "localhost"], "expected such as tcp://HOST:8786"),
        (["--scheduler", UNUSED, "--cluster", "slurm"], "not allowed with argument"),
        (["--scheduler", UNUSED, "--workers", "2"], "those of a scheduler that runs already"),
        (["--scheduler", UNUSED, "--executor", "futures"], "of the executor 'dask', not of 'fut"),
        (["--scheduler", UNUSED, "--cluster-settings", "x.toml"], "a scheduler that runs already"),
        (["--scheduler", "tls://127.0.0.1:9", "--tls-ca", "x"], "go together, got only ca"),
        (["--cluster", "slrm"], "unknown cluster 'slrm': did you mean 'slurm'"),
        (["--cluster", "slurm"], "one of 'interface' and 'host' is needed"),
        (["--cluster", "slurm", "--cluster-settings", "no.toml"], "no.toml: No such file"),
        (["--executor", "dask", "--workers", "0"], "at least 1, got '0'"),
        (["--executor", "dask", "--workers", "9:2"], "the larger number last, got '9:2'"),
        (["--executor", "futures", "--workers", "1:2"], "'futures' has a fixed number"),
        (["--tls-ca", "a", "--tls-cert", "b", "--tls-key", "c"], "are for --scheduler tls://"),
    ],
)
def test_options_that_do_not_go(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    command = ["process", "--output", str(tmp_path / "out"), *arguments]
    try:
        status = main(command)
    except SystemExit as caught:
        status = int(caught.code or 0)
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert status == 2
    assert line.startswith("error: ")
    assert message in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("workers", "others_may_come", "said", "ends"),
    [
        (
            [{"status": "paused", "metrics": {"memory": 9e7}, "memory_limit": 1e8}],
            True,
            "are paused",
            True,
        ),
        ([], True, "there are no Dask workers", False),
        ([], False, "there are no Dask workers", True),
        ([{"status": "running"}], False, "", False),
    ],
)
def test_workers_that_take_no_chunks_are_told_and_given_up(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    workers: list[Any],
    others_may_come: bool,
    said: str,
    ends: bool,
) -> None:
    """Those of a batch system may wait in its queue for hours."""
    pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
    from analysis.execution.workers import dask
    from analysis.execution.workers.local import WorkersLost

    clock = itertools.count(step=11)
    monkeypatch.setattr(dask, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    told = SimpleNamespace(identity=lambda _: {"workers": dict(enumerate(workers))})
    client: Any = SimpleNamespace(
        status="running", scheduler=told, sync=lambda ask, n_workers, **_: ask(n_workers)
    )
    found = dask.DaskWorkers(client, others_may_come=others_may_come)
    with pytest.raises(WorkersLost, match=said) if ends else nullcontext():
        for _ in range(60):
            found._look_at_workers(waiting=True)
    assert len(caplog.records) == bool(said)


def test_a_scheduler_that_is_frozen_is_lost() -> None:
    pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
    from analysis.execution.workers import dask
    from analysis.execution.workers.local import WorkersLost

    def late(*_: Any, callback_timeout: float, **__: Any) -> None:
        assert callback_timeout == clusters._ANSWER_S
        raise TimeoutError

    client: Any = SimpleNamespace(
        status="running", scheduler=SimpleNamespace(identity=0), sync=late
    )
    with pytest.raises(WorkersLost, match="the Dask scheduler is gone"):
        dask.DaskWorkers(client).room()
