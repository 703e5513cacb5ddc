"""`run.py show`: the results of a finished run in the terminal."""

from __future__ import annotations

import argparse
from pathlib import Path

from analysis.cli import options

SUMMARY = "print the results of a finished run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_results(parser)


def run(arguments: argparse.Namespace) -> None:
    show_results(options.results_folder(arguments))


def show_results(folder: Path) -> None:
    """Print the tables of every stage that the folder has, what is missing, and where the files are."""
    from analysis.common.tables import say, show
    from analysis.report.loaded import load
    from analysis.report.summary import files, observed, speed, status, tables

    run = load(folder)
    for table in tables(run):
        show(table.header, table.rows, title=table.title)
        if table.notes:
            say("\n".join([*table.notes, ""]))
    for reason in run.missing.values():
        say(reason)
    say(f"{status(run)}.")
    say(f"{speed(run)}.")
    if run.measurement is not None:
        say(
            f"{run.measurement.quantity} = {run.measurement.cross_section}, fitted to {observed(run)}"
        )
    for what, path in files(folder).items():
        say(f"{what}: {path}")
