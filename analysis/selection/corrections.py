"""Corrections of simulated events by tables in the JSON format of correctionlib (its schema, version 2).

What is read of a file is in the weight itself, so that it is sent with it, and is in its digest.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from analysis.common.errors import ConfigError, EventValueError, did_you_mean
from analysis.config import Correction, Directed, Table
from analysis.datasets.sample import FLAVOURS
from analysis.selection.kernels import Bools
from analysis.selection.selection import Quantity, Selection
from analysis.selection.variations import DIRECTIONS, Weight

SCHEMA = 2
"""Version of correctionlib's schema."""
NOMINAL = "nominal"

_ABSOLUTE = re.compile(r"abs\((.*)\)")
_INPUT = re.compile(r"^Index (.*) for input argument (\d+) val(?:ue)?: (.*)$")
"""What correctionlib says of a value without a bin or key."""
_HAS_LAST_COPY = 1 << 13
"""Bit of `GenPart_statusFlags` of NanoAOD: the last of the copies of a particle."""

EVENT = ("n_jets", "n_btags", "ht", "n_vertices")
"""Quantities of a selection that may be inputs, with the columns that they need."""
_NEEDS = {"n_vertices": {"PV.npvs"}}


def _generated_pt(selection: Selection, number: int) -> Quantity:
    """pT in GeV of the generated particle of a number of the PDG, NaN without one; shape (events,)."""
    columns = (selection.column(f"GenPart.{name}") for name in ("pdgId", "statusFlags", "pt"))
    identity, flags, pt = columns
    chosen = pt[(identity == number) & ((flags & _HAS_LAST_COPY) != 0)]
    return np.asarray(ak.fill_none(ak.firsts(chosen), np.nan), dtype=np.float64)


GENERATED: dict[str, Callable[[Selection], Quantity]] = {
    "top_pt": partial(_generated_pt, number=6),
    "antitop_pt": partial(_generated_pt, number=-6),
}
"""Quantities of the generated event, in NanoAOD."""
_PARTICLES = frozenset(f"GenPart.{name}" for name in ("pdgId", "statusFlags", "pt"))


@dataclass(frozen=True)
class Source:
    """Where an input of a table comes from: a value, a column or a quantity of the event."""

    value: str | float | None
    """A constant; None for a column or quantity."""
    name: str = ""
    absolute: bool = False
    whole: bool = False
    """Whether the table asks for whole numbers."""

    @property
    def collection(self) -> str:
        """The objects that it is of: `jet`, `lepton`, a flavour; empty for one value an event."""
        found = self.name.partition(".")[0]
        return found if found in ("jet", "lepton", *FLAVOURS) else ""

    @property
    def uses(self) -> frozenset[str]:
        if not self.name:
            return frozenset()
        if self.name in GENERATED:
            return _PARTICLES
        return frozenset({self.name} if "." in self.name else _NEEDS.get(self.name, set()))

    def of_events(self, selection: Selection) -> NDArray[Any]:
        """Read it of each event; of leptons, of the one lepton; shape (events,)."""
        if self.name in GENERATED:
            values = GENERATED[self.name](selection)
        elif "." not in self.name:
            values = np.asarray(getattr(selection, self.name), np.float64)
            values = values[0] if values.ndim > 1 else values
        elif self.collection in FLAVOURS:
            events = np.flatnonzero(selection.wanted.any(axis=0))
            values, field = np.zeros(selection.shape[1]), self.name.partition(".")[2]
            values[events] = selection.leptons.only(field, events, (self.collection,))
        elif self.collection:
            values = getattr(selection.lepton, self.name.partition(".")[2])
        else:
            values = np.asarray(selection.column(self.name))
        return self._typed(values)

    def of_jets(self, selection: Selection, event: NDArray[np.int64]) -> NDArray[Any]:
        """Read it of each good jet; `event` is that of each jet."""
        if self.collection == "jet":
            return self._typed(selection.jets.flat(self.name.partition(".")[2]))
        return self.of_events(selection)[event]

    def _typed(self, values: NDArray[Any]) -> NDArray[Any]:
        found = np.abs(values) if self.absolute else values
        return found.astype(np.int64 if self.whole else np.float64)


@dataclass(frozen=True)
class Lookup:
    """One table of a file, with the sources of its inputs, for one direction."""

    file: str
    name: str
    text: bytes
    """The table alone as compressed JSON."""
    inputs: tuple[tuple[str, Source], ...]
    """Inputs in the order of the table, each with its source."""

    @property
    def uses(self) -> frozenset[str]:
        """Columns that it reads."""
        return frozenset().union(*(source.uses for _, source in self.inputs))

    @property
    def collections(self) -> set[str]:
        """Objects that its inputs are of."""
        return {source.collection for _, source in self.inputs if source.collection}

    def values(self, read: Callable[[Source], NDArray[Any]], chosen: Bools) -> Quantity:
        """Look up the factors of what is `chosen`; the others have 1.

        `read` reads a source, one value for each of `chosen`. Raises EventValueError, with the input,
        for a value that has no bin.
        """
        factors = np.ones(len(chosen))
        arguments = [
            read(source)[chosen] if source.value is None else source.value
            for _, source in self.inputs
        ]
        if not chosen.any():
            return factors
        try:
            factors[chosen] = _evaluator(self.text, self.name).evaluate(*arguments)
        except (RuntimeError, IndexError) as error:
            raise EventValueError(self._without_bin(str(error))) from error
        return factors

    def _without_bin(self, said: str) -> str:
        where = f"{self.name!r} of {self.file}"
        found = _INPUT.match(said)
        if not found:
            return f"{where}: {said}"
        what, place, value = found.groups()
        name = self.inputs[int(place)][0]
        return f"{where} has no bin for {name} = {_short(value)} ({what.lower()})"


def _short(value: str) -> str:
    try:
        return f"{float(value):g}"
    except ValueError:
        return value


@lru_cache(maxsize=128)
def _evaluator(text: bytes, name: str) -> Any:
    import correctionlib

    return correctionlib.CorrectionSet.from_string(zlib.decompress(text).decode())[name]


@dataclass(frozen=True)
class Factor:
    """The weight of each event in one direction: a function of the selection."""

    table: Lookup
    efficiency: Lookup | None
    flavours: tuple[int, ...]

    @property
    def uses(self) -> frozenset[str]:
        found = self.table.uses | (self.efficiency.uses if self.efficiency else frozenset())
        return found | {"jet.hflav"} if self.flavours else found

    @property
    def _of_jets(self) -> bool:
        lookups = (self.table, self.efficiency) if self.efficiency else (self.table,)
        return bool(self.flavours) or any("jet" in lookup.collections for lookup in lookups)

    def __call__(self, selection: Selection) -> Quantity:
        if self._of_jets:
            return self._product(selection)
        chosen = selection.wanted[0]
        for flavour in self.table.collections.intersection(FLAVOURS):
            chosen = chosen & getattr(selection.lepton, f"is_{flavour}")
        return self.table.values(lambda source: source.of_events(selection), chosen)

    def _product(self, selection: Selection) -> Quantity:
        jets, event = selection.jets, selection.jets.event()
        chosen = np.ones(len(event), np.bool_)
        if self.flavours:
            chosen = np.isin(jets.flat("hflav"), self.flavours)

        def read(source: Source) -> NDArray[Any]:
            return source.of_jets(selection, event)

        factors = self.table.values(read, chosen)
        if self.efficiency is not None:
            efficiency = self.efficiency.values(read, chosen)
            untagged = chosen & ~jets.flat("btagged")
            factors = np.where(untagged, _missed(factors, efficiency, untagged), factors)
        product = np.ones(selection.shape[1])
        np.multiply.at(product, event, factors)
        return product


def _missed(factor: Quantity, efficiency: Quantity, untagged: Bools) -> Quantity:
    """Factor of jets that are not tagged: method 1a of the b-tagging group of CMS."""
    ratio = np.ones_like(factor)
    np.divide(1 - factor * efficiency, 1 - efficiency, out=ratio, where=untagged)
    return ratio


def weight(name: str, correction: Correction) -> Weight:
    """Make the weight of a correction, and its variation where anything has directions.

    Raises ConfigError, with the correction and its file, for a file that cannot be read or has another
    version, and for a table, an input or a text that is not there.
    """
    owner = f"corrections.{name}"
    lookups = partial(_lookup, owner, correction)
    efficiency = correction.tag_efficiency
    factors = {
        direction: Factor(
            lookups(direction=direction),
            None
            if efficiency is None
            else _lookup(f"{owner}.tag_efficiency", efficiency, direction),
            correction.hadron_flavours,
        )
        for direction in (NOMINAL, *DIRECTIONS)
    }
    _require_one_kind(owner, factors[NOMINAL])
    varied = {
        direction: factor for direction, factor in factors.items() if factor != factors[NOMINAL]
    }
    return Weight(
        name,
        nominal=factors[NOMINAL],
        up=varied.get("up"),
        down=varied.get("down"),
        uses=frozenset().union(*(factor.uses for factor in factors.values())),
        processes=frozenset(correction.processes) or None,
    )


def _require_one_kind(owner: str, factor: Factor) -> None:
    of = factor.table.collections
    if len(of) > 1 and "jet" not in of:
        msg = (
            f"{owner}.inputs: of {' and '.join(sorted(of))}, expected those of one kind of leptons"
        )
        raise ConfigError(msg)
    if factor.efficiency is not None and "jet" not in of:
        msg = f"{owner}: tag_efficiency is of jets, and no input of the table is"
        raise ConfigError(msg)


def _lookup(owner: str, table: Table, direction: str) -> Lookup:
    name = _in_direction(table.correction, direction)
    content = _read(owner, table.file, name)
    told = {variable["name"]: variable["type"] for variable in content["inputs"]}
    for given in table.inputs:
        if given not in told:
            msg = f"{owner}.inputs: {name!r} has no input {given!r}: {did_you_mean(given, told)}"
            raise ConfigError(msg)
    if lacking := [given for given in told if given not in table.inputs]:
        msg = f"{owner}.inputs: {name!r} of {table.file} needs {', '.join(lacking)}"
        raise ConfigError(msg)
    inputs = tuple(
        (given, _source(f"{owner}.inputs.{given}", table.inputs[given], kind, direction))
        for given, kind in told.items()
    )
    for given, source in inputs:
        if told[given] == "string":
            _require_key(f"{owner}.inputs.{given}", content["data"], given, source.value)
    text = json.dumps({"schema_version": SCHEMA, "corrections": [content]})
    compressed = zlib.compress(text.encode())
    try:
        _evaluator(compressed, name)
    except RuntimeError as error:
        msg = f"{owner}: {table.file}, {name!r}: {error}"
        raise ConfigError(msg) from error
    return Lookup(Path(table.file).name, name, compressed, inputs)


def _in_direction(value: Any, direction: str) -> Any:
    return getattr(value, direction) if isinstance(value, Directed) else value


def _read(owner: str, file: str, name: str) -> dict[str, Any]:
    """Read one table of a file, as JSON."""
    try:
        content = _parsed(Path(file))
    except OSError as error:
        msg = f"{owner}.file {file}: {error.strerror or error}"
        raise ConfigError(msg) from error
    except (ValueError, EOFError, zlib.error) as error:
        msg = f"{owner}.file {file}: not JSON: {error}"
        raise ConfigError(msg) from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA:
        said = "no schema version" if version is None else f"schema version {version}"
        msg = f"{owner}.file {file}: {said}, expected {SCHEMA} of correctionlib"
        raise ConfigError(msg)
    tables: dict[str, dict[str, Any]] = {t["name"]: t for t in content.get("corrections", [])}
    if name not in tables:
        msg = f"{owner}.correction: no {name!r} in {file}: {did_you_mean(name, tables)}"
        raise ConfigError(msg)
    return tables[name]


def _parsed(path: Path) -> Any:
    content = path.read_bytes()
    return json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)


def _source(owner: str, given: Any, kind: str, direction: str) -> Source:
    value = _in_direction(given, direction)
    if kind == "string":
        if isinstance(value, str):
            return Source(value)
        msg = f"{owner}: {value!r}, expected a text"
        raise ConfigError(msg)
    if not isinstance(value, str):
        return Source(int(value) if kind == "int" else float(value))
    absolute = _ABSOLUTE.fullmatch(value)
    name = absolute[1].strip() if absolute else value
    known = (*EVENT, *GENERATED)
    if "." not in name and name not in known:
        msg = f"{owner}: {name!r} is no column (as jet.pt) and no quantity: {did_you_mean(name, known)}"
        raise ConfigError(msg)
    return Source(None, name, absolute is not None, kind == "int")


def _require_key(owner: str, data: Any, given: str, key: Any) -> None:
    """Raise ConfigError, with the nearest, for a text that a category of the table does not have."""
    for category in _categories(data, given):
        keys = [str(entry["key"]) for entry in category["content"]]
        if key not in keys and category.get("default") is None:
            msg = f"{owner}: {key!r}, {did_you_mean(str(key), keys)}"
            raise ConfigError(msg)


def _categories(data: Any, given: str) -> Iterator[dict[str, Any]]:
    """Yield the categories of a table by an input."""
    if not isinstance(data, dict):
        return
    if data.get("nodetype") == "category" and data.get("input") == given:
        yield data
    inner: Iterable[Any] = data.get("content") or ()
    for node in inner if isinstance(inner, list) else (inner,):
        yield from _categories(node.get("value", node) if isinstance(node, dict) else node, given)
    yield from _categories(data.get("default"), given)
