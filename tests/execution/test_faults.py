"""What goes wrong in a run: the rest is finished, and every event is accounted for."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import uproot

from analysis.datasets.catalogue import Catalogue
from analysis.datasets.checksums import checksum
from analysis.datasets.remote import Access
from analysis.execution.ledger import Ledger
from analysis.execution.loop import FAIL_FAST
from tests.conftest import PROJECT
from tests.execution.processors import Counting, killing_once
from tests.execution.small import (
    CHUNK,
    EVENTS,
    assert_accounted,
    assert_same_output,
    catalogue_of,
    computed,
    make_files,
    needs_dask,
    process,
    run_small,
    start,
)
from tests.servers import xrootd

NAMES = [f"file{i}.root" for i in range(50)]
KILLS = 20
IMPATIENT = {
    "XRD_CONNECTIONWINDOW": "1",
    "XRD_CONNECTIONRETRY": "1",
    "XRD_TIMEOUTRESOLUTION": "1",
    "XRD_STREAMERRORWINDOW": "1",
}
"""Seconds and tries of the XRootD client, less than a server is away in the tests."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifty small files. Not to be changed."""
    folder = tmp_path_factory.mktemp("small")
    make_files(folder, NAMES)
    return folder


@pytest.fixture
def _no_checksums_from_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.usefixtures("_no_checksums_from_before")
@pytest.mark.parametrize("verify", [False, pytest.param(True, marks=pytest.mark.full)])
@pytest.mark.parametrize(
    "executor",
    ["futures", *(pytest.param(e, marks=pytest.mark.full) for e in ("iterative", "dask"))],
)
@needs_dask
def test_bad_files_among_fifty(tmp_path: Path, executor: str, verify: bool) -> None:
    """Each chunk of them fails at once, once; the others are done.

    They are truncated, emptied and missing; where checksums are compared, one has a flipped bit too,
    which is not seen otherwise.
    """
    catalogue = with_checksums(make_files(tmp_path, NAMES))
    content = (tmp_path / NAMES[3]).read_bytes()
    (tmp_path / NAMES[3]).write_bytes(content[:1000])
    (tmp_path / NAMES[20]).write_bytes(b"")
    (tmp_path / NAMES[41]).unlink()
    bad = {3: "truncated", 20: "truncated", 41: "no such file"}
    if verify:
        flip_a_bit(tmp_path / NAMES[30])
        assert process(catalogue_of(tmp_path, [NAMES[30]])).ledger.complete
        bad = {3: "damaged", 20: "damaged", 30: "damaged", 41: "no such file"}
    result = process(catalogue, executor=executor, workers=2, verify=verify)
    assert_accounted(result, catalogue)
    failures = result.ledger.failures
    assert [failure.attempts for failure in failures] == [1] * len(bad) * (EVENTS // CHUNK)
    reasons = {Path(f.file).name: f.reason.partition(":")[0] for f in failures}
    assert reasons == {NAMES[i]: reason for i, reason in bad.items()}
    rest = catalogue_of(tmp_path, [name for i, name in enumerate(NAMES) if i not in bad])
    want = process(rest)
    # The files of the rest are in other datasets: what counts is the sum.
    totals = [sum(o["observable"] for o in r.output.values()) for r in (result, want)]
    for part in ("values", "variances"):
        got, wanted = (getattr(total, part)(flow=True) for total in totals)
        assert got == pytest.approx(wanted, rel=1e-12)
    assert totals[0].sum(flow=True).value > 0


def with_checksums(catalogue: Catalogue) -> Catalogue:
    datasets = {
        name: dataset.model_copy(
            update={"checksums": {f: checksum(f"{catalogue.base}/{f}") for f in dataset.files}}
        )
        for name, dataset in catalogue.datasets.items()
    }
    return catalogue.model_copy(update={"datasets": datasets})


def flip_a_bit(path: Path) -> None:
    """In the values of an uncompressed basket."""
    with uproot.open(path) as file:
        branch = file["Events"]["Muon_pt"]
        middle = branch.member("fBasketSeek")[0] + branch.member("fBasketBytes")[0] // 2
    content = bytearray(path.read_bytes())
    content[middle] ^= 1
    path.write_bytes(content)


@pytest.mark.full
@pytest.mark.parametrize("executor", ["futures", "dask"])
@needs_dask
def test_a_chunk_that_kills_its_worker(tmp_path: Path, executor: str) -> None:
    """It fails after its retries, none of its neighbours does; one that kills once is done."""
    names = [*NAMES[:10], "kill_once.root", *NAMES[10:20], "kill.root"]
    catalogue = make_files(tmp_path, names)
    limit = {"futures": 2, "dask": 0}[executor]
    result = process(catalogue, executor=executor, workers=2, retries=limit)
    assert_accounted(result, catalogue)
    failures = result.ledger.failures
    assert [Path(failure.file).name for failure in failures] == ["kill.root"] * 2
    assert all("died" in failure.reason for failure in failures)
    # Dask does not tell whose death it was: the chunk is tried as often again, alone.
    tries = {"futures": 3, "dask": 2}[executor]
    assert [failure.attempts for failure in failures] == [tries] * 2
    good = names[:-1]
    want = process(catalogue_of(tmp_path, [*good, "kill.root"]).select(["data__a"]))
    assert "data__a" in want.output
    got = result.output["data__a"]["observable"].values(flow=True)
    assert got == pytest.approx(want.output["data__a"]["observable"].values(flow=True), rel=1e-12)


@pytest.mark.full
@needs_dask
def test_the_function_is_sent_anew_where_a_chunk_killed_its_keeper(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else all chunks would fail, as Dask gives a task up that has seen too many deaths."""
    pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
    sent = partial(killing_once, tmp_path / "mark")
    monkeypatch.setattr("analysis.execution.workers.dask._itself", sent)
    catalogue = catalogue_of(folder, NAMES[:6])
    result = process(catalogue, executor="dask", workers=2, retries=0)
    assert (tmp_path / "mark").exists()
    assert result.ledger.complete
    assert_same_output(result, process(catalogue))


@contextmanager
def killer(at_least: int, seed: int, trace: Path) -> Iterator[list[int]]:
    """Kills a child of this process at random moments once chunks are done, until that is enough."""
    killed: list[int] = []
    stop = threading.Event()
    rng = random.Random(seed)

    def kill() -> None:
        seen: dict[int, float] = {}
        while not stop.wait(rng.uniform(0.05, 0.2)) and len(killed) < at_least:
            now = time.monotonic()
            if not trace.exists():
                continue
            alive = [child.pid for child in multiprocessing.active_children() if child.pid]
            for pid in alive:
                seen.setdefault(pid, now)
            # One that has lived for a while: else none would ever finish a chunk.
            grown = [pid for pid in alive if now - seen[pid] > 0.3 and pid not in killed]
            if grown:
                victim = rng.choice(grown)
                with suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
                    killed.append(victim)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        stop.set()
        thread.join()


@pytest.mark.full
@pytest.mark.parametrize(("executor", "seconds"), [("futures", 0.2), ("dask", 0.3)])
@needs_dask
def test_workers_killed_at_random(
    tmp_path: Path, folder: Path, executor: str, seconds: float
) -> None:
    catalogue = catalogue_of(folder, NAMES)
    want = process(catalogue)
    trace = tmp_path / "trace"
    with killer(KILLS, 5, trace) as killed:
        result = process(
            catalogue,
            Counting(trace, seconds),
            executor=executor,
            workers=3,
            retries=10,
        )
    assert len(set(killed)) >= KILLS
    assert result.ledger.complete
    assert_accounted(result, catalogue)
    assert_same_output(result, want)


class Flaky(Counting):
    """Some chunks fail `times` times, as if a server had not answered."""

    def __init__(self, folder: Path, times: int, error: type[Exception] = ConnectionError) -> None:
        super().__init__()
        self.folder, self.times, self.error = folder, times, error

    def process(self, events):  # type: ignore[no-untyped-def]
        name = Path(events.metadata["filename"]).name
        if name in NAMES[:3] and events.metadata["entrystart"] == 0:
            marks = list(self.folder.glob(f"{name}.*"))
            if len(marks) < self.times:
                (self.folder / f"{name}.{len(marks)}").touch()
                msg = "the server went away"
                raise self.error(msg)
        return super().process(events)


@pytest.mark.parametrize("executor", ["iterative", "futures"])
def test_what_may_pass_is_tried_again(tmp_path: Path, folder: Path, executor: str) -> None:
    catalogue = catalogue_of(folder, NAMES[:6])
    result = process(catalogue, Flaky(tmp_path, 2), executor=executor, retries=2)
    assert result.ledger.complete
    assert result.ledger.chunks is not None
    assert result.ledger.chunks.retries == 6
    assert_same_output(result, process(catalogue))


def test_retries_have_a_limit(tmp_path: Path, folder: Path) -> None:
    catalogue = catalogue_of(folder, NAMES[:6])
    result = process(catalogue, Flaky(tmp_path, 3), retries=2)
    assert [failure.attempts for failure in result.ledger.failures] == [3] * 3
    assert {f.reason for f in result.ledger.failures} == {"ConnectionError: the server went away"}
    assert ", 3 attempts" in result.ledger.what_is_missing()
    assert_accounted(result, catalogue)


def test_what_stays_is_not_tried_again(tmp_path: Path, folder: Path) -> None:
    result = process(catalogue_of(folder, NAMES[:6]), Flaky(tmp_path, 1, KeyError), retries=2)
    assert [failure.attempts for failure in result.ledger.failures] == [1] * 3


@pytest.mark.parametrize("executor", ["iterative", "futures"])
def test_fail_fast_stops_at_the_first_failure(folder: Path, executor: str) -> None:
    names = [*NAMES[:4], "missing.root", *NAMES[4:]]
    catalogue = catalogue_of(folder, names)
    result = process(
        catalogue, Counting(seconds=0.05), executor=executor, workers=2, fail_fast=True
    )
    ledger = result.ledger
    assert_accounted(result, catalogue)
    assert len(ledger.failures) == 1
    assert ledger.stopped == FAIL_FAST
    assert 0 < ledger.events_processed < catalogue.events / 2
    assert "chunks were not reached: stopped at the first failure" in ledger.what_is_missing()


@contextmanager
def scheduler_and_workers(
    workers: int, folder: Path
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A Dask cluster of processes of its own: its address, and the scheduler."""
    told = folder / "scheduler.json"
    # Its own interpreter's entry points: there may be no scripts of them.
    module = [sys.executable, "-m"]
    common = ["--scheduler-file", str(told)]
    quiet = {"cwd": PROJECT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = subprocess.Popen(
        [*module, "distributed.cli.dask_scheduler", *common, "--host", "127.0.0.1", "--port", "0",
         "--no-dashboard"], **quiet,
    )  # fmt: skip
    others = [
        subprocess.Popen(
            [*module, "distributed.cli.dask_worker", *common, "--nthreads", "1", "--no-nanny",
             "--no-dashboard", "--host", "127.0.0.1"], **quiet,
        )
        for _ in range(workers)
    ]  # fmt: skip
    try:
        # It is there before it is written.
        while not (told.exists() and told.stat().st_size):
            assert scheduler.poll() is None
            time.sleep(0.05)
        yield json.loads(told.read_text(encoding="utf-8"))["address"], scheduler
    finally:
        for process in (scheduler, *others):
            process.kill()
            process.wait()


def kill_after(process: subprocess.Popen[bytes], trace: Path, chunks: int) -> None:
    while computed(trace).total() < chunks:
        time.sleep(0.05)
    process.kill()


@pytest.mark.full
@needs_dask
def test_a_scheduler_that_is_lost(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line, and what was done is kept: a later run goes on with another executor."""
    pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
    from distributed import Client

    trace = tmp_path / "trace"

    @contextmanager
    def cluster(*_: object) -> Iterator[Client]:
        with scheduler_and_workers(2, tmp_path) as (address, scheduler):
            killing = threading.Thread(target=kill_after, args=(scheduler, trace, 20))
            killing.start()
            client = Client(address)
            yield client
            killing.join()
            client.close(timeout=1)

    monkeypatch.setattr("analysis.execution.loop.connected", cluster)
    catalogue = catalogue_of(folder, NAMES)
    options = {"checkpoints": tmp_path / "checkpoints", "resume": True}
    result = process(catalogue, Counting(trace, 0.05), executor="dask", **options)
    assert_accounted(result, catalogue)
    assert result.ledger.stopped == "the Dask scheduler is gone"
    assert not result.ledger.complete
    trace.unlink()
    again = process(catalogue, Counting(trace, 0.05), executor="futures", **options)
    assert again.ledger.complete
    assert_same_output(again, process(catalogue))


@pytest.mark.full
def test_a_server_that_is_stopped_and_started_again(folder: Path, tmp_path: Path) -> None:
    """For longer than the XRootD client itself waits: what fails meanwhile is tried again."""
    with xrootd(folder) as server:
        out = tmp_path / "out"
        out.mkdir()
        main = start(
            run_small, out, NAMES, 0.1, server.address, IMPATIENT,
            executor="futures", workers=2, retries=8, retry_delay_s=0.5, access=Access(attempts=1),
        )  # fmt: skip
        while computed(out / "trace").total() < 10:
            assert main.is_alive()
            time.sleep(0.02)
        server.stop()
        time.sleep(3)
        server.start()
        main.join(300)
        assert main.exitcode == 0
        ledger = Ledger.load(out)
        assert ledger.complete
        assert ledger.chunks is not None
        assert ledger.chunks.retries > 0
        catalogue = catalogue_of(server.address, NAMES)
        result = process(
            catalogue, Counting(out / "trace", 0.1), checkpoints=out / "checkpoints", resume=True
        )
    assert result.ledger.chunks is not None
    assert result.ledger.chunks.resumed == len(NAMES) * EVENTS // CHUNK
    assert_accounted(result, catalogue)
    assert_same_output(result, process(catalogue_of(folder, NAMES)))


@pytest.mark.full
def test_a_file_of_a_server_that_came_back_is_read_again(folder: Path, tmp_path: Path) -> None:
    """By a process that had it open when the server went: the client's dead handle is forgotten."""
    script = """
import os, sys, time, uproot
from contextlib import suppress
from analysis.datasets.remote import Access
address, stopped, started = sys.argv[1:]
def read():
    with uproot.open(address, **Access(attempts=1, timeout_s=5).options()) as file:
        return file["Events"]["Muon_pt"].array(entry_stop=1)
def wait(path):
    while not os.path.exists(path):
        time.sleep(0.01)
read()
print("read", flush=True)
wait(stopped)
with suppress(OSError, ValueError):
    read()
print("failed", flush=True)
wait(started)
for _ in range(20):
    with suppress(OSError, ValueError):
        read()
        print("again", flush=True)
        break
    time.sleep(0.5)
"""
    with xrootd(folder) as server:
        signs = [tmp_path / "stopped", tmp_path / "started"]
        command = [sys.executable, "-c", script, f"{server.address}/{NAMES[0]}", *map(str, signs)]
        with subprocess.Popen(
            command, cwd=PROJECT, env=os.environ | IMPATIENT, stdout=subprocess.PIPE, text=True
        ) as reader:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "read\n"
            server.stop()
            signs[0].touch()
            assert reader.stdout.readline() == "failed\n"
            server.start()
            signs[1].touch()
            assert reader.stdout.readline() == "again\n"
