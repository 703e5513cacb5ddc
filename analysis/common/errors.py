"""The package's exceptions, and the one way in which they name the nearest valid word.

The command line prints the message of an `AnalysisError` as one line and exits with its status;
everything else is a defect of the program and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AnalysisError(Exception):
    """Base class: the message says what is wrong, where, and what was expected."""

    exit_status = 2


class ConfigError(AnalysisError):
    """A configuration file, key or value that is not valid."""


class CatalogueError(AnalysisError):
    """A catalogue, dataset or process that is not valid or not there."""


class OutputError(AnalysisError):
    """A result that cannot be written, or a results folder that cannot be read."""


class ExecutionError(AnalysisError):
    """The machinery that runs the chunks failed."""


class IncompleteError(AnalysisError):
    """Some of the events that were asked for have not been processed."""

    exit_status = 3


class StageError(AnalysisError):
    """A stage after processing that failed; the results of the others are there."""

    exit_status = 4


class NormalisationError(AnalysisError):
    """A scale factor that cannot be computed from what is known."""


class DefinitionError(AnalysisError):
    """A part of an analysis (region, shift, weight, ...) that cannot be computed as it is defined."""


class EventValueError(DefinitionError):
    """A part that fails for the values of some events, and may be right for others."""


class WorkspaceError(AnalysisError):
    """A file that is no workspace, or templates that cannot make one."""


class FitError(AnalysisError):
    """A fit without a valid result: there is no number to report."""


class SidebandError(AnalysisError):
    """Regions or values that give no background estimate."""


class AbcdError(AnalysisError):
    """Regions or yields that give no ABCD estimate."""


class SimulationError(AnalysisError):
    """A request that cannot be simulated, or a generator or worker that failed."""


def nearest(word: str, valid: Iterable[str], count: int = 3, likeness: float = 0.5) -> list[str]:
    """The `count` words of `valid` most like `word`, nearest first; compared without case.

    `likeness`, 0 to 1, is the least that is near.
    """
    by_folded = {name.casefold(): name for name in valid}
    matches = difflib.get_close_matches(word.casefold(), by_folded, n=count, cutoff=likeness)
    return [by_folded[match] for match in matches]


def did_you_mean(word: str, valid: Iterable[str]) -> str:
    """A hint to end a message with: the nearest valid words, or else all of them."""
    choices = list(valid)
    close = nearest(word, choices)
    if close:
        return f"did you mean {' or '.join(repr(name) for name in close)}?"
    return f"valid are: {', '.join(choices)}" if choices else "there are none"
