"""What a missing branch or a misspelt column is answered with: its name, the file, the nearest names."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable

from awkward.errors import FieldNotFoundError


class MissingBranchError(LookupError):
    """A branch that is needed and not in the file: named with the file and the nearest names there."""


class UnknownFieldError(FieldNotFoundError, AttributeError):
    """A field that is not there: to awkward, as it is asked for in brackets, and as an attribute."""


class MissingFieldError(MissingBranchError, UnknownFieldError):
    """A field that is not there for want of its branch."""


def missing_branch_message(branch: str, path: str, available: Iterable[str]) -> str:
    """Name the branch, the file, and the nearest of the `available` branches that are no counters.

    One that is there is of a collection of which the processor has declared no column.
    """
    present = set(available)
    if not present:
        return f"branch {branch!r} is not in {path}"
    if fnmatch.filter(present, branch):
        return f"branch {branch!r} is in {path}, but of no collection with a declared column"
    names = sorted(name for name in present if name[:1] != "n" or name[1:] not in present)
    close = difflib.get_close_matches(branch, names, n=3, cutoff=0.5)
    nearest = f"nearest there: {', '.join(close)}" if close else f"the tree has {len(names)} others"
    return f"branch {branch!r} is not in {path}: {nearest}"


def unknown_column(column: str, columns: Iterable[str], what: str) -> MissingBranchError:
    """Build the error for a column that no branch of a file that is `what` gives."""
    close = difflib.get_close_matches(column, columns, n=3)
    hint = f": nearest are {', '.join(close)}" if close else ""
    return MissingBranchError(f"no branch of {what} gives {column!r}{hint}")
