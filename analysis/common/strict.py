"""Turn pydantic's findings into one line each: where, what is wrong, the nearest valid name."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, Self, TypeVar, cast, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from analysis.common.errors import AnalysisError, ConfigError, did_you_mean, nearest
from analysis.common.files import read_text

ALIKE = 0.75
"""Likeness of keys that are taken for each other."""
SUGGESTED = 4
"""Keys of other sections in a hint."""


class Frozen(dict[Any, Any]):
    """A dictionary that stays as it is; `|` gives one that can be changed."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        msg = "a typed value is frozen: make another one with model_copy(update={...})"
        raise TypeError(msg)

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[Frozen], tuple[dict[Any, Any]]]:
        return Frozen, (dict(self),)


class Strict(BaseModel):
    """Base of every typed input: frozen with its dictionaries, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="after")
    def _freeze(self) -> Self:
        vars(self).update({name: _frozen(value) for name, value in vars(self).items()})
        return self

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy with other values of some fields, held against what they may be.

        Raises ConfigError for an unknown field and for a value that is not valid.
        """
        copied = super().model_copy(deep=deep)
        if update is None:
            return copied
        try:
            return type(self).model_validate(vars(copied) | dict(update))
        except ValidationError as error:
            msg = "; ".join(faults(error, type(self)))
            raise ConfigError(msg) from error


def _frozen(value: Any) -> Any:
    """Freeze a dictionary, with those within."""
    if not isinstance(value, dict):
        return value
    return Frozen({key: _frozen(content) for key, content in value.items()})


_Model = TypeVar("_Model", bound=Strict)


def read_toml(path: Path | str, model: type[_Model], base: _Model | None = None) -> _Model:
    """Read a configuration from a TOML file, whose values take the place of those of `base`.

    Raises ConfigError, with a line for each fault of the file and its place.
    """

    def parse(text: str) -> Any:
        values = tomllib.loads(text)
        return values if base is None else _over(base.model_dump(), values)

    return _read(path, model, parse, "TOML", "configuration", ConfigError)


def _over(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Put values of nested sections in the place of those of `base`."""
    both = dict(base)
    for key, value in values.items():
        sections = isinstance(value, Mapping) and isinstance(base.get(key), Mapping)
        both[key] = _over(base[key], value) if sections else value
    return both


def read_json(
    path: Path | str, model: type[_Model], what: str, kind: type[AnalysisError]
) -> _Model:
    """Read a typed input, `what` in words, from a JSON file.

    Raises an error of this kind, with a line for each fault of the file and its place.
    """

    return _read(path, model, parse_json, "JSON", what, kind)


def parse_json(text: str) -> Any:
    """Parse JSON; raises ValueError for a key that an object has twice, of which one would be lost."""
    return json.loads(text, object_pairs_hook=_unique)


def _read(
    path: Path | str,
    model: type[_Model],
    parse: Callable[[str], Any],
    form: str,
    what: str,
    kind: type[AnalysisError],
) -> _Model:
    cause: Exception
    try:
        return model.model_validate(parse(read_text(path)))
    except OSError as error:
        found, cause = [error.strerror or str(error)], error
    except ValidationError as error:
        found, cause = faults(error, model), error
    except ValueError as error:
        found, cause = [f"not {form}: {error}"], error
    raise kind("\n".join(f"{what} {path}: {fault}" for fault in found)) from cause


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of JSON; raises ValueError for a key that is given twice."""
    counts = Counter(key for key, _ in pairs)
    if twice := [key for key, n in counts.items() if n > 1]:
        msg = f"{', '.join(twice)}: given twice"
        raise ValueError(msg)
    return dict(pairs)


def faults(error: ValidationError, model: type[BaseModel], content: Any = None) -> list[str]:
    """Every finding of `error` as `place: what`, in the order of the input.

    With `content`, the input, elements of lists that have a name are called by it.
    """
    return [_fault(finding, model, content) for finding in error.errors(include_url=False)]


def _fault(finding: Any, model: type[BaseModel], content: Any) -> str:
    if not finding["loc"] and finding["type"] == "value_error":
        return str(finding["msg"]).removeprefix("Value error, ")  # names the keys itself
    *parents, last = finding["loc"] or ("input",)
    place = ".".join(_named(content, [part for part in (*parents, last) if part != "[key]"]))
    if finding["type"] == "extra_forbidden":
        return f"{place}: unknown key, {_hint(str(last), _keys_at(model, parents), model)}"
    if finding["type"] == "missing":
        return f"{place}: missing"
    message = str(finding["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    said = finding["type"] == "value_error" and "got" in message
    shown = not said and not isinstance(finding["input"], dict | list)
    given = f", got {finding['input']!r}" if shown else ""
    return f"{place}: {message}{given}"


def _named(content: Any, location: list[Any]) -> Iterator[str]:
    for part in location:
        try:
            content = content[part]
        except (KeyError, IndexError, TypeError):
            content = None
        name = content.get("name") if isinstance(content, dict) else None
        yield name if isinstance(part, int) and isinstance(name, str) else str(part)


def _hint(key: str, here: list[str], model: type[BaseModel]) -> str:
    """The nearest key of this level, or one like it of another section, by its full name."""
    elsewhere: dict[str, list[str]] = {}
    for name in _nested(model):
        elsewhere.setdefault(name.rpartition(".")[2], []).append(name)
    for valid in (set(elsewhere) & {key}, here, elsewhere):
        if close := nearest(key, valid, 3 if valid is here else 1, ALIKE):
            names = close if valid is here else elsewhere[close[0]]
            return f"did you mean {' or '.join(map(repr, names[:SUGGESTED]))}?"
    return did_you_mean(key, here)


def _nested(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Full names of all keys in sections below the model."""
    for key, field in model.model_fields.items():
        if prefix:
            yield prefix + key
        if _is_model(field.annotation):
            yield from _nested(cast("type[BaseModel]", field.annotation), f"{prefix}{key}.")


def _keys_at(model: type[BaseModel], location: list[Any]) -> list[str]:
    """The keys that are valid at `location`, following models in fields and in dictionaries."""
    current: Any = model
    for part in location:
        if _is_model(current):
            current = (
                current.model_fields[part].annotation if part in current.model_fields else None
            )
        else:
            current = next((kind for kind in get_args(current) if _is_model(kind)), None)
    if not _is_model(current):
        current = next((kind for kind in get_args(current) if _is_model(kind)), None)
    return [] if current is None else list(current.model_fields)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
