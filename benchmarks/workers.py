"""What workers bring: one process, two that know nothing of each other, and executors with one and two.

    python benchmarks/workers.py --data FOLDER [--events 600000] [--files 5] [--repeats 3] [--json now.json]

Two independent processes do the same twice: what they reach together is what the machine can give. Each
of the others processes all files once. Start-up, which does not grow with the events, is measured with
few of them and given apart. Medians of repeats that alternate; a quiet machine is needed.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import speed, speed_inputs, system

logger = logging.getLogger("speed")

ONE = "chain all"
LIMIT = "two independent processes"
EXECUTORS = ("futures", "dask")
LEAST_EVENTS = 2_000_000
"""With fewer, the start counts too much."""


def main(arguments: list[str] | None = None) -> dict[str, speed.Measurement]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder for the files, kept")
    parser.add_argument("--events", type=int, default=600_000, help="in a file")
    parser.add_argument("--files", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the results there")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    catalogue = speed_inputs.catalogue(options.data, options.files, options.events)
    if catalogue.events < LEAST_EVENTS:
        logger.warning("%d events are few: at least %d say more", catalogue.events, LEAST_EVENTS)
    repeats: dict[str, list[speed.Measurement]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "catalogue.json"
        catalogue.write(path)
        for repeat in range(options.repeats):
            logger.info("repeat %d of %d", repeat + 1, options.repeats)
            for case in (ONE, LIMIT, *_cases()):
                measured = _independent(path) if case == LIMIT else _measured(case, path)
                repeats.setdefault(case, []).append(measured)
    results = speed.summarise(repeats)
    logger.info("%s, %d events\n%s", system.machine(), catalogue.events, table(results))
    if options.json:
        report = {"machine": system.machine(), "results": results}
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return results


def _cases() -> list[str]:
    return [f"{executor} {workers}" for executor in EXECUTORS for workers in (1, 2)]


def _measured(case: str, catalogue: Path) -> speed.Measurement:
    with tempfile.TemporaryDirectory() as keep:
        return speed.measure_apart(case, catalogue, Path(keep))


def _independent(catalogue: Path) -> speed.Measurement:
    """Both at the same time; the events of both, in the time of the longer one."""
    with ThreadPoolExecutor(2) as threads:
        both = list(threads.map(lambda _: _measured(ONE, catalogue), range(2)))
    return {
        "events": sum(measured["events"] for measured in both),
        "seconds": max(measured["seconds"] for measured in both),
    }


def table(results: dict[str, speed.Measurement]) -> str:
    """Throughput, and its ratio to that of one process and of one worker of the same executor."""
    lines = [
        "| | events/s | s | to one process | to one worker | without start | start s |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for case, result in results.items():
        kind, _, workers = case.partition(" ")
        one = results[f"{kind} 1"] if workers == "2" else {}
        start = result.get("start_up_seconds")
        cells = [
            case,
            f"{_rate(result):,.0f}",
            f"{result['seconds']:.2f}",
            f"{_rate(result) / _rate(results[ONE]):.2f}",
            f"{_rate(result) / _rate(one):.2f}" if one else "",
            f"{_rate(result, True) / _rate(one, True):.2f}" if one else "",
            f"{start:.1f}" if start is not None else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _rate(result: speed.Measurement, without_start: bool = False) -> float:
    seconds = result["seconds"] - (result["start_up_seconds"] if without_start else 0.0)
    return float(result["events"] / seconds)


if __name__ == "__main__":
    main()
