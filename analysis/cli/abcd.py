"""`run.py abcd`: the multijet background of the muon channel, from data."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from analysis.cli import options
from analysis.common.errors import AnalysisError

SUMMARY = "estimate the multijet background of the muon channel (ABCD)"

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_results(parser)
    options.add_verbosity(parser)


def run(arguments: argparse.Namespace) -> None:
    abcd(options.results_folder(arguments))


def abcd(folder: Path, tables: bool = True) -> None:
    """Estimate, write, draw and print."""
    from analysis import results
    from analysis.common.tables import show
    from analysis.plotting.abcd import make_figures
    from analysis.postprocess.abcd.multijet import estimate_table, verdicts

    normalised = results.load_normalised(folder)
    estimates = results.estimate_multijet(folder, normalised)
    make_figures(normalised, estimates, folder / results.FIGURES)
    if not tables:
        return
    if logger.isEnabledFor(logging.INFO):
        show(
            *estimate_table(estimates, normalised.ledger.data_label),
            title="Multijet background, muon channel (ABCD)",
        )
    for line in verdicts(estimates, normalised.ledger.data_label):
        logger.info("%s", line)


def abcd_if_possible(folder: Path, tables: bool = True) -> None:
    """The same as the last of all stages: a run without what it needs is complete without it."""
    try:
        abcd(folder, tables)
    except AnalysisError as error:
        logger.warning("no multijet estimate: %s", error)
