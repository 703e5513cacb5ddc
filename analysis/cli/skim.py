"""`run.py skim`: slim ntuples of the events that the analysis uses, for fast repeats."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from analysis.cli import options
from analysis.common.errors import IncompleteError
from analysis.common.files import sole_run

SUMMARY = "write the events and branches that are used to slim ntuples"

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_input(parser, limits=False)
    options.add_execution(parser)
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for the skim; its catalogue is DIR/ntuples.json",
    )
    parser.add_argument(
        "--rntuple",
        action="store_true",
        help="write RNTuples: a sixth faster to process than TTrees, and read by fewer programs",
    )
    options.add_verbosity(parser)


def run(arguments: argparse.Namespace) -> None:
    catalogue = options.selected_catalogue(arguments)

    from analysis.config import load_config
    from analysis.processor import TtbarAnalysis
    from analysis.skim import make_skim

    config = load_config(arguments.config)
    try:
        with sole_run(arguments.output):
            skimmed = make_skim(
                catalogue,
                arguments.output,
                TtbarAnalysis(config),
                execution=options.execution(arguments),
                source=str(options.catalogue_path(arguments)),
                rntuple=arguments.rntuple,
            )
    except IncompleteError as error:
        msg = f"{error} (a skim has to be complete: {arguments.output} has no catalogue)"
        raise IncompleteError(msg) from error
    made, ledger = skimmed.catalogue, skimmed.ledger
    logger.info(
        "kept %d of %d events in %.1f s; process them with --catalogue %s",
        made.events, ledger.events_processed, ledger.duration_s, skimmed.path,
    )  # fmt: skip
