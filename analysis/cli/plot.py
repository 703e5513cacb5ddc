"""`run.py plot`: the figures of a finished run."""

from __future__ import annotations

import argparse
import logging

from analysis.cli import options
from analysis.common.errors import did_you_mean
from analysis.plotting import FORMATS, PROCESSES

SUMMARY = "make the figures of a finished run"

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_results(parser)
    parser.add_argument(
        "--formats",
        type=_formats,
        default=FORMATS,
        metavar="A,B",
        help="of png and pdf (default: png,pdf; one alone takes half of the time)",
    )
    parser.add_argument(
        "--processes",
        type=options.positive,
        default=PROCESSES,
        metavar="N",
        help=f"that draw (default: {PROCESSES})",
    )
    options.add_verbosity(parser)


def _formats(text: str) -> tuple[str, ...]:
    chosen = tuple(options.names(text))
    unknown = [name for name in chosen if name not in FORMATS]
    if unknown or not chosen:
        word = unknown[0] if unknown else text
        msg = f"unknown format {word!r}: {did_you_mean(word, FORMATS)}"
        raise argparse.ArgumentTypeError(msg)
    return chosen


def run(arguments: argparse.Namespace) -> None:
    folder = options.results_folder(arguments)

    from analysis import results, stages

    paths = stages.plot(folder, arguments.formats, arguments.processes)
    figures = {path.stem for path in paths}
    logger.info("%d figures in %s", len(figures), folder / results.FIGURES)
