"""Checkpoints: a run that was cut short goes on where it was, and never with what is not its own."""

from __future__ import annotations

import errno
import logging
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import hist
import numpy as np
import pytest
import uproot

from analysis.common.errors import OutputError
from analysis.config import Binning
from analysis.datasets import remote
from analysis.datasets.catalogue import Catalogue
from analysis.datasets.open_files import KeptOpen
from analysis.datasets.remote import Access
from analysis.dimuon.processor import DimuonConfig
from analysis.execution.checkpoints import archive, provenance
from analysis.execution.checkpoints import store as checkpoints
from analysis.execution.runner import Result
from analysis.execution.settings import Limits
from analysis.execution.workers import shipping
from analysis.processor import TtbarAnalysis
from schemas import AGCSchema
from tests.execution.processors import Counting
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
    session_of,
    start,
    write_file,
)
from tests.servers import http_server, xrootd

DEAD = "http://127.0.0.1:9"
NAMES = [f"file{i}.root" for i in range(12)]
CHUNKS = len(NAMES) * EVENTS // CHUNK
FIRST = Limits(max_files=3)
"""Of each dataset: half of the chunks."""

Log = pytest.LogCaptureFixture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_files(tmp_path, NAMES)
    return tmp_path


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write each chunk as it is finished, however quickly they are."""
    monkeypatch.setattr(checkpoints, "SHARE_OF_TIME", float("inf"))


@pytest.fixture(autouse=True)
def _no_memory_of_failed_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_failed_at", {})


@pytest.fixture
def log(caplog: Log) -> Log:
    caplog.set_level(logging.INFO, logger="analysis")
    return caplog


def again(folder: Path, processor: Counting | None = None, **options: Any) -> tuple[Result, int]:
    """Resume the run in that folder; its result, and how many chunks were computed for it."""
    trace = folder / "trace"
    trace.unlink(missing_ok=True)
    processor = processor or Counting(trace)
    options = {"checkpoints": folder / "checkpoints", "resume": True} | options
    result = process(
        options.pop("catalogue", None) or catalogue_of(folder, NAMES), processor, **options
    )
    return result, computed(trace).total()


def cut_short(folder: Path, processor: Counting | None = None, **options: Any) -> None:
    """Leave a run of which the last file of each dataset could not be read."""
    missing = [folder / name for name in NAMES[-2:]]
    for path in missing:
        path.rename(path.with_suffix(".away"))
    result, _ = again(folder, processor, resume=False, **options)
    assert result.ledger.events_processed == (len(NAMES) - 2) * EVENTS
    for path in missing:
        path.with_suffix(".away").rename(path)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("iterative", "futures"),
        ("futures", "iterative"),
        pytest.param("iterative", "dask", marks=pytest.mark.full),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:unclosed")
def test_another_executor_does_what_is_missing(
    folder: Path, log: Log, first: str, second: str
) -> None:
    cut_short(folder, executor=first)
    result, n = again(folder, executor=second)
    assert n == 4
    assert result.ledger.complete
    assert result.ledger.chunks is not None
    assert result.ledger.chunks.resumed == CHUNKS - 4
    assert_accounted(result, catalogue_of(folder, NAMES))
    assert_same_output(result, process(catalogue_of(folder, NAMES)))
    assert f"{CHUNKS - 4} of {CHUNKS} chunks are done already" in log.text


def test_chunks_that_are_written_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All in one file at the end of the run, and the run's own output is not changed by that."""
    monkeypatch.setattr(checkpoints, "SHARE_OF_TIME", -1)
    cut_short(folder)
    assert len(list((folder / "checkpoints").rglob("*.zip"))) == 1
    result, n = again(folder)
    assert n == 4
    want = process(catalogue_of(folder, NAMES))
    assert_same_output(result, want)
    once, _ = again(folder, resume=False)
    assert_same_output(once, want)


def test_what_was_computed_twice_counts_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two unfinished runs without `--resume`, whose chunks were written in other groups."""
    cut_short(folder)
    monkeypatch.setattr(checkpoints, "SHARE_OF_TIME", -1)
    cut_short(folder)
    assert len(list((folder / "checkpoints").rglob("*.zip"))) == 21
    result, n = again(folder)
    assert n == 4
    assert_same_output(result, process(catalogue_of(folder, NAMES)))


def test_a_complete_run_has_nothing_to_do(folder: Path) -> None:
    first, n = again(folder)
    assert n == CHUNKS
    second, n = again(folder, executor="futures")
    assert n == 0
    assert_same_output(second, first)
    assert second.ledger.bytes_read == first.ledger.bytes_read
    assert second.ledger.columns_read == first.ledger.columns_read == ["Muon_pt"]
    # One file a dataset is left, and what it came from.
    assert len(list((folder / "checkpoints").rglob("*.*"))) == 3


def test_a_complete_run_removes_nothing_that_no_run_made(folder: Path) -> None:
    mine = folder / "checkpoints" / "my_network" / "weights.bin"
    mine.parent.mkdir(parents=True)
    mine.touch()
    again(folder, Other(folder / "trace"))
    result, _ = again(folder)
    assert result.ledger.complete
    assert mine.exists()
    assert len(list((folder / "checkpoints").glob("*/provenance.json"))) == 1


def test_the_output_is_in_the_order_of_the_catalogue(folder: Path) -> None:
    for _ in range(2):
        result, _ = again(folder, catalogue=reversed_datasets(folder))
        assert list(result.output) == ["data__b", "data__a"]


def reversed_datasets(folder: Path) -> Catalogue:
    catalogue = catalogue_of(folder, NAMES)
    datasets = dict(reversed(catalogue.datasets.items()))
    return catalogue.model_copy(update={"datasets": datasets})


def test_new_files_are_added_to_a_complete_run(folder: Path) -> None:
    again(folder, catalogue=catalogue_of(folder, NAMES[:8]))
    result, n = again(folder)
    assert n == 8
    assert_same_output(result, process(catalogue_of(folder, NAMES)))


def test_without_resume_nothing_is_used(folder: Path, log: Log) -> None:
    cut_short(folder)
    _, n = again(folder, resume=False)
    assert n == CHUNKS
    assert "finished chunks of an earlier run are there: --resume uses them" in log.text


def unused(log: Log) -> list[str]:
    return [r.getMessage() for r in log.records if "not used" in r.getMessage()]


class Other(Counting):
    """The same with a configuration."""

    def __init__(self, trace: Path, bins: int = 10) -> None:
        super().__init__(trace)
        self.config = DimuonConfig(mass=Binning(bins=bins, low=0, high=130))


def test_another_configuration(folder: Path, log: Log) -> None:
    cut_short(folder, Other(folder / "trace", bins=10))
    _, n = again(folder, Other(folder / "trace", bins=11))
    assert n == CHUNKS
    assert unused(log) == ["resume: 20 finished chunks are not used: another configuration"]


def test_another_processor(folder: Path, log: Log) -> None:
    cut_short(folder, Other(folder / "trace"))
    _, n = again(folder)
    assert n == CHUNKS
    assert "another processor (tests.execution.test_resume.Other)" in unused(log)[0]


def test_other_code(folder: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """One character more in a module that the processor imports."""
    cut_short(folder)
    changed = folder / "muons.py"
    source = provenance._source("schemas.muons")
    assert source is not None
    changed.write_bytes(source.read_bytes() + b"#")
    real = provenance._source
    monkeypatch.setattr(
        provenance, "_source", lambda name: changed if name == "schemas.muons" else real(name)
    )
    _, n = again(folder)
    assert n == CHUNKS
    assert unused(log) == ["resume: 20 finished chunks are not used: other code (schemas.muons)"]


def test_other_versions(folder: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    real = shipping.version
    monkeypatch.setattr(
        shipping, "version", lambda name: "1.0" if name == "awkward" else real(name)
    )
    cut_short(folder)
    monkeypatch.setattr(shipping, "version", real)
    _, n = again(folder)
    assert n == CHUNKS
    assert "20 finished chunks are not used: other versions (awkward 1.0)" in unused(log)[0]


def test_a_file_that_has_changed(folder: Path, log: Log) -> None:
    """It has another content, but the size and the number of events are the same."""
    cut_short(folder)
    path = folder / NAMES[0]
    size = path.stat().st_size
    write_file(path, scale=2)
    assert path.stat().st_size == size
    result, n = again(folder)
    assert n == 4 + EVENTS // CHUNK
    assert "2 finished chunks are not used: the file has changed" in " ".join(unused(log))
    assert_same_output(result, process(catalogue_of(folder, NAMES)))


def test_a_damaged_file_that_was_repaired(folder: Path, log: Log) -> None:
    """Its header is the same before and after, as are size and number of events."""
    path = folder / NAMES[0]
    good = path.read_bytes()
    path.write_bytes(_with_other_values(path))
    os.utime(path, (0, 0))
    again(folder)
    path.write_bytes(good)
    result, n = again(folder)
    assert n == CHUNKS // 2
    assert "12 finished chunks are not used: the file has changed" in unused(log)[0]
    assert_same_output(result, process(catalogue_of(folder, NAMES)))


def _with_other_values(path: Path) -> bytes:
    """The file, with one of the numbers in its (uncompressed) basket replaced."""
    content = path.read_bytes()
    with uproot.open(path) as file:
        value = ak.flatten(file["Events"]["Muon_pt"].array())[0]
    raw = np.array([value], ">f4").tobytes()
    assert content.count(raw) == 1
    return content.replace(raw, np.array([value + 20], ">f4").tobytes())


@pytest.fixture(params=["http", pytest.param("root", marks=pytest.mark.full)])
def served(request: pytest.FixtureRequest, folder: Path) -> Iterator[tuple[str, Path]]:
    """Address of the files on a server, and the folder that it has them in."""
    if request.param == "http":
        pytest.importorskip("aiohttp", reason="the extra 'http' is not installed")
        with http_server(folder) as address:
            yield address, folder
    else:
        with xrootd(folder) as server:
            yield server.address, server.data


@pytest.mark.full
@pytest.mark.parametrize("by_replica", [False, True])
def test_a_file_that_was_replaced_on_its_server(
    folder: Path, log: Log, served: tuple[str, Path], by_replica: bool
) -> None:
    """As many events, and as many bytes; also where the catalogue's own server is not asked."""
    address, there = served
    options: dict[str, Any] = {"catalogue": catalogue_of(address, NAMES[:4])}
    if by_replica:
        options["catalogue"] = catalogue_of(f"{DEAD}/data", NAMES[:4])
        options["access"] = Access((address.removesuffix("/data"),))
    (folder / "data").symlink_to(folder)
    first, _ = again(folder, **options)
    again(folder, **options)
    assert not unused(log)
    replaced = there / NAMES[0]
    replaced.unlink()
    write_file(replaced, seed=0)
    second, n = again(folder, **options)
    assert n == 4
    assert unused(log) == [
        "resume: 4 finished chunks are not used: the file has changed, or what the catalogue says of it"
    ]
    want = process(options["catalogue"], access=options.get("access", Access()))
    assert_same_output(second, want)
    with pytest.raises(AssertionError):
        assert_same_output(second, first)


def test_a_server_that_is_away_when_all_is_done(folder: Path, log: Log) -> None:
    pytest.importorskip("aiohttp", reason="the extra 'http' is not installed")
    with http_server(folder) as address:
        catalogue = catalogue_of(address, NAMES)
        first, _ = again(folder, catalogue=catalogue)
    second, n = again(folder, catalogue=catalogue)
    assert n == 0
    assert_same_output(second, first)
    assert not unused(log)
    (said,) = [r.getMessage() for r in log.records if r.levelname == "WARNING"]
    assert said.startswith(
        f"resume: {CHUNKS} finished chunks are used though their files ({len(NAMES)}) cannot be looked "
        f"at: {address}/file"
    )


def test_a_file_that_is_replaced_while_the_run_reads_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its chunks are not of one file; `--resume` computes anew what was read before."""
    processed = Counting.process

    def replacing(self: Counting, events: Any) -> Any:
        told = events.metadata
        if (
            Path(told["filename"]).name == NAMES[0]
            and told["entrystart"] == 0
            and (folder / "intact").exists()
        ):
            (folder / "intact").unlink()
            (folder / NAMES[0]).unlink()
            write_file(folder / NAMES[0], seed=0)
            KeptOpen._sources.clear()
        return processed(self, events)

    (folder / "intact").touch()
    monkeypatch.setattr(Counting, "process", replacing)
    result, _ = again(folder, catalogue=catalogue_of(folder, NAMES[:2]))
    (failure,) = result.ledger.failures
    assert failure.reason == f"a file was replaced while the run read it: {folder / NAMES[0]}"
    assert (failure.first_event, failure.attempts) == (CHUNK, 1)
    assert_accounted(result, catalogue_of(folder, NAMES[:2]))
    second, n = again(folder, catalogue=catalogue_of(folder, NAMES[:2]))
    assert n == 2
    assert second.ledger.complete
    assert_same_output(second, process(catalogue_of(folder, NAMES[:2])))


def test_no_more_than_the_first_files_of_a_dead_server_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def first_bytes(address: str, **_: Any) -> Any:
        asked.append(address)
        time.sleep(0.01)
        raise TimeoutError

    monkeypatch.setattr("fsspec.core.url_to_fs", first_bytes)
    found, unknown = remote.headers([f"{DEAD}/{n}.root" for n in range(300)], Access())
    assert (len(found), len(unknown)) == (0, 300)
    assert len(asked) <= 2 * remote._THREADS
    assert unknown[f"{DEAD}/299.root"] == f"OSError: {DEAD}: no answer before"


def test_other_chunk_sizes_and_catalogues(folder: Path, log: Log) -> None:
    cut_short(folder)
    _, n = again(folder, chunk_size=EVENTS)
    assert n == len(NAMES)
    assert "other chunk sizes or limits" in unused(log)[0]


def test_files_that_are_not_in_this_run(folder: Path, log: Log) -> None:
    cut_short(folder)
    few = catalogue_of(folder, NAMES[:4])
    result, n = again(folder, catalogue=few)
    assert n == 0
    assert_same_output(result, process(few))
    assert unused(log) == [
        "resume: 12 finished chunks are not used: with files that are not in this run"
    ]


@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "a folder"])
def test_a_damaged_checkpoint_is_computed_again(folder: Path, log: Log, damage: str) -> None:
    cut_short(folder)
    path = max((folder / "checkpoints").rglob("*.zip"))
    n_chunks = int(path.stem.rpartition("_")[2])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "a folder":
        path.unlink()
        path.mkdir()
    else:
        damaged = {"flipped": content, "cut": content[: len(content) // 2], "emptied": b""}[damage]
        path.write_bytes(damaged)
    result, n = again(folder)
    assert n == 4 + n_chunks
    assert f"{n_chunks} finished chunks are not used: damaged" in unused(log)[0]
    assert_same_output(result, process(catalogue_of(folder, NAMES)))


def test_no_flipped_bit_is_taken_for_a_result(folder: Path) -> None:
    """Not even those of which a zip file has no checksum."""
    cut_short(folder)
    path = next((folder / "checkpoints").rglob("*.zip"))
    content = path.read_bytes()
    assert checkpoints._read(path)[0] is not None
    for place in range(0, len(content), 13):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        assert checkpoints._read(path) == (None, None)


def test_warnings_are_remembered(folder: Path) -> None:
    write_file(folder / NAMES[0], scale=-1)
    first, _ = again(folder, resume=False)
    second, n = again(folder)
    assert n == 0
    assert [d.file for d in first.ledger.doubtful] == [str(folder / NAMES[0])] * 2
    assert second.ledger.doubtful == first.ledger.doubtful


@pytest.mark.full
@needs_dask
def test_killed_at_ten_random_moments(tmp_path: Path) -> None:
    """SIGKILL of the main process: nothing computed twice beyond what was in flight, no orphan.

    Of so many chunks that some are left after ten kills, however late a busy machine makes these.
    """
    pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
    from analysis.execution.workers.dask import FAN_IN

    folder, names = tmp_path, [f"file{i}.root" for i in range(80)]
    make_files(folder, names)
    rng = random.Random(3)
    seconds, workers = 0.1, 2
    kills, at_least, in_flight = 0, 0, 0
    # Computed, and the chunk before whose result is being written; with Dask all under way: none of
    # these is kept before it is merged with others.
    most = {"iterative": 2, "futures": workers + 1, "dask": 2 * FAN_IN}
    trace = folder / "trace"
    while kills < 10:
        executor = list(most)[kills % 3]
        main = start(run_small, folder, names, seconds, executor=executor, workers=workers)
        while main.is_alive() and computed(trace).total() < at_least:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.2))
        if not main.is_alive():
            break
        os.kill(main.pid, signal.SIGKILL)
        main.join()
        kills += 1
        in_flight += most[executor]
        at_least = computed(trace).total() + 1
        deadline = time.monotonic() + 60
        while session_of(main.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not session_of(main.pid)
    assert kills == 10
    catalogue = catalogue_of(folder, names)
    result = process(catalogue, Counting(trace), checkpoints=folder / "checkpoints", resume=True)
    assert result.ledger.complete
    assert_accounted(result, catalogue)
    assert_same_output(result, process(catalogue))
    times = computed(trace)
    assert len(times) == len(names) * EVENTS // CHUNK
    assert times.total() - len(times) <= in_flight


def test_a_full_disk_ends_the_run_in_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written before is used when there is room again."""
    real, written = Path.write_bytes, []

    def write(path: Path, content: bytes) -> int:
        if len(written) == 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(path)
        return real(path, content)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", write)
        with pytest.raises(OutputError, match=r"cannot write .*zip: No space left on device"):
            again(folder)
    result, n = again(folder)
    assert n == CHUNKS - 5
    assert result.ledger.complete


def test_what_cannot_be_saved_is_named() -> None:
    with pytest.raises(OutputError, match="cannot be saved: out/a/1 is a object"):
        archive.pack({"out": {"a": [1, object()]}})


def test_all_of_an_array_counts(folder: Path, log: Log) -> None:
    """Also what its text leaves out, and in a histogram all but the axes and the sum."""
    weights = np.ones(5000)
    pileup = hist.Hist.new.Reg(3, 0, 1).Double()
    pileup[...] = [1, 2, 3]
    for changed in (lambda: None, lambda: weights.__setitem__(2500, 2), lambda: swap(pileup)):
        changed()
        processor = Counting(folder / "trace")
        processor.tables = {"weights": weights, "pileup": pileup}  # type: ignore[attr-defined]
        _, n = again(folder, processor)
        assert n == CHUNKS
    assert [line.rpartition(": ")[2] for line in unused(log)] == [
        "another table 'weights'",
        "another table 'pileup'",
    ]
    _, n = again(folder, processor)
    assert n == 0


def swap(histogram: hist.Hist) -> None:
    histogram[...] = histogram.values()[::-1]


def test_the_code_of_a_processor_is_all_that_it_imports() -> None:
    found = provenance.modules(["analysis.processor"])
    assert {
        "analysis.selection.objects",
        "analysis.config",
        "analysis.histograms",
        "analysis",
    } <= set(found)
    assert not {"analysis.results", "analysis.plotting", "analysis.execution.runner"} & set(found)


def test_modules_beside_that_of_the_processor_are_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for name, text in (
        ("my_processor", "import json\nimport numpy\nimport my_weights"),
        ("my_weights", "from my_package.tables import TABLE"),
        ("my_package.tables", "TABLE = 1"),
        ("my_package.__init__", ""),
        ("my_other", ""),
    ):
        path = tmp_path / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    found = provenance.modules(["my_processor"])
    assert list(found) == ["my_package", "my_package.tables", "my_processor", "my_weights"]
    assert found["my_package"] == tmp_path / "my_package" / "__init__.py"


def test_a_class_without_a_module_has_the_code_of_its_bases(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As one of a notebook that changes a step of the analysis."""

    class Mine(TtbarAnalysis):
        pass

    monkeypatch.setattr(Mine, "__module__", "__main__")
    code = provenance.provenance(Mine(), AGCSchema).code
    assert {"analysis.processor", "analysis.selection.objects", "schemas.agc"} <= code.keys()
    assert not any(name.startswith(("coffea", "abc")) for name in code)
