"""Command line of the analysis: `python run.py --help`."""

import sys

if __name__ == "__main__":
    from analysis.execution.signals import end_program_at_once

    end_program_at_once()
    from analysis.cli import main

    sys.exit(main())
