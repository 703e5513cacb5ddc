"""`run.py plot`: the figures of a finished run."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from analysis.cli import options

SUMMARY = "make the figures of a finished run"

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_results(parser)
    options.add_verbosity(parser)


def run(arguments: argparse.Namespace) -> None:
    plot(options.results_folder(arguments))


def plot(folder: Path) -> None:
    from analysis import results
    from analysis.plotting.figures import make_figures

    paths = make_figures(results.load_normalised(folder), folder / results.FIGURES)
    figures = {path.stem for path in paths}
    logger.info("%d figures in %s", len(figures), folder / results.FIGURES)
