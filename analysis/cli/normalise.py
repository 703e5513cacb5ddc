"""`run.py normalise`: scale a finished run again, with another luminosity or cross sections."""

from __future__ import annotations

import argparse

from analysis.cli import options
from analysis.cli.process import report

SUMMARY = "normalise a finished run again, with another luminosity or other cross sections"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_results(parser)
    options.add_normalisation(parser)
    options.add_verbosity(parser)


def run(arguments: argparse.Namespace) -> None:
    # What is wrong with the words themselves, without the libraries that scaling needs.
    options.assignments("--cross-section", arguments.cross_section)
    folder = options.results_folder(arguments)
    scaling = options.scaling(arguments)

    from analysis import stages

    report(stages.normalise(folder, scaling))
