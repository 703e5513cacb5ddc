"""What events, jets and leptons can do, whatever the layout of their file.

Leptons, photons, taus and jets are four-vectors (`pt`, `eta`, `phi`, `mass`), missing momentum is a
vector in the transverse plane (`pt`, `phi`). Files have them in single precision; everything that is
computed from them (`px`, `mass` of a sum, `delta_r`) is computed in double precision. coffea's own
methods are there: `nearest`, `sum`, `add_systematic`, ...

A schema says of each collection which of its fields the file lacks, and for want of which branch: the
parameter `lacks`, field -> branch; where any field is a branch, `prefix` is how their names begin. What
needs such a field is answered with the name of the branch. `aliases` are other names of fields.
"""

from __future__ import annotations

import difflib
import importlib
import itertools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import awkward as ak
import numpy as np
import vector as vectors
from coffea.nanoevents.methods import base, candidate, vector

from schemas.missing import (
    MissingBranchError,
    MissingFieldError,
    UnknownFieldError,
    missing_branch_message,
)  # fmt: skip


class Rules(dict[Any, Any]):
    """A behaviour, `behavior` of a module, that can be pickled: by the module's name.

    So can its rules be where awkward merges it with others; the package `vector` (1.9) has some without
    a name of their own.
    """

    def __init__(self, module: str, *others: Mapping[Any, Any]) -> None:
        self._module = module
        for other in others:
            self.update(other)
        for key, rule in self.items():
            if "<" in getattr(rule, "__qualname__", ""):
                self[key] = _Rule(module, key, rule)

    def __reduce__(self) -> Any:
        return _of_module, (self._module,)


class _Rule(NamedTuple):
    module: str
    key: Any
    function: Callable[..., Any]

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.function(*arguments, **options)

    def __reduce__(self) -> Any:
        return _of_module, (self.module, self.key)


def _of_module(module: str, key: Any = None) -> Any:
    rules = importlib.import_module(module).behavior
    return rules if key is None else rules[key]


behavior = Rules(__name__, base.behavior, candidate.behavior)


class _Answering:
    """Answers a field that is not there with the branch it needs, or with the nearest field."""

    coordinates: ClassVar[tuple[str, ...]] = ()
    """Fields of the vector."""

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)  # type: ignore[misc]
        except AttributeError as error:
            if name.startswith("_") or name in ak.fields(self):
                raise
            if hasattr(type(self), name):
                return object.__getattribute__(self, name)  # what a property itself raised
            if (alias := self._alias(name)) is not None:
                return self[alias]
            raise self._missing(name) from error

    def __getitem__(self, where: Any) -> Any:
        if isinstance(where, str) and where not in ak.fields(self):
            if (alias := self._alias(where)) is not None:
                return self[alias]
            raise self._missing(where)
        return super().__getitem__(where)  # type: ignore[misc]

    def _alias(self, name: str) -> str | None:
        """The field that is also called so, if it is there."""
        alias = (self.layout.purelist_parameter("aliases") or {}).get(name)
        return alias if alias in ak.fields(self) else None

    def _missing(self, name: str) -> AttributeError:
        fields = ak.fields(self)
        collection, kind = map(self.layout.purelist_parameter, ("collection_name", "__record__"))
        branch = (self.layout.purelist_parameter("lacks") or {}).get(name)
        prefix = self.layout.purelist_parameter("prefix")
        if branch is None and prefix is not None:
            source = prefix.removesuffix("_")
            if hasattr((self.behavior or {}).get(source), name):
                msg = f"{collection} has no {name!r}: coffea's events.{source} has it"
                return UnknownFieldError(msg)
            branch = prefix + name
        if branch is not None:
            return MissingFieldError(missing_branch_message(branch, *_file(self.attrs)))
        close = difflib.get_close_matches(name, fields, n=3) or [
            field for field in fields if field.lower() == name.lower()
        ]
        hint = f": did you mean {' or '.join(map(repr, close))}?" if close else ""
        return UnknownFieldError(f"{collection or kind} has no field {name!r}{hint}")


def _file(attrs: Any) -> tuple[str, list[str]]:
    """Path and branches of the file of an array with these attributes; of a copy nothing is known."""
    factory = attrs.get("@events_factory")
    if factory is None:
        return "the file", []
    parameters = factory._schema.form["parameters"]
    told = parameters["metadata"]
    if "treename" not in told:
        return str(factory.file_handle.file_path), parameters["branches"]
    # In a run the form may have the collections that are read alone.
    return str(told["filename"]), factory.file_handle[told["treename"]].keys()


class _Vector(_Answering):
    """Gives the coordinates in double precision, from which `vector` computes everything else."""

    others: ClassVar[tuple[str, ...]] = ()
    """Fields that coffea wants besides the coordinates."""
    # What is computed of a vector is a plain one; `vector` takes `Array` off the names.
    ProjectionClass2D = vector.TwoVectorArray
    ProjectionClass3D = vector.ThreeVectorArray
    ProjectionClass4D = vector.LorentzVectorArray
    MomentumClass = vector.LorentzVectorArray

    @property
    def azimuthal(self) -> Any:
        return self._in_double(lambda: super(_Vector, self).azimuthal)  # type: ignore[misc]

    def _in_double(self, read: Callable[[], Any]) -> Any:
        try:
            found = read()
        except ValueError as error:
            lacking = next(field for field in self.coordinates if field not in ak.fields(self))
            # An AttributeError would mean to `vector` that this is no vector.
            raise MissingBranchError(str(self._missing(lacking))) from error
        return type(found)(*map(_double, found.elements))

    def _wrap_result(self, *arguments: Any) -> Any:
        """Return a result with the other fields; of one record `vector` (1.9) takes numbers alone."""
        kept: Any = self
        if isinstance(self, ak.Record):
            for name in ak.fields(self):
                if not np.isscalar(self[name]):
                    kept = ak.without_field(kept, name)
        return super(_Vector, kept)._wrap_result(*arguments)  # type: ignore[misc]

    def __awkward_validation__(self) -> None:
        """Let fields be missing until they are needed: then the branch is named."""
        if {*self.coordinates, *self.others} <= set(ak.fields(self)):
            super().__awkward_validation__()  # type: ignore[misc]


def _double(values: Any) -> Any:
    if isinstance(values, ak.Array):
        return ak.values_astype(values, np.float64)
    return values if values is None else np.float64(values)


class _FourVector(_Vector):
    coordinates = ("pt", "eta", "phi", "mass")

    @property
    def longitudinal(self) -> Any:
        return self._in_double(lambda: super(_FourVector, self).longitudinal)  # type: ignore[misc]

    @property
    def temporal(self) -> Any:
        return self._in_double(lambda: super(_FourVector, self).temporal)  # type: ignore[misc]


@ak.mixin_class(behavior, name="events")
class Events(_Answering, base.NanoEvents):
    """The events of a file."""


@ak.mixin_class(behavior, name="record")
class Record(_Answering, base.NanoCollection):
    """A record or collection without vector."""


@ak.mixin_class(behavior, name="met")
class MissingMomentum(_Vector, vector.PolarTwoVector, base.NanoCollection, base.Systematic):
    """Missing transverse momentum: a vector in the transverse plane."""

    coordinates = ("pt", "phi")
    MomentumClass = vector.TwoVectorArray


@ak.mixin_class(behavior, name="lepton")
class Lepton(_FourVector, candidate.PtEtaPhiMCandidate, base.NanoCollection, base.Systematic):
    """Electron, muon, tau or photon: four-vector with `charge`."""

    others = ("charge",)


@ak.mixin_class(behavior, name="jet")
class Jet(_FourVector, vector.PtEtaPhiMLorentzVector, base.NanoCollection, base.Systematic):
    """Jet: four-vector."""


for _name, _parent in (
    ("met", "PolarTwoVector"),
    ("lepton", "PtEtaPhiMCandidate"),
    ("jet", "PtEtaPhiMLorentzVector"),
):
    for _key, _rule in ak._util.copy_behaviors(_parent, _name, behavior).items():
        behavior.setdefault(_key, _rule)

_KINDS = {2: "TwoVector", 3: "ThreeVector", 4: "LorentzVector"}
"""Dimension -> coffea's kind of vectors with Cartesian components."""

_SINGLE = (vectors.VectorObject2D, vectors.VectorObject3D, vectors.VectorObject4D)
_FOREIGN: dict[Any, Any] = {
    **{kind: kind for kind in _SINGLE},
    **{kind: vectors.backends.awkward.behavior[kind] for kind in (
        "Vector2D", "Vector3D", "Vector4D", "Momentum2D", "Momentum3D", "Momentum4D",
    )},
}  # fmt: skip
"""Kinds of the package `vector`, which it adds to each other itself."""


def complete_vectors(rules: dict[Any, Any]) -> None:
    """Let all vectors of a behaviour be added and subtracted, and single ones be turned and boosted."""
    _know_records(rules)
    _add_sums(rules)


def _know_records(rules: dict[Any, Any]) -> None:
    """Give what `vector` computes of one record its methods.

    `vector` (1.9) calls it `LorentzVectorR`: it takes the five letters of `Array` off the class's name.
    """
    for name in ("PolarTwoVector", "SphericalThreeVector", *_KINDS.values()):
        cut = f"{name}R"
        rules[cut], rules["*", cut] = rules[name], rules["*", name]
        for key, value in ak._util.copy_behaviors(name, cut, rules).items():
            rules.setdefault(key, value)


def _add_sums(rules: dict[Any, Any]) -> None:
    """Let each two kinds of vectors of a behaviour be added and subtracted, in either order.

    The result is a vector of the lower dimension; a sum has the charge where both have one. coffea
    (2026.9) has sums for its own kinds only, subtracts two kinds of candidates the wrong way round in
    one of the two orders (one rule serves both), and loses the sign of a negative energy.
    """
    kinds = {
        name: kind
        for name, kind in (_FOREIGN | rules).items()
        if isinstance(name, str | type) and issubclass(kind, vectors.Vector)
    }
    for one, other in itertools.product(kinds, repeat=2):
        if one in _FOREIGN and other in _FOREIGN:
            continue
        pair = kinds[one], kinds[other]
        dimension = min(map(_dimension, pair))
        components, kind = tuple("xyzt"[:dimension]), _KINDS[dimension]
        rules[np.subtract, one, other] = _Combination(np.subtract, components, kind, rules)
        if all(issubclass(member, candidate.Candidate) for member in pair):
            components, kind = (*components, "charge"), "Candidate"
        rules[np.add, one, other] = _Combination(np.add, components, kind, rules)


def _dimension(kind: type[Any]) -> int:
    bases = {2: vectors.Vector2D, 3: vectors.Vector3D, 4: vectors.Vector4D}
    return next(dimension for dimension, base in bases.items() if issubclass(kind, base))


class _Combination(NamedTuple):
    """One rule of two vectors: their components are added or subtracted one by one."""

    operation: np.ufunc
    components: tuple[str, ...]
    kind: str
    rules: dict[Any, Any]

    def __call__(self, one: Any, other: Any) -> Any:
        return ak.zip(
            {c: self.operation(getattr(one, c), getattr(other, c)) for c in self.components},
            with_name=self.kind,
            behavior=self.rules,
        )


complete_vectors(behavior)
