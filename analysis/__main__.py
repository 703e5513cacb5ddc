"""Command line of an installed copy: `ttbar`, or `python -m analysis`."""

from __future__ import annotations

import sys
from typing import NoReturn


def command(program: str = "ttbar") -> NoReturn:
    """Run one command of this program and end with its exit status."""
    from analysis.execution.signals import end_program_at_once

    end_program_at_once()
    from analysis.cli import main

    sys.exit(main(program=program))


if __name__ == "__main__":
    command("python -m analysis")
