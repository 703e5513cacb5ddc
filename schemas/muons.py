"""MuonTreeSchema: NanoAOD-like trees with muons only, as coffea NanoEvents.

`events.muon` is a jagged collection of four-vectors (`pt`, `eta`, `phi`, `mass`) with `charge`, of the
branches `Muon_pt` and so on. Such trees have no event numbers, without which coffea's NanoAODSchema
does not open them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from coffea.nanoevents.schemas.base import BaseSchema

from schemas import behaviors, forms
from schemas.forms import Form
from schemas.missing import unknown_column

TREE = "Events"

_BRANCH_OF = {field: f"Muon_{field}" for field in ("pt", "eta", "phi", "mass", "charge")}


class MuonTreeSchema(BaseSchema):
    """NanoEvents schema of NanoAOD-like muon trees (see the module's first lines)."""

    __dask_capable__ = False

    def __init__(self, base_form: Form, *args: Any, **kwargs: Any) -> None:
        super().__init__(base_form, *args, **kwargs)
        branches = dict(zip(self._form["fields"], self._form["contents"], strict=True))
        lacks = {field: name for field, name in _BRANCH_OF.items() if name not in branches}
        present = {f: branches[name] for f, name in _BRANCH_OF.items() if name in branches}
        self._form["fields"] = ["muon"] if present else []
        self._form["contents"] = [_muons(present, lacks)] if present else []
        self._form["parameters"] |= {
            "__record__": "events",
            "branches": list(branches),
            "lacks": {} if present else {"muon": _BRANCH_OF["pt"]},
        }

    @classmethod
    def behavior(cls) -> dict[Any, Any]:
        return behaviors.behavior

    @classmethod
    def branches(cls, columns: Iterable[str]) -> frozenset[str]:
        """The branches that `columns` (`muon.pt`) need.

        Raises MissingBranchError for a column that no branch of a muon tree gives.
        """
        known = {f"muon.{field}": branch for field, branch in _BRANCH_OF.items()}
        columns = list(columns)
        for column in columns:
            if column not in known:
                raise unknown_column(column, known, "a muon tree")
        return frozenset(known[column] for column in columns)


def _muons(fields: dict[str, Form], lacks: dict[str, str]) -> Form:
    lists = next(iter(fields.values()))
    contents = {field: form["content"] for field, form in fields.items()}
    parameters = {"__record__": "lepton", "collection_name": "muon", "lacks": lacks}
    return forms.jagged(lists, forms.record("muon", contents, **parameters))
