"""`run.py`: every stage, from a catalogue to figures and the report."""

from __future__ import annotations

import argparse
import logging

from analysis.cli import options, process, toppeak
from analysis.cli.abcd import abcd_if_possible
from analysis.cli.fit import add_model, fit_if_possible, model_config
from analysis.cli.plot import plot
from analysis.cli.report import report
from analysis.cli.show import show_results
from analysis.common.files import sole_run

SUMMARY = "run every stage: process, normalise, plot, toppeak, abcd, fit, report (the default)"

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    process.add_arguments(parser)
    add_model(parser)


def run(arguments: argparse.Namespace) -> None:
    """Each stage says when it begins; the tables of all come together at the end."""
    with sole_run(arguments.output):
        run_all(arguments)


def run_all(arguments: argparse.Namespace) -> None:
    folder = arguments.output
    model = model_config(arguments.model)
    logger.info("processing %s ...", options.catalogue_path(arguments))
    process.process(arguments, tables=False)
    logger.info("drawing the regions, their variations, control plots ...")
    plot(folder)
    logger.info("fitting the top peak ...")
    toppeak.fit_if_possible(folder, tables=False)
    logger.info("estimating the multijet background ...")
    abcd_if_possible(folder, tables=False)
    logger.info("fitting the cross section ...")
    fit_if_possible(folder, model, allow_incomplete=arguments.allow_incomplete)
    logger.info("writing the report ...")
    report(folder)
    if logger.isEnabledFor(logging.INFO):
        show_results(folder)
