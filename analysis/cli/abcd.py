"""`run.py abcd`: estimate the multijet background of the muon channel from data."""

from __future__ import annotations

import argparse
import logging

from analysis.cli import options

SUMMARY = "estimate the multijet background of the muon channel (ABCD)"

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_results(parser)
    options.add_verbosity(parser)


def run(arguments: argparse.Namespace) -> None:
    folder = options.results_folder(arguments)

    from analysis import stages
    from analysis.common.tables import show
    from analysis.execution.ledger import Ledger
    from analysis.postprocess.abcd.multijet import estimate_table, verdicts

    estimates = stages.abcd(folder)
    label = Ledger.load(folder).data_label
    if logger.isEnabledFor(logging.INFO):
        show(*estimate_table(estimates, label), title="Multijet background, muon channel (ABCD)")
    for line in verdicts(estimates, label):
        logger.info("%s", line)
