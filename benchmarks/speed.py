"""Speed and memory: how far the chain is from reading the columns alone.

    python benchmarks/speed.py --data FOLDER --json now.json [--compare earlier.json]
    python benchmarks/speed.py --catalogue ntuples.json    # real files

Every measurement is a process of its own that first does the same with few events (imports, compiled
code, file cache), so that its time and its peak memory are those of the work. The repeats of all of
them alternate; the table has medians. In the same run, the yardstick's histogram is compared with the
chain's bin by bin.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1]
sys.path.insert(0, str(PROJECT))

import numpy as np
import uproot

from analysis import histograms
from analysis.config import AnalysisConfig
from analysis.datasets.catalogue import Catalogue, metadata
from analysis.execution.runner import run
from analysis.execution.settings import Execution, Limits
from analysis.execution.workers import usage
from analysis.presets.cms import CMS
from analysis.processor import TtbarAnalysis
from benchmarks import speed_inputs, system
from benchmarks.yardstick import Yardstick
from schemas import AGCSchema

logger = logging.getLogger("speed")

Measurement = dict[str, Any]

LEAN = {"control": {"enabled": False}, "multijet": {"enabled": False}}
CONFIGS: dict[str, dict[str, Any]] = {
    "all": {},
    "lean": LEAN,
    "shifts": {**LEAN, "variations": {"btag_jets": 0}},
    "nominal": {**LEAN, "variations": {"btag_jets": 0, "jet_energy": False}},
}
"""all: the default; lean: without control histograms and multijet plane; shifts: of that, without the
b-tag weights; nominal: without variations. `chain cms` is the preset of that name."""

ONE_CORE = ("read all", "chain all", "read lean", "chain lean", "yardstick", "chain shifts",
            "chain nominal", "chain cms")  # fmt: skip
WARM_UP_EVENTS = 2000


def processor(case: str) -> TtbarAnalysis | Yardstick:
    kind, _, config = case.partition(" ")
    if kind == "yardstick":
        return Yardstick()
    if config == "cms":
        return TtbarAnalysis(preset=CMS)
    return TtbarAnalysis(AnalysisConfig.model_validate(CONFIGS.get(config, {})))


def read(catalogue: Catalogue, config: str, limits: Limits) -> None:
    """The columns of the chain with uproot alone, in as many events at a time."""
    columns = processor(f"chain {config}").columns
    for name, dataset in catalogue.datasets.items():
        branches = sorted(AGCSchema.branches(columns(metadata(dataset))))
        left = limits.max_events or dataset.events
        for url in [file.url for file in catalogue.files_of(name)]:
            with uproot.open({url: None}, array_cache=None) as file:
                tree = file[catalogue.tree]
                stop = min(left, tree.num_entries)
                for start in range(0, stop, READ_STEP):
                    tree.arrays(
                        branches, entry_start=start, entry_stop=min(stop, start + READ_STEP),
                        how=dict,
                    )  # fmt: skip
                left -= stop


READ_STEP = 100_000


def work(case: str, catalogue: Catalogue, limits: Limits) -> Any:
    kind, _, detail = case.partition(" ")
    if kind == "read":
        return read(catalogue, detail, limits)
    execution = Execution(kind, int(detail)) if kind in ("futures", "dask") else Execution()
    result = run(processor(case), catalogue, execution=execution, limits=limits)
    result.ledger.require_complete()
    return result


def measure(case: str, catalogue: Catalogue, keep: Path | None = None) -> Measurement:
    """Seconds, bytes and peak memory of one case in this process, after a warm-up."""
    few = Limits(max_events=WARM_UP_EVENTS)
    work(case, catalogue, few)
    with_workers = case.partition(" ")[0] in ("futures", "dask")
    start_up = _seconds(lambda: work(case, catalogue, few)) if with_workers else 0.0
    with system.Children() as children:
        begin, begin_cpu = time.perf_counter(), time.process_time()
        result = work(case, catalogue, Limits())
        seconds, cpu = time.perf_counter() - begin, time.process_time() - begin_cpu
    measured: Measurement = {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "events": catalogue.events,
        "peak_mb": usage.peak_mb(),
        "peak_mb_of_workers": children.peak_mb,
    }
    if with_workers:
        measured["workers"] = int(case.partition(" ")[2])
        measured["start_up_seconds"] = start_up
    if result is not None:
        measured["bytes"] = result.ledger.bytes_read
        if keep is not None:
            histograms.save(keep, histograms.flatten(result.output))
    return measured


def measure_apart(case: str, catalogue_file: Path, keep: Path) -> Measurement:
    """The same in a process of its own."""
    measured: Measurement = system.measure_apart(__file__, case, catalogue_file, keep)
    return measured


def compare_histograms(folder: Path) -> float:
    """Largest relative difference between chain and yardstick in any bin of any variation."""
    chain, yardstick = (
        histograms.load(folder / f"{name}.zip") for name in ("chain lean", "yardstick")
    )
    worst = 0.0
    for name, expected in yardstick.items():
        for field in ("value", "variance"):
            a, b = (h.view(flow=True)[field] for h in (chain[name], expected))
            different = a != b
            worst = max(worst, *np.abs(a - b)[different] / np.maximum(a, b)[different], 0.0)
    return worst


def summarise(repeats: dict[str, list[Measurement]]) -> dict[str, Measurement]:
    """Medians of the repeats."""
    return {
        case: {key: statistics.median(m[key] for m in measured) for key in measured[0]}
        for case, measured in repeats.items()
        if measured
    }


def table(results: dict[str, Measurement], earlier: dict[str, Measurement]) -> str:
    lines = [
        "| | events/s | s | CPU s | MB/s | peak MB | to reading | to the yardstick | to earlier |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for case, result in results.items():
        config = case.partition(" ")[2]
        reading = results.get(f"read {config}") or results.get("read lean", {})
        cells = [
            case,
            f"{result['events'] / result['seconds']:,.0f}",
            f"{result['seconds']:.2f}",
            f"{result['cpu_seconds']:.2f}",
            f"{result['bytes'] / result['seconds'] / 1e6:.0f}" if "bytes" in result else "",
            f"{max(result['peak_mb'], result.get('peak_mb_of_workers', 0)):.0f}",
            _ratio(result, reading),
            _ratio(results.get("yardstick", {}), result),
            _ratio(earlier.get(case, {}), result),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _ratio(above: Measurement, below: Measurement) -> str:
    """Of the times an event: of the processor, which other programs disturb least, unless workers
    had a part in it.
    """
    if not above or not below:
        return ""
    kind = "seconds" if "workers" in above or "workers" in below else "cpu_seconds"
    times = [m[kind] / m["events"] for m in (above, below)]
    return f"{times[0] / times[1]:.2f}"


def commands(folder: Path) -> dict[str, float]:
    """Seconds of the commands on the bundled sample, start-up included."""
    output = str(folder / "results")
    lines = {
        "--help": ["--help"],
        "process": ["process", "--quiet", "--output", output],
        "plot": ["plot", "--quiet", output],
        "fit": ["fit", "--quiet", output],
    }
    return {name: _seconds(lambda line=line: _command(line)) for name, line in lines.items()}


def _command(arguments: list[str]) -> None:
    subprocess.run(
        [sys.executable, "run.py", *arguments], cwd=PROJECT, check=True, capture_output=True
    )


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder for the generated files, kept")
    parser.add_argument("--catalogue", type=Path, help="measure with these files instead")
    parser.add_argument("--events", type=int, default=600_000, help="in a file")
    parser.add_argument("--files", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cases", help="these only: 'read all,chain all'")
    parser.add_argument("--quick", action="store_true", help="few events, once, in this process")
    parser.add_argument("--json", type=Path, help="write the results there")
    parser.add_argument("--compare", type=Path, help="with those of an earlier run")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--keep", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    options = parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if options.case:
        keep = options.keep / f"{options.case}.zip"
        measured = measure(options.case, Catalogue.load(options.catalogue), keep)
        sys.stdout.write(json.dumps(measured) + "\n")
        return measured
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.data or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        return _all(options, folder, Path(temporary))


def _all(options: argparse.Namespace, folder: Path, temporary: Path) -> dict[str, Any]:
    repeats: dict[str, list[Measurement]] = {}
    cases = options.cases.split(",") if options.cases else ONE_CORE
    if options.catalogue:
        catalogue = Catalogue.load(options.catalogue)
    else:
        catalogue = speed_inputs.catalogue(folder, options.files, options.events)
    path = temporary / "catalogue.json"
    catalogue.write(path)
    for repeat in range(options.repeats):
        logger.info("repeat %d of %d", repeat + 1, options.repeats)
        for case in cases:
            measured = (
                measure(case, catalogue, temporary / f"{case}.zip")
                if options.quick
                else measure_apart(case, path, temporary)
            )
            repeats.setdefault(case, []).append(measured)
    results = summarise(repeats)
    report: dict[str, Any] = {"machine": system.machine(), "results": results}
    earlier = json.loads(options.compare.read_text())["results"] if options.compare else {}
    logger.info("%s\n%s", report["machine"], table(results, earlier))
    if "yardstick" in results and "chain lean" in results:
        report["difference"] = compare_histograms(temporary)
        logger.info("chain and yardstick differ by at most %.1e", report["difference"])
    if not (options.quick or options.cases):
        report["commands"] = commands(temporary)
        for name, seconds in report["commands"].items():
            logger.info("run.py %s: %.2f s", name, seconds)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return report


if __name__ == "__main__":
    main()
