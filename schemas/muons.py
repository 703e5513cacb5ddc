"""MuonTreeSchema: NanoAOD-like trees with muons only, as coffea NanoEvents.

`events.muon` is a jagged collection of four-vectors (`pt`, `eta`, `phi`, `mass`) with `charge`, of the
branches `Muon_pt` and so on. Such trees have no event numbers, without which coffea's NanoAODSchema
does not open them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import vector
from coffea.nanoevents.methods import base
from coffea.nanoevents.schemas.base import BaseSchema, zip_forms

from schemas.agc import branches_of

TREE = "Events"

_FIELDS = ("pt", "eta", "phi", "mass", "charge")
_BRANCH_OF = {f"muon.{field}": f"Muon_{field}" for field in _FIELDS}


class MuonTreeSchema(BaseSchema):
    """NanoEvents schema of NanoAOD-like muon trees (see the module's first lines).

    The four-vectors are `vector`'s: in single precision coffea's, which go by another formula, move
    events across an edge.
    """

    __dask_capable__ = False

    def __init__(self, base_form: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(base_form, *args, **kwargs)
        forms = dict(zip(self._form["fields"], self._form["contents"], strict=True))
        present = {f: forms[f"Muon_{f}"] for f in _FIELDS if f"Muon_{f}" in forms}
        mixin = "Momentum4D" if len(present) == len(_FIELDS) else None
        self._form["fields"] = ["muon"] if present else []
        self._form["contents"] = [zip_forms(present, "muon", mixin)] if present else []

    @classmethod
    def behavior(cls) -> dict[Any, Any]:
        return dict(base.behavior) | dict(vector.backends.awkward.behavior)

    @classmethod
    def branches(cls, columns: Iterable[str]) -> frozenset[str]:
        """The branches that `columns` (`muon.pt`) need.

        Raises MissingBranchError for a column that no branch of a muon tree gives.
        """
        return branches_of(columns, _BRANCH_OF, "a muon tree")
