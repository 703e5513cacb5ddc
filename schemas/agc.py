"""AGCSchema: the POET flat ntuples of CMS Open Data 2015 as coffea NanoEvents.

`events.electron muon photon tau jet fatjet` are jagged collections of four-vectors, `events.met trig
btag PV` one record an event. A jet's momentum is the corrected one (`pt` is the branch `jet_corrpt`);
the uncorrected values are `raw_pt`, `raw_mass`, `raw_energy`. The mass of electrons, muons and photons
is that of the particle. What a file stores besides the four-vector stands in `cartesian`.
`muon.matched_jet` is the jet of `muon.jetidx`, None where that is -1.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from coffea.nanoevents.schemas.base import BaseSchema

from schemas import behaviors, forms, layout
from schemas.forms import Form
from schemas.missing import unknown_column


class AGCSchema(BaseSchema):
    """NanoEvents schema of the POET flat ntuples (see the module's first lines)."""

    __dask_capable__ = False

    mixins: ClassVar[dict[str, str]] = {
        "electron": "lepton",
        "photon": "lepton",
        "muon": "lepton",
        "tau": "lepton",
        "jet": "jet",
        "fatjet": "jet",
        "met": "met",
    }
    """Collection -> its behaviour."""
    per_event: ClassVar[frozenset[str]] = layout.PER_EVENT
    """Columns with one value an event."""

    def __init__(self, base_form: Form, *args: Any, **kwargs: Any) -> None:
        super().__init__(base_form, *args, **kwargs)
        branches = dict(zip(self._form["fields"], self._form["contents"], strict=True))
        collections = self._collections(branches)
        if "muon" in collections:
            _refer_to_jets(collections["muon"], branches, collections.get("jet"))
        lacks = {
            name: layout.BRANCH_OF.get(f"{name}.pt") or next(iter(columns.values()))
            for name, columns in layout.COLUMNS.items()
            if name not in collections
        }
        self._form["fields"] = list(collections)
        self._form["contents"] = list(collections.values())
        self._form["parameters"] |= {
            "__record__": "events",
            "branches": list(branches),
            "lacks": lacks,
        }

    @classmethod
    def behavior(cls) -> dict[Any, Any]:
        return behaviors.behavior

    @classmethod
    def branches(cls, columns: Iterable[str]) -> frozenset[str]:
        """The branches that `columns` (`electron.pt`, `met.phi`) need, for `preload` and for checks.

        Raises MissingBranchError for a column that no branch of a POET ntuple gives.
        """
        return frozenset().union(*map(cls._branches, columns))

    @classmethod
    def values(cls, events: Any, branch: str) -> Any:
        """Read a branch by its name from the event model."""
        for name in layout.BRANCHES[branch][0].path.split("."):
            events = events[name]
        return events

    @classmethod
    def _branches(cls, column: str) -> frozenset[str]:
        if column in layout.BRANCH_OF:
            return frozenset({layout.BRANCH_OF[column]})
        collection, _, attribute = column.partition(".")
        mixin: Any = behaviors.behavior.get(cls.mixins.get(collection))
        if not isinstance(getattr(mixin, attribute, None), property):
            raise unknown_column(column, layout.BRANCH_OF, "a POET ntuple")
        parts = (f"{collection}.{part}" for part in mixin.coordinates)
        return frozenset(layout.BRANCH_OF[part] for part in parts if part in layout.BRANCH_OF)

    def _collections(self, branches: dict[str, Form]) -> dict[str, Form]:
        """Forms of the collections; what is no POET branch stays at the top under its own name."""
        placed: dict[str, dict[layout.Placement, Form]] = {}
        others: dict[str, Form] = {}
        for branch, form in branches.items():
            if branch in layout.BRANCHES:
                expected, found = branch in layout.JAGGED, "content" in form
                if expected != found:
                    kinds = ("one number an event", "a list")
                    msg = f"branch {branch!r} has {kinds[found]}, expected {kinds[expected]}"
                    raise TypeError(msg)
                for place in layout.BRANCHES[branch]:
                    placed.setdefault(place.collection, {})[place] = form
            elif branch not in layout.COUNTERS:
                others[branch] = form
        return {name: self._collection(name, fields) for name, fields in placed.items()} | others

    def _collection(self, name: str, fields: dict[layout.Placement, Form]) -> Form:
        present = {place.path for place in fields}
        parameters = {
            "__record__": self.mixins.get(name, forms.PLAIN),
            "collection_name": name,
            "lacks": {
                field: branch
                for field, branch in layout.COLUMNS[name].items()
                if f"{name}.{field}" not in present
            },
        }
        if name not in layout.OBJECTS:
            return forms.record(name, _nest(fields), **parameters)
        # The offsets are those of a field that every use of the collection reads anyway.
        by_path = {place.path: form for place, form in fields.items()}
        lists = by_path.get(f"{name}.pt") or next(iter(fields.values()))
        contents = _nest({place: form["content"] for place, form in fields.items()})
        if name in forms.MASSES:
            contents["mass"] = forms.constant(lists, forms.MASSES[name])
        return forms.jagged(lists, forms.record(name, contents, **parameters))


def _nest(fields: dict[layout.Placement, Form]) -> dict[str, Form]:
    """Fields by name, those with an inner record gathered into it."""
    plain = {place.field: form for place, form in fields.items() if not place.nested}
    inner: dict[str, dict[str, Form]] = {}
    for place, form in fields.items():
        if place.nested:
            inner.setdefault(place.nested, {})[place.field] = form
    return plain | {name: forms.record(name, fields) for name, fields in inner.items()}


def _refer_to_jets(muons: Form, branches: dict[str, Form], jets: Form | None) -> None:
    if "muon_jetidx" not in branches or jets is None:
        needed = "jet_corrpt" if jets is None else "muon_jetidx"
        muons["content"]["parameters"]["lacks"]["matched_jet"] = needed
    else:
        forms.refer(muons, "matched_jet", branches["muon_jetidx"], jets)
