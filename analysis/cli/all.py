"""`run.py`: every stage, from a catalogue to figures."""

from __future__ import annotations

import argparse

from analysis.cli import process, toppeak
from analysis.cli.abcd import abcd_if_possible
from analysis.cli.fit import fit_if_possible
from analysis.cli.plot import plot

SUMMARY = "run every stage: process, normalise, plot, toppeak, abcd, fit (the default)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    process.add_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    process.process(arguments)
    plot(arguments.output)
    toppeak.fit(arguments.output)
    abcd_if_possible(arguments.output)
    fit_if_possible(arguments.output)
