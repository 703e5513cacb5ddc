"""What events, jets and leptons can do, whatever the layout of their file.

Leptons, photons, taus and jets are four-vectors (`pt`, `eta`, `phi`, `mass`), missing momentum is a
vector in the transverse plane (`pt`, `phi`). Files have them in single precision; everything that is
computed from them (`px`, `mass` of a sum, `delta_r`) is computed in double precision. coffea's own
methods are there: `nearest`, `sum`, `add_systematic`, ...

A schema says of each collection which of its fields the file lacks, and for want of which branch: the
parameter `lacks`, field -> branch; where any field is a branch, `prefix` is how their names begin. What
needs such a field is answered with the name of the branch.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import awkward as ak
import numpy as np
from coffea.nanoevents.methods import base, candidate, vector

from schemas.missing import MissingBranchError, MissingFieldError, missing_branch_message

behavior: dict[Any, Any] = {}
behavior.update(base.behavior)
behavior.update(candidate.behavior)


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
            raise self._missing(name) from error

    def __getitem__(self, where: Any) -> Any:
        if isinstance(where, str) and where not in ak.fields(self):
            raise self._missing(where)
        return super().__getitem__(where)  # type: ignore[misc]

    def _missing(self, name: str) -> AttributeError:
        fields = ak.fields(self)
        collection = self.layout.purelist_parameter("collection_name") or "events"
        branch = (self.layout.purelist_parameter("lacks") or {}).get(name)
        prefix = self.layout.purelist_parameter("prefix")
        if branch is None and prefix is not None:
            branch = prefix + name
        if branch is not None:
            return MissingFieldError(missing_branch_message(branch, *_file(self.attrs)))
        close = difflib.get_close_matches(name, fields, n=3) or [
            field for field in fields if field.lower() == name.lower()
        ]
        hint = f": did you mean {' or '.join(map(repr, close))}?" if close else ""
        return AttributeError(f"{collection} has no field {name!r}{hint}")


def _file(attrs: Any) -> tuple[str, list[str]]:
    """Path and branches of the file of an array with these attributes; of a copy nothing is known."""
    factory = attrs.get("@events_factory")
    if factory is None:
        return "the file", []
    parameters = factory._schema.form["parameters"]
    path = parameters["metadata"].get("filename") or factory.file_handle.file_path
    return str(path), parameters["branches"]


class _Vector(_Answering):
    """Gives the coordinates in double precision, from which `vector` computes everything else."""

    others: ClassVar[tuple[str, ...]] = ()
    """Fields that coffea wants besides the coordinates."""

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


@ak.mixin_class(behavior, name="lepton")
class Lepton(_FourVector, candidate.PtEtaPhiMCandidate, base.NanoCollection, base.Systematic):
    """Electron, muon, tau or photon: four-vector with `charge`."""

    others = ("charge",)


@ak.mixin_class(behavior, name="jet")
class Jet(_FourVector, vector.PtEtaPhiMLorentzVector, base.NanoCollection, base.Systematic):
    """Jet: four-vector."""


def _complete(mixin: str, name: str, parent: str) -> None:
    """Give vectors of a mixin the reductions of the parent's, and plain vectors as results."""
    for key, value in ak._util.copy_behaviors(parent, name, behavior).items():
        behavior.setdefault(key, value)
    momentum = "TwoVector" if parent == "PolarTwoVector" else "LorentzVector"
    for kind in ("Array", "Record"):
        made = globals()[f"{mixin}{kind}"]
        made.ProjectionClass2D = getattr(vector, f"TwoVector{kind}")
        made.ProjectionClass3D = getattr(vector, f"ThreeVector{kind}")
        made.ProjectionClass4D = getattr(vector, f"LorentzVector{kind}")
        made.MomentumClass = getattr(vector, f"{momentum}{kind}")


_complete("MissingMomentum", "met", "PolarTwoVector")
_complete("Lepton", "lepton", "PtEtaPhiMCandidate")
_complete("Jet", "jet", "PtEtaPhiMLorentzVector")

_KINDS = ("TwoVector", "ThreeVector", "LorentzVector")


def add_sums(rules: dict[Any, Any]) -> None:
    """Let each two kinds of vectors of a behaviour be added and subtracted, in either order.

    The result is a vector of the lower dimension; a sum has the charge where both have one. coffea
    (2026.9) has sums for its own kinds only, subtracts two kinds of candidates the wrong way round in
    one of the two orders (one rule serves both), and loses the sign of a negative energy.
    """
    kinds = tuple(getattr(vector, kind) for kind in _KINDS)
    dimensions = {
        name: next(i for i in (4, 3, 2) if issubclass(kind, kinds[i - 2]))
        for name, kind in rules.items()
        if isinstance(name, str) and isinstance(kind, type) and issubclass(kind, kinds)
    }
    for one, other in itertools.product(dimensions, repeat=2):
        dimension = min(dimensions[one], dimensions[other])
        components, kind = tuple("xyzt"[:dimension]), _KINDS[dimension - 2]
        rules[np.subtract, one, other] = _Combination(np.subtract, components, kind, rules)
        if all(issubclass(rules[name], candidate.Candidate) for name in (one, other)):
            components, kind = (*components, "charge"), "Candidate"
        rules[np.add, one, other] = _Combination(np.add, components, kind, rules)


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


add_sums(behavior)
