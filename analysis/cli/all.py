"""`run.py`: every stage, from a catalogue to figures and the report."""

from __future__ import annotations

import argparse
import logging

from analysis.cli import process, toppeak
from analysis.cli.abcd import abcd_if_possible
from analysis.cli.fit import fit_if_possible
from analysis.cli.plot import plot
from analysis.cli.report import report
from analysis.cli.show import show_results

SUMMARY = "run every stage: process, normalise, plot, toppeak, abcd, fit, report (the default)"

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    process.add_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """The stages say little; their tables come together at the end."""
    folder = arguments.output
    process.process(arguments, tables=False)
    plot(folder)
    toppeak.fit(folder, tables=False)
    abcd_if_possible(folder, tables=False)
    fit_if_possible(folder)
    report(folder)
    if logger.isEnabledFor(logging.INFO):
        show_results(folder)
