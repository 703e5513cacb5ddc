"""Part: what a region, channel, shift, weight and control plot have in common: a name, columns, functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from typing import Any, ClassVar, TypeVar

from numpy.typing import NDArray

from analysis.common.errors import DefinitionError, EventValueError, nearest
from analysis.common.names import name_fault
from analysis.common.tables import html
from analysis.config import Binning
from analysis.datasets.sample import FLAVOURS
from schemas import MissingBranchError

_Array = TypeVar("_Array", bound=NDArray[Any])

_LEPTON = "lepton."
_ALIKE = 0.8
"""Likeness from which one column may be another one misspelt."""


class Part:
    """Base of the frozen dataclasses that an analysis is made of.

    Raises DefinitionError, with the part's name, for a name that cannot be, columns that are no set of
    names, and for what is no function or binning where one must be.
    """

    kind: ClassVar[str]
    """The part in words, for messages."""
    functions: ClassVar[tuple[str, ...]] = ()
    """Fields with functions, or tuples of functions."""
    required: ClassVar[tuple[str, ...]] = ()
    """Fields that may not be None."""
    name: str
    uses: AbstractSet[str]

    @property
    def owner(self) -> str:
        """The part with its name, for messages."""
        return f"{self.kind} {self.name!r}"

    def __post_init__(self) -> None:
        self._set("name", str(self.name))
        if fault := name_fault(self.name):
            self._refuse(fault)
        self._set("uses", self.declared(self.uses))
        for field in self.functions:
            self._require_functions(field)
        binning = getattr(self, "binning", None)
        if not isinstance(binning, Binning) and (binning is not None or "binning" in self.required):
            self._refuse(f"binning {binning!r}, expected Binning(bins=..., low=..., high=...)")

    def declared(self, uses: Iterable[str]) -> frozenset[str]:
        """Name the columns that `uses` asks for: `lepton.phi` is that of each flavour."""
        columns: set[str] = set()
        if isinstance(uses, str):
            self._refuse(f"uses={uses!r}, expected a set of columns, such as {{{uses!r}}}")
        for column in uses:
            if "." not in column:
                self._refuse(f"uses {column!r}, expected columns such as 'met.pt'")
            if column.startswith(_LEPTON):
                columns |= {f"{name}.{column.removeprefix(_LEPTON)}" for name in FLAVOURS}
            else:
                columns.add(column)
        return frozenset(columns)

    def _require_functions(self, field: str) -> None:
        value = getattr(self, field)
        if isinstance(value, list):
            value = tuple(value)
            self._set(field, value)
        for function in value if isinstance(value, tuple) else (value,):
            if not callable(function) and (function is not None or field in self.required):
                self._refuse(f"{field} is {function!r}, expected a function")

    def _set(self, field: str, value: Any) -> None:
        object.__setattr__(self, field, value)

    def _refuse(self, fault: str) -> None:
        msg = f"{self.owner}: {fault}"
        raise DefinitionError(msg)

    def shown(self) -> dict[str, str]:
        """Write the fields that are not as they are by default."""
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}  # type: ignore[arg-type]
        return {
            name: _written(value) for name, (value, default) in values.items() if value != default
        }

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={value}" for name, value in self.shown().items())
        return f"{type(self).__name__}({said})"

    def _repr_html_(self) -> str:
        return html((self.kind, self.name), list(self.shown().items())[1:])


def _written(value: Any) -> str:
    """Write a value; of a function without a name, what it reads."""
    if isinstance(value, tuple) and any(map(callable, value)):
        return f"({', '.join(map(_written, value))})"
    if isinstance(value, partial):
        given = "".join(f", {name}={content!r}" for name, content in value.keywords.items())
        return f"partial({_written(value.func)}{given})"
    if isinstance(value, frozenset):
        return f"{{{', '.join(map(repr, sorted(value)))}}}"
    if not callable(value):
        return repr(value)
    name = str(getattr(value, "__name__", type(value).__name__))
    code = getattr(value, "__code__", None)
    return f"lambda({', '.join(code.co_names)})" if name == "<lambda>" and code else name


def read_only(values: _Array) -> _Array:
    """View an array that a user's function gets and cannot change: the other functions see the same."""
    view = values.view()
    view.flags.writeable = False
    return view


def require_declared(column: str, allowed: AbstractSet[str]) -> None:
    """Raise DefinitionError for a column that is not `allowed`, with the nearest one that is."""
    if column in allowed:
        return
    msg = f"{column} is read and not declared: add uses={{{column!r}}}"
    collection, _, _ = column.partition(".")
    same = FLAVOURS if collection == "lepton" else (collection,)
    fields = {name.partition(".")[2] for name in allowed if name.startswith(same)}
    if near := nearest(column, [f"{collection}.{field}" for field in sorted(fields)], 1, _ALIKE):
        msg += f", or did you mean {near[0]!r}?"
    raise DefinitionError(msg)


@contextmanager
def blamed(owner: str) -> Iterator[None]:
    """Turn what a user's function raises into a DefinitionError that begins with its `owner`.

    A branch that the file lacks, a failure to read and a lack of memory are not the function's.
    """
    try:
        yield
    except DefinitionError as error:
        msg = f"{owner}: {error}"
        raise type(error)(msg) from error
    except (MissingBranchError, OSError, MemoryError):
        raise
    except Exception as error:
        text = str(error).strip().splitlines()
        msg = f"{owner}: {type(error).__name__}: {text[0] if text else ''}".removesuffix(": ")
        always = isinstance(error, AttributeError | NameError | TypeError)
        raise (DefinitionError if always else EventValueError)(msg) from error
