"""Runs: the same result from every executor and chunk size, and every event accounted for."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from analysis import histograms
from analysis.common.errors import CatalogueError, ConfigError, IncompleteError
from analysis.config import AnalysisConfig
from analysis.datasets.catalogue import Catalogue
from analysis.datasets.inventory import check
from analysis.execution.ledger import Ledger
from analysis.execution.runner import Result, run
from analysis.execution.settings import Execution, Limits
from analysis.processor import TtbarAnalysis
from schemas import AGCSchema
from tests.conftest import N_EVENTS, SAMPLES
from tests.ntuples import make_events, write

GOOD = make_events(400, seed=21)


def execute(catalogue: Catalogue, *, limits: Limits | None = None, **execution: Any) -> Result:
    return run(TtbarAnalysis(), catalogue, execution=Execution(**execution), limits=limits)


def one_file(folder: Path, name: str, events: int, *more: tuple[str, int]) -> Catalogue:
    record = {"process": "ttbar", "kind": "signal", "files": dict([(name, events), *more])}
    values = {"base": str(folder), "datasets": {"ttbar__nominal": record}}
    path = folder / "cat.json"
    path.write_text(json.dumps(values))
    return Catalogue.load(path)


def assert_same(got: Result, want: Result) -> None:
    """Counts exactly equal, weighted contents to 1e-12."""
    first, second = histograms.flatten(got.output), histograms.flatten(want.output)
    assert first.keys() == second.keys()
    for name, histogram in first.items():
        other = second[name]
        for axis in histogram.axes:
            if axis.name in ("process", "variation"):
                assert sorted(axis) == sorted(other.axes[axis.name])
        for variation in histogram.axes["variation"] if "/obs" in name else [None]:
            pick = {} if variation is None else {"variation": variation}
            one, two = histogram[pick] if pick else histogram, other[pick] if pick else other
            np.testing.assert_allclose(
                one.values(flow=True), two.values(flow=True), rtol=1e-12, atol=0, err_msg=name
            )
            np.testing.assert_allclose(
                one.variances(flow=True), two.variances(flow=True), rtol=1e-12
            )
    for dataset, output in got.output.items():
        assert output["cutflow"] == want.output[dataset]["cutflow"]
        assert output["counts"] == want.output[dataset]["counts"]


@pytest.fixture(scope="module")
def reference(catalogue: Catalogue) -> Result:
    return execute(catalogue, executor="iterative", chunk_size=100_000)


def test_a_branch_with_one_number_an_event_where_lists_are_expected(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("events", {"jet_corrpt": "f4"}).extend(
            {"jet_corrpt": np.zeros(5, dtype=np.float32)}
        )
    (failure,) = execute(one_file(tmp_path, "a.root", 5)).ledger.failures
    assert failure.attempts == 1
    assert (
        failure.reason == "TypeError: branch 'jet_corrpt' has one number an event, expected a list"
    )


rntuple = pytest.mark.filterwarnings("ignore:the filter_branch kwarg:DeprecationWarning")
"""coffea reads it so."""


@rntuple
def test_an_rntuple_gives_the_same_as_a_tree(tmp_path: Path) -> None:
    """Also where clusters and chunks do not begin at the same events."""
    write(tmp_path / "tree/a.root", GOOD)
    (tmp_path / "ntuple").mkdir()
    with uproot.recreate(tmp_path / "ntuple/a.root") as file:
        written = file.mkrntuple("events", {name: values[:250] for name, values in GOOD.items()})
        written.extend({name: values[250:] for name, values in GOOD.items()})
    tree, ntuple = (one_file(tmp_path / kind, "a.root", 400) for kind in ("tree", "ntuple"))
    assert check(ntuple) == (1, [])
    got = execute(ntuple, chunk_size=150)
    assert got.ledger.complete
    assert_same(got, execute(tree))


@rntuple
def test_an_rntuple_without_a_branch_fails_for_good(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mkrntuple("events", {"met_pt": np.zeros(5)})
    (failure,) = execute(one_file(tmp_path, "a.root", 5)).ledger.failures
    assert failure.attempts == 1
    assert failure.reason == "branch 'PV_npvs' is not in the file: the tree has 1 others"


def test_the_reference_has_content(reference: Result) -> None:
    assert reference.ledger.complete
    assert set(reference.output) == set(reference.ledger.datasets)
    for output in reference.output.values():
        assert output["observable"].sum(flow=True).value > 100


@pytest.mark.parametrize(
    ("executor", "chunk_size"),
    [
        ("iterative", 1000),
        ("futures", 100_000),
        pytest.param("iterative", 100_000, marks=pytest.mark.full),
        pytest.param("futures", 1000, marks=pytest.mark.full),
        pytest.param("dask", 1000, marks=pytest.mark.full),
        pytest.param("dask", 100_000, marks=pytest.mark.full),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_every_executor_and_chunk_size_gives_the_same(
    catalogue: Catalogue, reference: Result, executor: str, chunk_size: int
) -> None:
    if executor == "dask":
        pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
    result = execute(catalogue, executor=executor, workers=2, chunk_size=chunk_size)
    assert result.ledger.complete
    # What the workers used, not this process: their number, and that they have loaded coffea.
    assert result.ledger.cpu_s > 0
    assert result.ledger.peak_memory_mb > 100
    assert_same(result, reference)


def test_odd_chunk_sizes_give_the_same(catalogue: Catalogue, reference: Result) -> None:
    few = catalogue.select(["ttbar__nominal"])
    want = Result({"ttbar__nominal": reference.output["ttbar__nominal"]}, reference.ledger)
    assert_same(execute(few, chunk_size=317), want)


def test_the_ledger_accounts_for_every_file(catalogue: Catalogue, reference: Result) -> None:
    ledger = reference.ledger
    assert ledger.events_processed == ledger.events_expected == len(SAMPLES) * N_EVENTS
    for name, record in ledger.datasets.items():
        assert [file.url for file in record.files] == [f.url for f in catalogue.files_of(name)]
        assert all(file.events_processed == N_EVENTS for file in record.files)
        assert record.fraction == 1
    assert ledger.config_digest == AnalysisConfig().digest
    assert ledger.versions["coffea"].startswith("20")
    assert ledger.bytes_read > 0
    needed = AGCSchema.branches(
        TtbarAnalysis().columns({"process": "ttbar"}) | TtbarAnalysis().columns({"process": "data"})
    )
    assert set(ledger.columns_read) == needed


@pytest.mark.parametrize(
    ("limits", "events", "files"),
    [
        (Limits(max_files=1), N_EVENTS, 1),
        (Limits(max_events=700), 700, 1),
        (Limits(max_events=N_EVENTS + 10), N_EVENTS + 10, 2),
        (Limits(max_files=1, max_events=10**9), N_EVENTS, 1),
    ],
)
def test_limits_are_of_each_dataset(
    catalogue: Catalogue, limits: Limits, events: int, files: int
) -> None:
    result = execute(catalogue.select(["ttbar__nominal"]), limits=limits, chunk_size=600)
    record = result.ledger.datasets["ttbar__nominal"]
    assert record.events_processed == record.events_expected == events
    assert len(record.files) == files
    assert record.fraction == events / (2 * N_EVENTS)
    assert result.ledger.complete
    assert result.output["ttbar__nominal"]["counts"]["events"] == events


@pytest.mark.full
def test_a_plain_coffea_runner_gives_the_same(catalogue: Catalogue, reference: Result) -> None:
    """The processor needs nothing of this package's execution layer."""
    from coffea.processor import IterativeExecutor, Runner

    runner = Runner(IterativeExecutor(status=False), schema=AGCSchema, chunksize=1000)
    few = catalogue.select(["data__SingleMuon", "ttbar__nominal"])
    output = runner(few.fileset(), TtbarAnalysis())
    want = {name: reference.output[name] for name in few.datasets}
    assert_same(Result(output, reference.ledger), Result(want, reference.ledger))


def flip(path: Path, branch: str) -> None:
    """Change bits in the middle of a compressed basket."""
    with uproot.open(path) as file:
        tree = file["events"]
        seek, size = tree[branch].member("fBasketSeek")[0], tree[branch].member("fBasketBytes")[0]
        assert tree[branch].compressed_bytes < 0.9 * tree[branch].uncompressed_bytes
    content = bytearray(path.read_bytes())
    content[seek + size // 2] ^= 0xFF
    path.write_bytes(bytes(content))


def compressible() -> dict[str, Any]:
    events = make_events(3000, seed=3)
    events["met_pt"] = np.arange(3000, dtype=np.float32) // 10
    return events


def _truncated(path: Path) -> None:
    write(path, GOOD)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _corrupted(compression: Any) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        write(path, compressible(), compression=compression)
        flip(path, "met_pt")

    return make


BAD_FILES: dict[str, tuple[Callable[[Path], object], int, str]] = {
    "missing": (lambda _path: None, 400, r"no such file"),
    "folder": (lambda path: path.mkdir(), 400, r"no file, but a folder"),
    "pipe": (os.mkfifo, 400, r"no file, but a pipe or a device"),
    "empty": (
        lambda path: path.touch(),
        400,
        r"truncated: expected Chunk of length \d+, received 0 bytes",
    ),
    "text": (
        lambda path: path.write_text("no ntuple " * 50),
        400,
        r"not a ROOT file: first four bytes are b'no n'$",
    ),
    "truncated": (_truncated, 400, r"truncated: expected Chunk of length"),
    "wrong tree": (
        lambda path: write(path, GOOD, tree="Events"),
        400,
        r"no object 'events', there: Events$",
    ),
    "missing branch": (
        lambda path: write(path, {k: v for k, v in GOOD.items() if k != "muon_sip3d"}),
        400,
        r"branch 'muon_sip3d' is not in the file: nearest there: muon_ip3d",
    ),
    "more events": (lambda path: write(path, GOOD), 399, r"400 events in the file, 399 in the cat"),
    "fewer events": (lambda path: write(path, GOOD), 401, r"400 events in the file, 401 in the c"),
    "zlib": (_corrupted(uproot.ZLIB(1)), 3000, r"damaged: Error -\d"),
    "lz4": (_corrupted(uproot.LZ4(1)), 3000, r"xxHash|checksum|corrupt|decompress"),
    "lzma": (_corrupted(uproot.LZMA(1)), 3000, r"lzma"),
}


# Other compressions are told by another message of their library only.
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.full] if kind in ("lz4", "lzma") else [])
        for kind in BAD_FILES
    ],
)
def test_a_bad_file_is_recorded_and_the_others_are_processed(tmp_path: Path, kind: str) -> None:
    make, events, reason = BAD_FILES[kind]
    write(tmp_path / "good.root", GOOD)
    make(tmp_path / "bad.root")
    catalogue = one_file(tmp_path, "bad.root", events, ("good.root", 400))
    result = execute(catalogue, chunk_size=100_000)
    ledger = result.ledger
    assert not ledger.complete
    assert ledger.events_expected - ledger.events_processed == events
    assert result.output["ttbar__nominal"]["counts"]["events"] == 400
    (failure,) = ledger.failures
    assert failure.file == str(tmp_path / "bad.root")
    with pytest.raises(
        IncompleteError, match=rf"{events} of .* .*/bad.root: .*({reason})"
    ) as caught:
        ledger.require_complete()
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("executor", ["futures", pytest.param("dask", marks=pytest.mark.full)])
def test_a_bad_file_is_recorded_by_every_executor(tmp_path: Path, executor: str) -> None:
    if executor == "dask":
        pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
    write(tmp_path / "good.root", GOOD)
    catalogue = one_file(tmp_path, "missing.root", 400, ("good.root", 400))
    result = execute(catalogue, executor=executor, chunk_size=150)
    assert [failure.reason for failure in result.ledger.failures] == ["no such file"] * 3
    assert result.ledger.events_processed == 400


def test_nothing_but_bad_files(tmp_path: Path) -> None:
    result = execute(one_file(tmp_path, "missing.root", 10))
    assert result.output == {}
    assert result.ledger.events_processed == 0


def test_a_file_without_events_is_opened_and_complete(tmp_path: Path) -> None:
    write(tmp_path / "none.root", {name: values[:0] for name, values in GOOD.items()})
    result = execute(one_file(tmp_path, "none.root", 0))
    assert result.ledger.complete
    assert result.output["ttbar__nominal"]["counts"]["events"] == 0
    broken = execute(one_file(tmp_path, "missing.root", 0))
    assert not broken.ledger.complete


@pytest.mark.full
def test_no_server_at_a_remote_address(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp", reason="the extra 'http' is not installed")
    catalogue = one_file(tmp_path, "a.root", 10)
    catalogue = catalogue.model_copy(update={"base": "http://127.0.0.1:9"})
    (failure,) = execute(catalogue, retries=1, retry_delay_s=0.01).ledger.failures
    assert failure.attempts == 2
    assert failure.file == "http://127.0.0.1:9/a.root"
    assert "annot connect" in failure.reason


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"executor": "future"}, r"unknown executor 'future': did you mean 'futures'"),
        ({"executor": "futures", "workers": 0}, r"workers must be at least 1, got 0"),
        ({"chunk_size": 0}, r"chunk size must be at least 1 event, got 0"),
    ],
)
def test_impossible_executions(catalogue: Catalogue, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        execute(catalogue, **options)


def test_nothing_left_to_process(catalogue: Catalogue) -> None:
    with pytest.raises(CatalogueError, match="nothing to process"):
        execute(catalogue, limits=Limits(max_files=0))
    with pytest.raises(ConfigError, match="max_files must not be negative, got -1"):
        execute(catalogue, limits=Limits(max_files=-1))


def test_the_ledger_is_read_back(tmp_path: Path, reference: Result) -> None:
    reference.ledger.write(tmp_path)
    assert Ledger.load(tmp_path) == reference.ledger
    assert json.loads((tmp_path / "run.json").read_text())["complete"] is True


def test_chunks_cover_each_file_once(catalogue: Catalogue) -> None:
    from analysis.execution.plan import chunks, planned_files

    for size in (1, 7, 999, 2500, 10**6):
        items = chunks(
            planned_files(catalogue, Limits()), catalogue, size, dict.fromkeys(catalogue.datasets)
        )
        assert max(map(len, items)) <= size
        assert len(items) == len(SAMPLES) * math.ceil(N_EVENTS / size)
        assert sum(map(len, items)) == catalogue.events
