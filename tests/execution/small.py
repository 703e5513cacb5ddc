"""Small files that are made and read fast, runs over them, and what has to be true of each run."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from analysis.datasets.catalogue import Catalogue, Dataset
from analysis.execution.runner import Result, run
from analysis.execution.settings import Execution
from tests.execution.processors import Counting

needs_dask = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:unclosed")
"""For a test with a Dask cluster."""

EVENTS = 40
CHUNK = 20


def write_file(
    path: Path,
    *,
    seed: int | None = None,
    scale: float = 1,
    events: int = EVENTS,
    compression: Any = None,
) -> None:
    """A tree of muons with some pT; by default the values follow from the file's name."""
    rng = np.random.default_rng(list(path.name.encode()) if seed is None else seed)
    counts = rng.integers(0, 4, events)
    pt = ak.unflatten((scale * rng.exponential(50, counts.sum())).astype(np.float32), counts)
    with uproot.recreate(path, compression=compression) as file:
        muons = {f"Muon_{field}": 0 * pt for field in ("eta", "phi", "mass", "charge")}
        muons["Muon_pt"] = pt
        file.mktree("Events", {name: ak.type(values).content for name, values in muons.items()})
        file["Events"].extend(muons)


def make_files(folder: Path, names: Iterable[str]) -> Catalogue:
    folder.mkdir(exist_ok=True, parents=True)
    names = list(names)
    for name in names:
        write_file(folder / name)
    return catalogue_of(folder, names)


def catalogue_of(folder: Path | str, names: Iterable[str], events: int = EVENTS) -> Catalogue:
    """Half of the files in each of two datasets."""
    names = list(names)
    halves = {"data__a": names[::2], "data__b": names[1::2]}
    datasets = {
        name: Dataset(
            process="data", kind="collision", channel=channel, files=dict.fromkeys(files, events)
        )
        for (name, files), channel in zip(halves.items(), ("muon", "electron"), strict=True)
        if files
    }
    return Catalogue(tree="Events", base=str(folder), datasets=datasets)


def process(catalogue: Catalogue, processor: Counting | None = None, **options: Any) -> Result:
    """`options` of the run itself, and of the execution."""
    of_run = {k: options.pop(k) for k in ("checkpoints", "resume", "limits") if k in options}
    options = {"chunk_size": CHUNK, "retry_delay_s": 0.01} | options
    return run(processor or Counting(), catalogue, execution=Execution(**options), **of_run)


def assert_same_output(got: Result, want: Result) -> None:
    assert got.output.keys() == want.output.keys()
    for name, output in got.output.items():
        assert output["counts"] == want.output[name]["counts"]
        one, two = output["observable"], want.output[name]["observable"]
        assert one.axes == two.axes
        for part in ("values", "variances"):
            first, second = (getattr(h, part)(flow=True) for h in (one, two))
            np.testing.assert_allclose(first, second, rtol=1e-12, atol=0)


def assert_accounted(result: Result, catalogue: Catalogue) -> None:
    """Every event and chunk is done, failed or not reached, and the histograms are of those done."""
    ledger = result.ledger
    failed = sum(failure.events for failure in ledger.failures)
    not_reached = sum(chunk.events for chunk in ledger.not_reached)
    assert ledger.events_expected == catalogue.events
    assert ledger.events_processed + failed + not_reached == catalogue.events
    counted = sum(output["counts"]["events"] for output in result.output.values())
    assert counted == ledger.events_processed
    chunks = ledger.chunks
    assert chunks is not None
    assert chunks.done + chunks.failed + chunks.not_reached == chunks.planned
    assert (chunks.failed, chunks.not_reached) == (len(ledger.failures), len(ledger.not_reached))
    assert bool(ledger.stopped) == bool(ledger.not_reached)


def computed(trace: Path) -> Counter[str]:
    """How often each chunk was computed to its end."""
    return Counter(trace.read_text(encoding="utf-8").splitlines()) if trace.exists() else Counter()


def start(function: Callable[..., object], *arguments: Any, **told: Any) -> Any:
    """A process, in a session of its own, that does this and ends with what it returns as status.

    It is forked from a server that has imported everything, so it starts at once.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.execution.small", "analysis.processor", "analysis.cli"])
    started = context.Process(target=_in_session, args=(function, arguments, told))
    started.start()
    return started


def _in_session(function: Callable[..., Any], arguments: Any, told: Any) -> None:
    os.setsid()
    # The server that this is forked from may have been started where Ctrl-C is kept off.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    sys.exit(function(*arguments, **told))


def run_small(
    folder: Path,
    names: list[str],
    seconds: float,
    base: str = "",
    environment: Mapping[str, str] | None = None,
    **options: Any,
) -> None:
    """A run for `start`: the trace, checkpoints and ledger are left in the folder."""
    os.environ.update(environment or {})
    result = process(
        catalogue_of(base or folder, names),
        Counting(folder / "trace", seconds),
        checkpoints=folder / "checkpoints",
        resume=True,
        **options,
    )
    result.ledger.write(folder)


def session_of(pid: int) -> list[int]:
    """The processes of the session that are not zombies."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if fields[0] != "Z" and int(fields[3]) == pid:
                found.append(int(entry.name))
    return found
