"""`run.py export`: a run's histograms in the format of others."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from analysis.cli import options

SUMMARY = "write the scaled histograms of a run in the format of others"

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_results(parser)
    parser.add_argument(
        "--format",
        choices=("agc-json",),
        default="agc-json",
        help="agc-json (default): that of the Analysis Grand Challenge's reference histograms",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="(default: histograms.json in the results folder)",
    )
    options.add_verbosity(parser)


def run(arguments: argparse.Namespace) -> None:
    folder = options.results_folder(arguments)

    from analysis.common.files import write_json
    from analysis.postprocess import agc_json
    from analysis.results import load_normalised

    contents = agc_json.histograms(load_normalised(folder))
    path = arguments.output or folder / "histograms.json"
    write_json(path, agc_json.dump(contents))
    logger.info("%d histograms in %s", len(contents), path)
