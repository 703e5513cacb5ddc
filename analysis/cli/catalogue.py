"""`run.py catalogue`: show a catalogue, check its files, build one for a folder of ntuples."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.cli import options
from analysis.common.errors import CatalogueError
from analysis.datasets.bundled import REAL_DATA

if TYPE_CHECKING:
    from analysis.datasets.catalogue import Dataset

SUMMARY = "show, check or build a catalogue of ntuples"


logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(
        dest="action", required=True, metavar="action", parser_class=type(parser)
    )
    for action in (*_readers(actions), _builder(actions), _importer(actions)):
        options.add_verbosity(action)
        action.set_defaults(parser=action)


def _readers(actions: Any) -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """Add the actions `show` and `check`, which read a catalogue."""
    show = actions.add_parser("show", help="print the datasets")
    check = actions.add_parser("check", help="open the files and compare with the catalogue")
    for action in (show, check):
        which = action.add_mutually_exclusive_group()
        which.add_argument(
            "file",
            type=Path,
            nargs="?",
            metavar="FILE",
            help="catalogue to read (default: ntuples.json of the project, the real data)",
        )
        which.add_argument("--catalogue", type=Path, metavar="FILE", help="the same")
        action.add_argument(
            "--datasets", type=options.names, metavar="A,B", help="these datasets only"
        )
    check.add_argument(
        "--max-files", type=options.positive, metavar="N", help="first N files of each dataset only"
    )
    check.add_argument(
        "--workers", type=options.positive, default=8, metavar="N", help="files open at a time"
    )
    check.add_argument(
        "--checksums",
        action="store_true",
        help="also read local files as a whole, and ask servers for the size",
    )
    return show, check


def _builder(actions: Any) -> argparse.ArgumentParser:
    build: argparse.ArgumentParser = actions.add_parser(
        "build",
        help="write a catalogue for a folder of ntuples",
        description="Sub-folders or files named {process}__{variation} are the datasets: "
        "ttbar__nominal/a.root, wjets__nominal.root, data__SingleMuon/b.root.",
    )
    build.add_argument("folder", type=Path, metavar="DIR")
    build.add_argument("--output", type=Path, required=True, metavar="FILE")
    build.add_argument(
        "--table",
        type=Path,
        metavar="CSV",
        help="columns name (dataset or process), cross_section, k_factor, filter_efficiency, "
        "sum_of_weights",
    )
    for field in ("cross-section", "sum-of-weights"):
        build.add_argument(
            f"--{field}",
            action="append",
            default=[],
            metavar="NAME=X",
            help="of a dataset or process; may be repeated",
        )
    build.add_argument("--luminosity", metavar="L", help="of the data: '2256.38 /pb'")
    build.add_argument(
        "--tree", metavar="NAME", help="(default: events, or Events of NanoAOD where that is there)"
    )
    build.add_argument(
        "--format",
        choices=("poet", "nanoaod", "nanoaod-deepjet", "nanoaod-pfmet"),
        help="of the files, if it is not to be recognised; NanoAOD's b tags are CSVv2 or DeepJet",
    )
    build.add_argument(
        "--checksums", action="store_true", help="write size and Adler-32 of each file, too"
    )
    return build


def _importer(actions: Any) -> argparse.ArgumentParser:
    importer: argparse.ArgumentParser = actions.add_parser(
        "import",
        help="write a catalogue for the inputs of the Analysis Grand Challenge",
        description="FILE is its nanoaod_inputs.json; process the catalogue with the preset agc-v2.",
    )
    importer.add_argument("file", type=Path, metavar="FILE")
    importer.add_argument("--output", type=Path, required=True, metavar="FILE")
    importer.add_argument(
        "--server",
        default="unl",
        metavar="NAME",
        help="unl (default), eos, xcache, or the address or folder that the files are below",
    )
    importer.add_argument(
        "--files-per-process",
        type=options.positive,
        metavar="N",
        help="first N files of each sample",
    )
    return importer


def run(arguments: argparse.Namespace) -> None:
    actions = {"show": _show, "check": _check, "build": _build, "import": _import}
    actions[arguments.action](arguments)


def _show(arguments: argparse.Namespace) -> None:
    from analysis.common.tables import show
    from analysis.datasets.catalogue import Catalogue

    catalogue = Catalogue.load(_path(arguments)).select(arguments.datasets)
    header = [
        "dataset", "kind", "record", "σ [pb]", "k", "ε filter", "Σw generated", "files", "events",
    ]  # fmt: skip
    rows = [
        [
            name,
            dataset.kind if dataset.channel is None else f"{dataset.kind}, {dataset.channel}",
            _or_dash(dataset.record, "d"),
            _or_dash(dataset.cross_section, ".7g"),
            f"{dataset.k_factor:.6g}" if dataset.is_simulation else "-",
            f"{dataset.filter_efficiency:.6g}" if dataset.is_simulation else "-",
            _sum_of_weights(dataset),
            str(len(dataset.files)),
            f"{dataset.events:,}",
        ]
        for name, dataset in catalogue.datasets.items()
    ]
    rows.append(
        [f"{len(catalogue.datasets)} datasets", *[""] * 6, str(len(catalogue.files)),
         f"{catalogue.events:,}"]
    )  # fmt: skip
    show(header, rows)
    if catalogue.luminosity is not None:
        logger.info("luminosity of the data: %.6g /pb", catalogue.luminosity)


def _check(arguments: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from analysis.common.tables import show
    from analysis.datasets.addresses import shown
    from analysis.datasets.catalogue import Catalogue
    from analysis.datasets.inventory import check

    path = _path(arguments)
    catalogue = Catalogue.load(path).select(arguments.datasets)
    console = Console(stderr=True)
    with Progress(
        console=console, disable=arguments.quiet or not console.is_terminal, transient=True
    ) as progress:
        task = progress.add_task("files", total=None)
        n_files, findings = check(
            catalogue,
            arguments.max_files,
            arguments.workers,
            lambda: progress.advance(task),
            checksums=arguments.checksums,
        )
    if findings:
        show(
            ["dataset", "file", "problem"],
            [[file.dataset, shown(file.url), shown(problem)] for file, problem in findings],
        )
        msg = f"{len(findings)} of {n_files} files are not as {path} says"
        raise CatalogueError(msg)
    logger.info("%d files are there, with the events that the catalogue says", n_files)


def _build(arguments: argparse.Namespace) -> None:
    from analysis.datasets.inventory import build, doubts, read_table, unknowns

    numbers: dict[str, dict[str, Any]] = {}
    if arguments.table is not None:
        numbers = read_table(arguments.table)
    for field in ("cross_section", "sum_of_weights"):
        option = f"--{field.replace('_', '-')}"
        for name, value in options.assignments(option, getattr(arguments, field)).items():
            numbers.setdefault(name, {})[field] = value
    catalogue = build(
        arguments.folder,
        arguments.output,
        numbers,
        luminosity=arguments.luminosity,
        tree=arguments.tree,
        files_format=arguments.format,
        checksums=arguments.checksums,
    )
    catalogue.write(arguments.output)
    if catalogue.format != "poet":
        logger.info("the files are NanoAOD")
    for name, dataset in catalogue.datasets.items():
        if dataset.generator_weights and dataset.sum_of_weights is not None:
            logger.info(
                "%s: sum of generator weights %.12g, before any selection (Runs.genEventSumw)",
                name, dataset.sum_of_weights,
            )  # fmt: skip
    for line in (*unknowns(catalogue), *doubts(catalogue)):
        logger.warning("%s", line)
    logger.info(
        "%s: %d datasets, %d files, %d events",
        arguments.output, len(catalogue.datasets), len(catalogue.files), catalogue.events,
    )  # fmt: skip


def _import(arguments: argparse.Namespace) -> None:
    from analysis.datasets.nanoaod import SERVERS, grand_challenge

    base = SERVERS.get(arguments.server, arguments.server)
    catalogue = grand_challenge(arguments.file, base, arguments.files_per_process)
    catalogue.write(arguments.output)
    logger.info(
        "%s: %d datasets, %d files, %d events",
        arguments.output, len(catalogue.datasets), len(catalogue.files), catalogue.events,
    )  # fmt: skip


def _path(arguments: argparse.Namespace) -> Path:
    return Path(arguments.file or arguments.catalogue or REAL_DATA)


def _sum_of_weights(dataset: Dataset) -> str:
    if dataset.sum_of_weights is None:
        return "-"
    return f"{dataset.sum_of_weights:,.12g} ({dataset.sum_of_weights_is})"


def _or_dash(value: float | None, spec: str) -> str:
    return "-" if value is None else format(value, spec)
