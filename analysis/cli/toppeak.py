"""`run.py toppeak`: fit the top quark's peak of a finished run."""

from __future__ import annotations

import argparse
import logging

from analysis.cli import options

SUMMARY = "fit the top quark's peak of a finished run over its sidebands"

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_results(parser)
    options.add_config(parser)
    options.add_verbosity(parser)


def run(arguments: argparse.Namespace) -> None:
    folder = options.results_folder(arguments)

    from analysis import stages
    from analysis.common.tables import show
    from analysis.config import load_config
    from analysis.postprocess.top_peak import remarks, top_peak_table

    config = load_config(arguments.config) if arguments.config else None
    result = stages.top_peak(folder, config)
    if result.fits and logger.isEnabledFor(logging.INFO):
        show(*top_peak_table(result), title="Top peak")
    for remark in remarks(result):
        logger.info("%s", remark)
