"""`run.py report`: one page that shows a finished run."""

from __future__ import annotations

import argparse
import logging

from analysis.cli import options

SUMMARY = "write one HTML page that shows a finished run"

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_results(parser)
    options.add_verbosity(parser)


def run(arguments: argparse.Namespace) -> None:
    folder = options.results_folder(arguments)

    from analysis import stages

    path = stages.report(folder)
    logger.info("report: %s (%.1f MB, open it in a browser)", path, path.stat().st_size / 1e6)
