"""`run.py simulate`: events of our own, from Pythia 8 to files with their catalogue."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.cli import options

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from analysis.simulation.production import Dataset, Progress

SUMMARY = "simulate events: Pythia 8, jets, detector response, ntuples and their catalogue"
DEFAULT_OUTPUT = Path("results/simulation")
DEFAULT_EVENTS = 1000
DEFAULT_SEED = 2015


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "--process",
        default="ttbar",
        metavar="NAME[,NAME]",
        help="processes (ttbar, wjets, ...), datasets (ttbar__scaleup, ...), 'all', or the dimuon "
        "samples jpsi, drell_yan, combinatorial (default: %(default)s)",
    )
    parser.add_argument(
        "--events",
        type=int,
        default=DEFAULT_EVENTS,
        metavar="N",
        help="pre-selected events wanted per dataset, at least: whole blocks are kept, so that the "
        "normalisation is exact (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=DEFAULT_SEED, metavar="S", help="default: %(default)s"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes; the events do not depend on it",
    )
    parser.add_argument(
        "--block-events",
        type=int,
        default=1000,
        metavar="N",
        help="generated events per block; the events do depend on it (default: %(default)s)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="GROUP.NAME=VALUE",
        help="change a number of the detector response, for example jet.scale=1.02",
    )
    parser.add_argument(
        "--format",
        choices=("poet", "nanoaod"),
        default="poet",
        help="of the files: flat POET ntuples, or CMS NanoAOD of the same events (default: %(default)s)",
    )
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, metavar="DIR")
    parser.add_argument(
        "--sample",
        action="store_true",
        help="make the bundled sample (into --output); in the other format, of the events that are there",
    )
    parser.add_argument(
        "--validate",
        action="store_true",
        help="compare what is in --output with the CMS full-simulation templates",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(arguments: argparse.Namespace) -> int:
    """Simulate, or validate what was simulated."""
    if arguments.validate:
        return _validate(arguments)
    if arguments.sample:
        return _sample(arguments)
    return _simulate(arguments)


def _simulate(arguments: argparse.Namespace) -> int:
    from analysis.simulation import dimuon, production
    from analysis.simulation.config import detector_with
    from analysis.simulation.processes import find

    names = options.names(arguments.process)
    dimuons = [name for name in names if name in dimuon.BY_NAME]
    processes = find([name for name in names if name not in dimuon.BY_NAME]) if names else []
    if not processes and not dimuons:
        processes = find([arguments.process])
    with _progress(arguments.events, arguments.quiet) as progress:
        datasets = production.produce(
            processes,
            arguments.output,
            events=arguments.events,
            seed=arguments.seed,
            workers=arguments.workers,
            detector=detector_with(arguments.set),
            block_events=arguments.block_events,
            progress=progress,
            files_format=arguments.format,
        )
        for name in dimuons:
            made = dimuon.make(name, arguments.events, arguments.seed)
            dimuon.write(made, arguments.output / dimuon.FOLDER, arguments.seed)
    _report(datasets, arguments.output)
    return 0


def _validate(arguments: argparse.Namespace) -> int:
    from analysis.simulation.comparison import validate

    paths = validate(arguments.output)
    _say(paths[0].read_text(encoding="utf-8"))
    _say("written: " + ", ".join(str(path) for path in paths) + "\n")
    return 0


def _sample(arguments: argparse.Namespace) -> int:
    from analysis.simulation.sample import make_sample, write_as_nanoaod

    if arguments.format == "nanoaod":
        path = write_as_nanoaod(arguments.output)
    else:
        with _progress(None, arguments.quiet) as progress:
            path = make_sample(arguments.output, workers=arguments.workers, progress=progress)
    _say(f"written: {path}\n")
    return 0


@contextmanager
def _progress(total: int | None, quiet: bool) -> Iterator[Progress]:
    """A progress bar per dataset on stderr, with the rate of pre-selected events."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        tasks: dict[str, int] = {}

        def update(dataset: str, events: int, rate: float) -> None:
            if dataset not in tasks:
                tasks[dataset] = int(bar.add_task(dataset, total=total, rate=""))
            shown = f"{rate:.0f} events/s" if rate else "already there"
            bar.update(tasks[dataset], completed=events, rate=shown)  # type: ignore[arg-type]

        yield update


def _report(datasets: list[Dataset], output: Path) -> None:
    if not datasets:
        return
    _say(
        f"{'dataset':30} {'events':>8} {'sigma LO':>12} {'filter':>8} {'presel.':>8} {'per core':>9}\n"
    )
    for d in datasets:
        rate = d.selected / d.seconds if d.seconds else 0.0
        _say(
            f"{d.process.name:30} {d.selected:8d} {d.cross_section_pb:9.4g} pb "
            f"{d.filter_efficiency:8.4f} {d.preselection_efficiency:8.4f} {rate:7.1f}/s\n"
        )
    _say(f"catalogue: {output / 'ntuples.json'}\n")


def _say(text: str) -> None:
    import sys

    sys.stdout.write(text)
