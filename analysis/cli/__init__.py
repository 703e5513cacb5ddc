"""Command line: one thin module per command, imported only when its command runs.

A command module has `SUMMARY`, `add_arguments(parser)` and `run(arguments) -> int | None`. Imports of
the heavy libraries stay inside `run`, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import logging
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

from analysis import __version__
from analysis.common.errors import AnalysisError, OutputError, did_you_mean
from analysis.common.processes import (
    LIBRARIES_MB,
    require_docstrings,
    require_folder,
    require_memory,
    require_threads,
)
from analysis.common.streams import kept
from analysis.datasets.addresses import shown
from analysis.execution.signals import Interrupted, handled

DEFAULT_COMMAND = "all"
COMMANDS = (
    "all", "process", "normalise", "plot", "toppeak", "abcd", "fit", "report", "show", "limit",
    "validate", "sideband", "catalogue", "skim", "simulate", "analyses", "compare", "export",
)  # fmt: skip


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line with the nearest valid option."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")

    def unknown(self, word: str) -> NoReturn:
        options = [name for name in self._option_string_actions if name.startswith("--")]
        self.error(f"unknown argument {word!r}: {did_you_mean(word, options)}")


def build_parser(command: str | None, program: str) -> argparse.ArgumentParser:
    """The parser of all commands; the arguments of `command` only, for a quick start."""
    parser = _Parser(
        prog=program,
        description="The ttbar lepton+jets analysis of CMS Open Data 2015.",
        epilog=f"Without a command, '{DEFAULT_COMMAND}' runs on the default sample.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="command", parser_class=_Parser)
    for name in COMMANDS:
        module = importlib.import_module(f"analysis.cli.{name}")
        subparser = subparsers.add_parser(name, help=module.SUMMARY, description=module.SUMMARY)
        if name == command:
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run, parser=subparser)
    return parser


def _named_command(arguments: Sequence[str]) -> str | None:
    """The command that the arguments name; the default one where they begin with an option."""
    if not arguments:
        return DEFAULT_COMMAND
    if arguments[0] in ("-h", "--help", "--version"):
        return None
    return DEFAULT_COMMAND if arguments[0].startswith("-") else arguments[0]


class _Shown(logging.Formatter):
    """Lines without the passwords and tokens of addresses."""

    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record))


def _set_up_logging(arguments: argparse.Namespace) -> None:
    level = logging.INFO
    if getattr(arguments, "quiet", False):
        level = logging.WARNING
    if getattr(arguments, "verbose", False):
        level = logging.DEBUG
    logger = logging.getLogger("analysis")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Shown())
    logger.handlers = [handler]
    logger.setLevel(level)


def main(argv: Sequence[str] | None = None, program: str = "run.py") -> int:
    """Run one command of the program; return the exit status.

    0: done; 2: bad input; 3: incomplete; 4: a stage failed; 129: hung up; 130: Ctrl-C; 141: nobody reads standard output;
    143: SIGTERM.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = _named_command(arguments)
    if command == DEFAULT_COMMAND and (not arguments or arguments[0] != command):
        arguments.insert(0, DEFAULT_COMMAND)
    parser = build_parser(command, program)
    if command is not None and command not in COMMANDS:
        parser.error(f"unknown command {command!r}: {did_you_mean(command, COMMANDS)}")
    parsed, unknown = parser.parse_known_args(arguments)
    if unknown:
        parsed.parser.unknown(unknown[0])
    with kept() as output:
        _set_up_logging(parsed)
        status = _status(parsed)
        output.flush()
        if isinstance(output.error, BrokenPipeError):
            return status or 128 + signal.SIGPIPE
        # A terminal that was closed has nobody who would miss the words.
        if output.error is not None and output.error.errno != errno.EIO:
            why = output.error.strerror or output.error
            sys.stderr.write(f"error: cannot write to standard output: {why}\n")
            return status or OutputError.exit_status
        return status


def _status(parsed: argparse.Namespace) -> int:
    """Run the command; the exit status, after the line that goes with it."""
    try:
        with handled():
            require_folder()
            require_docstrings()
            require_threads()
            require_memory(LIBRARIES_MB)
            return int(parsed.run(parsed) or 0)
    except AnalysisError as error:
        sys.stderr.write(f"error: {shown(str(error))}\n")
        return error.exit_status
    except MemoryError:
        sys.stderr.write("error: out of memory\n")
        return OutputError.exit_status
    except Interrupted as interrupt:
        # What a library had begun, and could not end.
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
        sys.stderr.write(f"{interrupt.word}\n")
        return interrupt.exit_status
