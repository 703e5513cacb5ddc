"""`run.py`: every stage, from a catalogue to figures and the report."""

from __future__ import annotations

import argparse
import logging

from analysis.cli import options, process
from analysis.cli.fit import add_model, model_config
from analysis.cli.show import show_results
from analysis.common.files import sole_run

SUMMARY = "run every stage: process, normalise, plot, toppeak, abcd, fit, report (the default)"

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    process.add_arguments(parser)
    add_model(parser)


def run(arguments: argparse.Namespace) -> None:
    """Say when each stage begins; show the tables of all together at the end, and what failed."""
    with sole_run(arguments.output):
        _run(arguments)


def _run(arguments: argparse.Namespace) -> None:
    from analysis.inference.config import InferenceConfig

    folder = arguments.output
    analysis = options.analysis(arguments)
    model = model_config(arguments.model, InferenceConfig.of_run(analysis.model))
    logger.info("processing %s ...", options.catalogue_path(arguments))
    process.process(arguments, analysis, tables=False)

    from analysis import stages

    choices = stages.Choices(model, arguments.allow_incomplete)
    ended = stages.run_all(folder, choices)
    if logger.isEnabledFor(logging.INFO):
        show_results(folder)
    for end in ended:
        if not end.failed:
            logger.warning("no %s: %s", end.stage.result, end.reason)
    stages.require_all(folder, ended)
