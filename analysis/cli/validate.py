"""`run.py validate`: what is wrong with a workspace."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from analysis.cli import options
from analysis.common.folders import workspace_file

SUMMARY = "check a pyhf workspace: dead templates, variations that go one way, empty bins"

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "workspace",
        type=Path,
        metavar="SOURCE",
        help="folder where 'fit' left its workspace, or a .json workspace",
    )
    options.add_verbosity(parser)


def run(arguments: argparse.Namespace) -> int:
    file = workspace_file(arguments.workspace)

    from analysis.common.tables import show
    from analysis.inference.validator import validate
    from analysis.inference.workspace import load

    findings = validate(load(file))
    if findings:
        show(
            ["severity", "rule", "channel", "sample", "modifier", "bins", "what"],
            [
                [f.severity, f.rule, f.channel, f.sample, f.modifier, " ".join(map(str, f.bins)), f.message]
                for f in findings
            ],
        )  # fmt: skip
    errors = sum(finding.severity == "error" for finding in findings)
    logger.info("%d errors, %d warnings", errors, len(findings) - errors)
    return 2 if errors else 0
