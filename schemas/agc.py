"""AGCSchema: the POET flat ntuples of CMS Open Data 2015 as coffea NanoEvents.

`events.electron muon photon tau jet fatjet` are jagged collections of four-vectors, `events.met trig
btag PV` one record an event. A jet's momentum is the corrected one (`pt` is the branch `jet_corrpt`);
the uncorrected values are `raw_pt`, `raw_mass`, `raw_energy`. Momentum components that a file stores
twice stand in `cartesian`. `muon.matched_jet` is the jet of `muon.jetidx`, None where that is -1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import awkward as ak
from coffea.nanoevents import transforms
from coffea.nanoevents.methods import base, candidate, vector
from coffea.nanoevents.schemas.base import BaseSchema
from coffea.nanoevents.util import concat, quote

from schemas import layout

Form = dict[str, Any]

PLAIN_RECORD = "AGCRecord"
_GLOBAL_JET_INDEX = "jetidxG"

behavior: dict[Any, Any] = {}
behavior.update(base.behavior)
behavior.update(candidate.behavior)


class MissingBranchError(AttributeError, LookupError):
    """A branch that is needed and not in the file: named with the file and the nearest names there."""


def missing_branch_message(branch: str, path: str, available: Iterable[str]) -> str:
    """What every missing branch is answered with; `available` are the branches of the file."""
    names = [name for name in available if name not in layout.COUNTERS]
    close = difflib.get_close_matches(branch, names, n=3, cutoff=0.5)
    nearest = f"nearest there: {', '.join(close)}" if close else f"the tree has {len(names)} others"
    return f"branch {branch!r} is not in {path}: {nearest}"


def branches_of(columns: Iterable[str], branch_of: Mapping[str, str], what: str) -> frozenset[str]:
    """The branches that the columns need, of what stands in `branch_of` for a file that is `what`.

    Raises MissingBranchError for a column that none of them gives.
    """
    found = set()
    for column in columns:
        if column not in branch_of:
            close = difflib.get_close_matches(column, branch_of, n=3)
            hint = f": nearest are {', '.join(close)}" if close else ""
            msg = f"no branch of {what} gives {column!r}{hint}"
            raise MissingBranchError(msg)
        found.add(branch_of[column])
    return frozenset(found)


def _file_path(events: ak.Array) -> str:
    metadata = events.layout.purelist_parameter("metadata") or {}
    if "filename" in metadata:
        return str(metadata["filename"])
    factory = events.attrs.get("@events_factory")
    return str(getattr(getattr(factory, "file_handle", None), "file_path", "the file"))


class _Answering:
    """Answers a field that is not there with the branch it needs, or the nearest field."""

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)  # type: ignore[misc]
        except MissingBranchError:
            raise
        except AttributeError as error:
            raise self._missing(name) from error

    def __getitem__(self, where: Any) -> Any:
        if isinstance(where, str) and where not in ak.fields(self):
            raise self._missing(where)
        return super().__getitem__(where)  # type: ignore[misc]

    def _missing(self, name: str) -> AttributeError:
        if name.startswith("_"):
            return AttributeError(name)
        collection = self.layout.purelist_parameter("collection_name")
        needed = _first_branch(name) if collection is None else _branch(collection, name)
        if needed is None:
            close = difflib.get_close_matches(name, ak.fields(self), n=3)
            hint = f": did you mean {' or '.join(map(repr, close))}?" if close else ""
            return AttributeError(f"{collection or 'events'} has no field {name!r}{hint}")
        events = self if collection is None else self._events()
        available = events.layout.purelist_parameter("branches")
        if needed in available:
            return AttributeError(f"{collection}.{name} cannot be computed")
        return MissingBranchError(missing_branch_message(needed, _file_path(events), available))


def _branch(collection: str, field: str) -> str | None:
    if field in ("matched_jet", _GLOBAL_JET_INDEX):
        field = "jetidx"
    return layout.BRANCH_OF.get(f"{collection}.{field}")


def _first_branch(collection: str) -> str | None:
    """The branch to name where a whole collection is missing."""
    paths = (path for path in layout.BRANCH_OF if path.startswith(f"{collection}."))
    return layout.BRANCH_OF.get(f"{collection}.pt") or layout.BRANCH_OF.get(next(paths, ""))


@ak.mixin_class(behavior)
class AGCEvents(_Answering, base.NanoEvents):
    """The events of a POET ntuple."""


@ak.mixin_class(behavior)
class AGCRecord(_Answering, base.NanoCollection):
    """A record or collection without four-vector."""


@ak.mixin_class(behavior)
class MissingEt(_Answering, vector.PolarTwoVector, base.NanoCollection):
    """Missing transverse momentum: a vector in the transverse plane (`pt`, `phi`)."""


@ak.mixin_class(behavior)
class Lepton(_Answering, candidate.PtEtaPhiECandidate, base.NanoCollection):
    """Electron or photon: four-vector (`pt`, `eta`, `phi`, `energy`) with `charge`."""


@ak.mixin_class(behavior)
class Muon(_Answering, candidate.PtEtaPhiECandidate, base.NanoCollection):
    """Muon: four-vector (`pt`, `eta`, `phi`, `energy`) with `charge`, and the jet it is part of."""

    @property
    def matched_jet(self) -> ak.Array:
        """The jet that `jetidx` points to; None where that is -1."""
        return self._events().jet._apply_global_index(self[_GLOBAL_JET_INDEX])


@ak.mixin_class(behavior)
class Tau(_Answering, candidate.PtEtaPhiMCandidate, base.NanoCollection):
    """Hadronic tau: four-vector (`pt`, `eta`, `phi`, `mass`) with `charge`."""


@ak.mixin_class(behavior)
class Jet(_Answering, vector.PtEtaPhiMLorentzVector, base.NanoCollection):
    """Jet: corrected four-vector (`pt`, `eta`, `phi`, `mass`)."""


def _add_as(name: str, *others: str) -> None:
    """Let `name` be added to what the first of the others can be added to, then the second, ..."""
    for other in others:
        for key, value in ak._util.copy_behaviors(other, name, behavior).items():
            behavior.setdefault(key, value)


def _complete(name: str, parent: str, *others: str) -> None:
    """Give the mixin `name` its parent's sums with other vectors, and vector's projections."""
    _add_as(name, parent, *others)
    momentum = "TwoVector" if parent == "PolarTwoVector" else "LorentzVector"
    for kind in ("Array", "Record"):
        mixin = globals()[f"{name}{kind}"]
        mixin.ProjectionClass2D = getattr(vector, f"TwoVector{kind}")
        mixin.ProjectionClass3D = getattr(vector, f"ThreeVector{kind}")
        mixin.ProjectionClass4D = getattr(vector, f"LorentzVector{kind}")
        mixin.MomentumClass = getattr(vector, f"{momentum}{kind}")


_complete("MissingEt", "PolarTwoVector")
_complete("Jet", "PtEtaPhiMLorentzVector")
# Sums with what has no charge: with jets as coffea's `Candidate`, which lacks those with sums of jets.
_add_as("Candidate", "Jet")
_complete("Lepton", "PtEtaPhiECandidate", "Candidate", "Jet")
_complete("Muon", "PtEtaPhiECandidate", "Candidate", "Jet")
_complete("Tau", "PtEtaPhiMCandidate", "Candidate", "Jet")


class AGCSchema(BaseSchema):
    """NanoEvents schema of the POET flat ntuples (see the module's first lines)."""

    __dask_capable__ = False

    mixins: ClassVar[dict[str, tuple[str, tuple[str, ...]]]] = {
        "electron": ("Lepton", ("pt", "eta", "phi", "energy", "charge")),
        "photon": ("Lepton", ("pt", "eta", "phi", "energy", "charge")),
        "muon": ("Muon", ("pt", "eta", "phi", "energy", "charge")),
        "tau": ("Tau", ("pt", "eta", "phi", "mass", "charge")),
        "jet": ("Jet", ("pt", "eta", "phi", "mass")),
        "fatjet": ("Jet", ("pt", "eta", "phi", "mass")),
        "met": ("MissingEt", ("pt", "phi")),
    }
    """Collection -> its behaviour, and the fields without which it is a plain record."""

    def __init__(self, base_form: Form, *args: Any, **kwargs: Any) -> None:
        super().__init__(base_form, *args, **kwargs)
        forms = dict(zip(self._form["fields"], self._form["contents"], strict=True))
        collections = self._collections(forms)
        if "muon" in collections and "jet" in collections:
            _link_muons_to_jets(collections["muon"], collections["jet"], forms.get("muon_jetidx"))
        self._form["fields"] = list(collections)
        self._form["contents"] = list(collections.values())
        self._form["parameters"]["__record__"] = "AGCEvents"
        self._form["parameters"]["branches"] = list(forms)

    @classmethod
    def behavior(cls) -> dict[Any, Any]:
        return behavior

    @classmethod
    def branches(cls, columns: Iterable[str]) -> frozenset[str]:
        """The branches that `columns` (`electron.pt`, `met.phi`) need, for `preload` and for checks.

        Raises MissingBranchError for a column that no branch of a POET ntuple gives.
        """
        return branches_of(columns, layout.BRANCH_OF, "a POET ntuple")

    def _collections(self, forms: dict[str, Form]) -> dict[str, Form]:
        """Forms of the collections; what is no POET branch stays at the top under its own name."""
        placed: dict[str, dict[layout.Placement, Form]] = {}
        others: dict[str, Form] = {}
        for branch, form in forms.items():
            if branch in layout.BRANCHES:
                for place in layout.BRANCHES[branch]:
                    if place.collection in layout.OBJECTS and "content" not in form:
                        msg = f"branch {branch!r} has one number an event, expected a list"
                        raise TypeError(msg)
                    placed.setdefault(place.collection, {})[place] = form
            elif branch not in layout.COUNTERS:
                others[branch] = form
        return {name: self._collection(name, fields) for name, fields in placed.items()} | others

    def _collection(self, name: str, fields: dict[layout.Placement, Form]) -> Form:
        mixin, coordinates = self.mixins.get(name, (PLAIN_RECORD, ()))
        by_path = {place.path: form for place, form in fields.items()}
        complete = all(f"{name}.{coordinate}" in by_path for coordinate in coordinates)
        parameters = {
            "__record__": mixin if complete else PLAIN_RECORD,
            "collection_name": name,
        }
        if name not in layout.OBJECTS:
            return _record_form(name, _nest(fields), parameters)
        contents = {place: form["content"] for place, form in fields.items()}
        # The offsets are those of a field that every use of the collection reads anyway.
        jagged = by_path.get(f"{name}.pt") or next(iter(fields.values()))
        return {
            "class": jagged["class"],
            "offsets": jagged["offsets"],
            "content": _record_form(name, _nest(contents), parameters),
            "form_key": jagged["form_key"],
        }


def _nest(fields: dict[layout.Placement, Form]) -> dict[str, Form]:
    """Fields by name, those with an inner record gathered into it."""
    plain = {place.field: form for place, form in fields.items() if not place.nested}
    inner: dict[str, dict[str, Form]] = {}
    for place, form in fields.items():
        if place.nested:
            inner.setdefault(place.nested, {})[place.field] = form
    return plain | {name: _record_form(name, forms) for name, forms in inner.items()}


def _record_form(name: str, fields: dict[str, Form], parameters: Form | None = None) -> Form:
    return {
        "class": "RecordArray",
        "fields": list(fields),
        "contents": list(fields.values()),
        "parameters": parameters or {},
        "form_key": quote(f"!invalid,{name}"),
    }


def _link_muons_to_jets(muons: Form, jets: Form, local_index: Form | None) -> None:
    """Add the index into the flat jets of the chunk, that `matched_jet` follows."""
    if local_index is None:
        return
    jet_offsets = {
        "class": "NumpyArray",
        "primitive": "int64",
        "form_key": concat(jets["form_key"], "!offsets"),
    }
    global_index = transforms.local2global_form(local_index, jet_offsets)
    muons["content"]["fields"].append(_GLOBAL_JET_INDEX)
    muons["content"]["contents"].append(global_index["content"])
