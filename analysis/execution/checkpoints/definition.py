"""Definition of a processor: a digest of values and code that is the same in each process.

Functions and classes of a notebook, a script or a user's own module are known by their compiled code,
with its constants, defaults, closures and the globals that it names, recursively; neither by names of
files nor by numbers of lines. Those of this project and of installed packages are known by their name.
"""

from __future__ import annotations

import builtins
import copyreg
import dataclasses
import dis
import functools
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel

from analysis.common.files import short_digest
from analysis.execution.code import is_own, is_users, top

_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis))
_GLOBAL = {"LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL"}
_NO_BEHAVIOUR = {
    "__module__", "__doc__", "__qualname__", "__dict__", "__weakref__", "__annotations__",
    "__annotate__", "__annotate_func__", "__annotations_cache__", "__abstractmethods__", "_abc_impl",
    "__firstlineno__", "__static_attributes__", "__dataclass_fields__", "__dataclass_params__",
}  # fmt: skip
"""Members of a class that change nothing, or that others follow from."""


class Definition(NamedTuple):
    """Digest of a value, and the modules that it depends on."""

    digest: str
    modules: frozenset[str]
    """Modules of the functions and classes that are known by their name, or named by code."""


def definition(value: Any) -> Definition:
    """Return the digest of a value.

    Raises TypeError for what has no content that could be told, such as an open file or a lock.
    """
    reader = _Reader()
    return Definition(reader.digest(value), frozenset(reader.modules))


class _Reader:
    """Digests of one value and of all that it refers to."""

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self._known: dict[int, str] = {}
        self._open: list[int] = []
        self._kept: list[Any] = []
        """Values whose identity is in use."""

    def digest(self, value: Any) -> str:
        if type(value) in _PLAIN:
            return short_digest(f"{type(value).__name__} {value!r}")
        key = id(value)
        if key in self._open:
            return f"cycle {self._open.index(key)}"
        if key not in self._known:
            self._kept.append(value)
            self._open.append(key)
            try:
                self._known[key] = short_digest("\n".join(self._tokens(value)))
            finally:
                self._open.pop()
        return self._known[key]

    def _tokens(self, value: Any) -> Iterator[str]:
        """Yield words and digests that say what the value is: code first."""
        if isinstance(value, FunctionType):
            yield from self._function(value)
        elif isinstance(value, type):
            yield from self._class(value)
        elif isinstance(value, CodeType):
            yield from self._code(value)
        elif isinstance(value, ModuleType):
            self.modules.add(value.__name__)
            yield f"module {value.__name__}"
        elif isinstance(value, MethodType):
            yield from self._all("method", value.__func__, value.__self__)
        elif isinstance(value, BuiltinFunctionType):
            yield f"builtin {value.__module__} {value.__qualname__}"
            if not isinstance(value.__self__, ModuleType | None):
                yield self.digest(value.__self__)
        elif isinstance(value, CellType):
            yield from self._all("cell", *_content(value))
        elif isinstance(value, property):
            yield from self._all("property", value.fget, value.fset, value.fdel)
        elif isinstance(value, staticmethod | classmethod):
            yield from self._all(type(value).__name__, value.__func__)
        elif isinstance(value, functools.cached_property):
            yield from self._all("cached_property", value.func)
        else:
            yield from self._data(value)

    def _data(self, value: Any) -> Iterator[str]:
        if (wrapped := _wrapped(value)) is not None:
            yield from self._all("wrapper", type(value), wrapped)
        elif type(value) in (dict, MappingProxyType):
            yield from self._named("dict", value.items())
        elif type(value) in (list, tuple):
            yield from self._all(type(value).__name__, *value)
        elif type(value) in (set, frozenset):
            yield "set"
            yield from sorted(map(self.digest, value))
        elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
            yield f"array {value.dtype.str} {value.shape} {short_digest(value.tobytes())}"
        elif isinstance(value, BaseModel):
            # Which fields were given explicitly makes no difference.
            yield from self._named(self.digest(type(value)), vars(value).items())
        elif dataclasses.is_dataclass(value):
            fields = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
            yield from self._named(self.digest(type(value)), fields)
        else:
            yield from self._reduced(value)

    def _all(self, word: str, *values: Any) -> Iterator[str]:
        yield word
        yield from map(self.digest, values)

    def _named(self, word: str, items: Iterable[tuple[Any, Any]]) -> Iterator[str]:
        yield word
        for key, value in items:
            yield self.digest(key)
            yield self.digest(value)

    def _reduced(self, value: Any) -> Iterator[str]:
        """Yield the parts that pickle would make the value of."""
        reduce = copyreg.dispatch_table.get(type(value))
        parts = value.__reduce_ex__(4) if reduce is None else reduce(value)
        if isinstance(parts, str):
            yield f"{type(value).__module__} {parts}"
            return
        function, arguments, state, listed, named = (*parts, None, None, None)[:5]
        yield from self._all("object", function, arguments, state)
        yield from self._all("list", *(listed or ()))
        yield from self._named("dict", named or ())

    def _by_name(self, value: Any) -> Iterator[str]:
        """Yield the name of a function or class that each worker has."""
        module = str(value.__module__)
        version = getattr(sys.modules.get(top(module)), "__version__", "")
        if is_own(module):
            self.modules.add(module)
            version = ""
        yield f"{module} {value.__qualname__} {version}"

    def _function(self, function: FunctionType) -> Iterator[str]:
        if _importable(function):
            yield from self._by_name(function)
            return
        code = function.__code__
        yield from self._all("function", code, function.__defaults__, function.__kwdefaults__)
        yield from self._all("closure", *(function.__closure__ or ()))
        yield from self._named("attributes", vars(function).items())
        words = set(_words(code))
        for name in sorted(_globals(code)):
            yield f"global {name}"
            if name in function.__globals__:
                yield from self._used(function.__globals__[name], words, set())
            elif not hasattr(builtins, name):
                yield "missing"
        self.modules.update(_imports(code))

    def _used(self, value: Any, words: set[str], seen: set[str]) -> Iterator[str]:
        """Yield the digest of a global; of a module of the user's, of what code with these words uses."""
        if not isinstance(value, ModuleType) or not is_users(value.__name__):
            yield self.digest(value)
        elif value.__name__ not in seen:
            self.modules.add(value.__name__)
            yield f"module {value.__name__}"
            for name in sorted(words & vars(value).keys()):
                yield name
                yield from self._used(vars(value)[name], words, seen | {value.__name__})

    def _code(self, code: CodeType) -> Iterator[str]:
        yield f"code {code.co_code.hex()} {code.co_exceptiontable.hex()} {code.co_flags}"
        yield f"{code.co_argcount} {code.co_posonlyargcount} {code.co_kwonlyargcount}"
        yield f"{code.co_names} {code.co_varnames} {code.co_freevars} {code.co_cellvars}"
        yield from map(self.digest, code.co_consts)

    def _class(self, kind: type[Any]) -> Iterator[str]:
        if _importable(kind):
            yield from self._by_name(kind)
            return
        yield from self._all(f"class {kind.__name__}", *kind.__bases__)
        if issubclass(kind, BaseModel):
            fields = kind.__pydantic_fields__.items()
            yield from self._named("fields", ((n, (f.annotation, f.default)) for n, f in fields))
        for name, member in sorted(vars(kind).items()):
            made = isinstance(member, MemberDescriptorType | GetSetDescriptorType)
            if name not in _NO_BEHAVIOUR and not name.startswith("__pydantic") and not made:
                yield name
                yield self.digest(member)


def _importable(value: Any) -> bool:
    """Whether the module that the function or class names has it, and is not the user's own."""
    module = value.__module__
    if not isinstance(module, str) or is_users(module):
        return False
    found: Any = sys.modules.get(module)
    for name in value.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is value or _wrapped(found) is value


def _wrapped(value: Any) -> Any:
    """What a compiled or cached function was made of; None if the value is no such."""
    if callable(value):
        return getattr(value, "py_func", None) or getattr(value, "__wrapped__", None)
    return None


def _content(cell: CellType) -> tuple[Any, ...]:
    try:
        return (cell.cell_contents,)
    except ValueError:
        return ()


def _nested(code: CodeType) -> Iterator[CodeType]:
    """Yield the code, and that of functions within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)


def _globals(code: CodeType) -> set[str]:
    found = (step for part in _nested(code) for step in dis.get_instructions(part))
    return {str(step.argval) for step in found if step.opname in _GLOBAL}


def _words(code: CodeType) -> Iterator[str]:
    for part in _nested(code):
        yield from part.co_names


def _imports(code: CodeType) -> set[str]:
    found = (step for part in _nested(code) for step in dis.get_instructions(part))
    return {str(step.argval) for step in found if step.opname == "IMPORT_NAME"}


def parts(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a processor, each with words for it: `region '4j2b'`."""
    for name, value in values.items():
        one = name.removesuffix("s")
        if isinstance(value, Mapping) and value:
            yield from ((f"{one} {key!r}", (key, part)) for key, part in value.items())
        elif isinstance(value, list | tuple) and value:
            for place, part in enumerate(value):
                yield f"{one} {getattr(part, 'name', place)!r}", part
        else:
            yield name, value
