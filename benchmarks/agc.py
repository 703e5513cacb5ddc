"""Speed on NanoAOD: preset `agc-v2` beside a plain coffea processor, reading, decompression, and skims.

    python benchmarks/agc.py --data FOLDER [--events 300000] [--repeats 3] [--json now.json]

The same events are in files of three codecs. Every measurement is a process of its own that begins with a
warm-up; the repeats of all alternate. The table has medians of processor time, to which other programs
matter least. In the same run, all histograms are compared with the plain processor's.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1]
sys.path.insert(0, str(PROJECT))

import uproot
from coffea import processor as coffea_processor
from coffea.nanoevents import NanoAODSchema
from hist import Hist

from analysis.datasets.catalogue import Catalogue, metadata
from analysis.datasets.remote import Access
from analysis.execution.runner import run
from analysis.execution.settings import Limits
from analysis.postprocess import agc_json
from analysis.postprocess.agc_json import Content
from analysis.presets.agc import AGC_V2
from analysis.processor import TtbarAnalysis
from analysis.skim import make_skim
from benchmarks import nanoaod_inputs, system
from benchmarks.agc_yardstick import AgcYardstick
from schemas import NanoSchema

logger = logging.getLogger("speed")

CHUNK = 100_000
"""Events in a chunk of the plain processor, and read at a time."""
WARM_UP_EVENTS = 2000
CASES = ("decompress", "read", "chain", "skim", "from skim", "yardstick")
"""skim: the run that makes one; from skim: the chain on it."""
PROCESSORS = ("chain", "from skim", "yardstick")
RANDOM = "pt_res_up"
"""Variation that is another draw in each processor."""

Seconds = dict[str, float]


class _Schema(NanoAODSchema):
    warn_missing_crossrefs = False


def work(case: str, catalogue: Catalogue, events: int) -> dict[str, Content]:
    """Do what a case is of, with the first events; return the histograms."""
    ((name, dataset),) = catalogue.datasets.items()
    (url,) = [file.url for file in catalogue.files_of(name)]
    analysis = TtbarAnalysis(preset=AGC_V2)
    if case == "skim":
        with tempfile.TemporaryDirectory() as folder:
            make_skim(catalogue, Path(folder), analysis)
        return {}
    if case in ("chain", "from skim"):
        result = run(analysis, catalogue, limits=Limits(max_events=events))
        result.ledger.require_complete()
        return _of_chain(result.output[name]["observable"])
    if case == "yardstick":
        return _of_yardstick(_plain(url, metadata(dataset), events))
    branches = sorted(NanoSchema.branches(analysis.columns(metadata(dataset))))
    # As the chain opens files: once in a process, and with its library for ZLIB.
    with uproot.open({url: None}, **Access().options()) as file:
        tree = file[catalogue.tree]
        if case == "read":
            for start in range(0, events, CHUNK):
                stop = min(events, start + CHUNK)
                tree.arrays(branches, entry_start=start, entry_stop=stop, how=dict)
        else:
            baskets = -(-events // nanoaod_inputs.EVENTS_PER_CLUSTER)
            for branch in (tree[name] for name in branches):
                for number in range(baskets):
                    branch.basket(number)
    return {}


def _plain(url: str, told: dict[str, Any], events: int) -> dict[str, Hist]:
    """Run the plain processor with coffea's own Runner, in whole chunks."""
    chunk = min(events, CHUNK)
    runner = coffea_processor.Runner(
        coffea_processor.IterativeExecutor(status=False, compression=None),
        schema=_Schema,
        chunksize=chunk,
        maxchunks=-(-events // chunk),
    )
    fileset = {"ttbar__nominal": {"files": {url: "Events"}, "metadata": told}}
    found: dict[str, Hist] = runner(fileset, AgcYardstick())
    return found


def _of_chain(observable: Hist) -> dict[str, Content]:
    summed = observable[{"channel": sum, "process": "ttbar"}]
    return {
        _name(region, variation): _content(summed[{"region": region, "variation": variation}])
        for region in summed.axes["region"]
        for variation in summed.axes["variation"]
    }


def _of_yardstick(found: dict[str, Hist]) -> dict[str, Content]:
    return {
        _name(region, variation): _content(booked[{"process": "ttbar", "variation": variation}])
        for region, booked in found.items()
        for variation in booked.axes["variation"]
    }


def _name(region: str, variation: str) -> str:
    return f"{region}_ttbar_{variation}".removesuffix("_nominal")


def _content(observable: Hist) -> Content:
    return Content(observable.axes[0].edges, observable.values(flow=True))


def measure(case: str, catalogue: Catalogue, keep: Path) -> Seconds:
    """Processor time and clock of a case in this process, after a warm-up; `keep` its histograms."""
    if case == "from skim":
        catalogue = make_skim(
            catalogue, keep.with_suffix(""), TtbarAnalysis(preset=AGC_V2)
        ).catalogue
        catalogue = catalogue.model_copy(update={"base": str(keep.with_suffix(""))})
    work("chain" if case == "skim" else case, catalogue, min(WARM_UP_EVENTS, catalogue.events))
    begin, begin_cpu = time.perf_counter(), time.process_time()
    contents = work(case, catalogue, catalogue.events)
    measured = {"cpu": time.process_time() - begin_cpu, "clock": time.perf_counter() - begin}
    if contents:
        keep.write_text(json.dumps(agc_json.dump(contents)))
    return measured


def measure_apart(case: str, catalogue: Path, keep: Path) -> Seconds:
    """The same in a process of its own."""
    measured: Seconds = system.measure_apart(__file__, case, catalogue, keep)
    return measured


def compare(one: Path, other: Path) -> int:
    """Compare the histograms of two files but for the random ones; return how many there are.

    Raises RuntimeError where more differs than events on the other side of an edge.
    """
    found, reference = (
        {name: content for name, content in agc_json.load(path).items() if RANDOM not in name}
        for path in (one, other)
    )
    if found.keys() != reference.keys():
        msg = f"histograms of one processor alone: {', '.join(found.keys() ^ reference.keys())}"
        raise RuntimeError(msg)
    different = [d for d in agc_json.compare(found, reference) if not d.agrees]
    if different:
        msg = f"two processors differ: {different}"
        raise RuntimeError(msg)
    return len(found)


def table(results: dict[str, dict[str, Seconds]], events: int) -> str:
    lines = [
        "| codec | | events/s | CPU s | clock s | to decompression | to reading | to the yardstick |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for codec, cases in results.items():
        for case, seconds in cases.items():
            cpu = seconds["cpu"]
            ratios = [
                f"{cpu / cases[other]['cpu']:.2f}" if other in cases else ""
                for other in ("decompress", "read")
            ]
            yardstick = f"{cases['yardstick']['cpu'] / cpu:.1f}" if "yardstick" in cases else ""
            cells = [codec, case, f"{events / cpu:,.0f}", f"{cpu:.2f}", f"{seconds['clock']:.2f}"]
            lines.append(f"| {' | '.join([*cells, *ratios, yardstick])} |")
    return "\n".join(lines)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder for the generated files, kept")
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--codecs", default=",".join(nanoaod_inputs.CODECS))
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--quick", action="store_true", help="in this process")
    parser.add_argument("--json", type=Path, help="write the results there")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--catalogue", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--keep", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    options = parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if options.case:
        measured = measure(options.case, Catalogue.load(options.catalogue), options.keep)
        sys.stdout.write(json.dumps(measured) + "\n")
        return measured
    with tempfile.TemporaryDirectory() as temporary:
        return _all(options, options.data or Path(temporary), Path(temporary))


def _all(options: argparse.Namespace, folder: Path, temporary: Path) -> dict[str, Any]:
    repeats: dict[str, dict[str, list[Seconds]]] = {}
    codecs, cases = options.codecs.split(","), options.cases.split(",")
    catalogues = {name: nanoaod_inputs.catalogue(folder, name, options.events) for name in codecs}
    compared = 0
    for _ in range(options.repeats):
        for codec, catalogue in catalogues.items():
            path = temporary / f"{codec}.json"
            catalogue.write(path)
            for case in cases:
                keep = temporary / f"{codec} {case}.json"
                measured = (
                    measure(case, catalogue, keep)
                    if options.quick
                    else measure_apart(case, path, keep)
                )
                repeats.setdefault(codec, {}).setdefault(case, []).append(measured)
            found = [temporary / f"{codec} {case}.json" for case in PROCESSORS if case in cases]
            compared += sum(compare(path, found[-1]) for path in found[:-1])
    results = {
        codec: {case: _median(measured) for case, measured in found.items()}
        for codec, found in repeats.items()
    }
    load = os.getloadavg()[0]
    logger.info("%s, load %.1f\n%s", system.machine(), load, table(results, options.events))
    logger.info("%d histograms are equal", compared)
    report = {"machine": system.machine(), "load": load, "results": results, "compared": compared}
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return report


def _median(measured: list[Seconds]) -> Seconds:
    return {key: statistics.median(m[key] for m in measured) for key in measured[0]}


if __name__ == "__main__":
    main()
