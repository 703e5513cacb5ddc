"""`run.py analyses`: the presets, and what is in one."""

from __future__ import annotations

import argparse

SUMMARY = "list the analyses, or show one: regions, variations, what is read"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "analysis",
        nargs="?",
        metavar="NAME|FILE.py",
        help="one of them, or a file that defines 'analysis'",
    )


def run(arguments: argparse.Namespace) -> None:
    from analysis.common.tables import say, show

    if arguments.analysis is None:
        from analysis.presets import PRESETS

        rows = [[name, preset.summary] for name, preset in PRESETS.items()]
        show(["analysis", "what it is"], rows, title="Analyses")
        return

    from analysis.stages import named_analysis

    analysis = named_analysis(arguments.analysis)
    show(["part", "name", "what it is"], analysis.rows(), title=analysis.name)
    columns = sorted(analysis.columns({"process": "simulation"}))
    say(f"{len(columns)} columns are read of simulation: {', '.join(columns)}")
