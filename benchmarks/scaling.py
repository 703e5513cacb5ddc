"""What `docs/scaling.md` reckons with: bytes and time an event, a merge, and a task of Dask.

Usage: python benchmarks/scaling.py FILE [copies of its events, default 500] [tasks, default 2000]

FILE is a POET flat ntuple of tt̄ simulation. Times are processor time, which other work on the machine
disturbs less than the clock: of this process, and of one worker.
"""

from __future__ import annotations

import pickle
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lz4.frame
import numpy as np
import uproot
from coffea.processor import accumulate
from distributed import Client

from analysis.datasets.catalogue import Catalogue
from analysis.execution.runner import run
from analysis.execution.workers.cluster_settings import Local
from analysis.execution.workers.clusters import connected
from analysis.processor import TtbarAnalysis

MERGED_AT_ONCE = 20
"""Outputs that coffea's tree reduction merges in a task."""


def main(path: Path, copies: int, tasks: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        catalogue = copied(path, copies, Path(folder))
        run(TtbarAnalysis(), small(path))  # compiles, and imports
        chunk = timed(lambda: run(TtbarAnalysis(), catalogue))
        opening = timed(lambda: run(TtbarAnalysis(), small(path)))
        result = run(TtbarAnalysis(), catalogue)
        result.ledger.require_complete()
        say("events a chunk", catalogue.events)
        say("processing, one core [1/s]", catalogue.events / (chunk - opening))
        say("a chunk of 200 events [s]", opening)
        with uproot.open({path: "events"}) as tree:
            present = set(tree.keys())
            read = set(result.ledger.columns_read)
            read |= {f"n{name}" for name in read} & present
            for name, branches in (("all", present), ("read", read)):
                stored = sum(tree[branch].compressed_bytes for branch in branches)
                say(f"bytes/event, {name} {len(branches)} branches", stored / tree.num_entries)
        outputs = [pickle.loads(pickle.dumps(result.output)) for _ in range(MERGED_AT_ONCE)]
        say("output of a chunk, compressed [kB]", size_kb(result.output))
        say("merging one output [ms]", 1e3 * timed(lambda: accumulate(outputs)) / MERGED_AT_ONCE)
    with connected(Local(), 1) as client:
        for n_tasks in (tasks // 4, tasks):
            through_dask(client, n_tasks)


def copied(path: Path, copies: int, folder: Path) -> Catalogue:
    """The events of the file, again and again, as one file."""
    with uproot.open({path: "events"}) as tree:
        names = set(tree.keys())
        counters = {f"n{name}" for name in names} | {n for n in names if n.startswith("number")}
        arrays = tree.arrays(sorted(names - counters))
        branches = {name: arrays[name] for name in arrays.fields}
    from tests.ntuples import write

    rng = np.random.default_rng(1)
    order = rng.integers(0, len(arrays), copies * len(arrays))
    write(folder / "a.root", {name: values[order] for name, values in branches.items()})
    return one_file(folder / "a.root", len(order))


def small(path: Path) -> Catalogue:
    with uproot.open({path: "events"}) as tree:
        return one_file(path, tree.num_entries)


def one_file(path: Path, events: int) -> Catalogue:
    record = {"process": "ttbar", "kind": "signal", "files": {path.name: events}}
    return Catalogue.model_validate(
        {"base": str(path.parent.absolute()), "datasets": {"ttbar__nominal": record}}
    )


def size_kb(output: Any) -> float:
    return len(lz4.frame.compress(pickle.dumps(output))) / 1e3


def through_dask(client: Client, tasks: int) -> None:
    """Tasks that do nothing, merged in trees of twenty as coffea does: the scheduler is in here."""
    before = sum(client.run(time.process_time).values())
    start = time.process_time()
    futures = client.map(int, range(tasks), pure=False)
    while len(futures) > 1:
        groups = [futures[i : i + MERGED_AT_ONCE] for i in range(0, len(futures), MERGED_AT_ONCE)]
        futures = client.map(sum, groups, pure=False)
    assert futures[0].result() == sum(range(tasks))
    here = time.process_time() - start
    there = sum(client.run(time.process_time).values()) - before
    say(f"{tasks} tasks: scheduler and client, each [ms]", 1e3 * here / tasks)
    say(f"{tasks} tasks: worker, each [ms]", 1e3 * there / tasks)


def timed(function: Callable[[], object]) -> float:
    """Processor seconds, the smallest of three: noise only adds."""
    times = []
    for _ in range(3):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def say(what: str, value: float) -> None:
    sys.stdout.write(f"{what:52} {value:12,.4g}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(int(word) for word in [*sys.argv[2:], "500", "2000"][:2]))
