"""Forms of collections, and of fields that no branch has: constants and references to other objects.

A form is awkward's description of arrays in memory, as coffea's schemas get and give it: a dictionary
in which `form_key` says where the values come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coffea.nanoevents import transforms
from coffea.nanoevents.util import concat, quote

Form = dict[str, Any]

PLAIN = "record"

MASSES = {"electron": 0.00051099895, "muon": 0.1056583755, "photon": 0.0}
"""GeV; S. Navas et al. (Particle Data Group), Phys. Rev. D 110 (2024) 030001."""


def record(name: str, fields: Mapping[str, Form], **parameters: Any) -> Form:
    """Form of one record of these fields."""
    return {
        "class": "RecordArray",
        "fields": list(fields),
        "contents": list(fields.values()),
        "parameters": parameters,
        "form_key": quote(f"!invalid,{name}"),
    }


def jagged(like: Form, content: Form) -> Form:
    """Form of lists of the content, as long as the lists of another form."""
    return {
        "class": like["class"],
        "offsets": like["offsets"],
        "content": content,
        "form_key": like["form_key"],
    }


def constant(like: Form, value: float) -> Form:
    """Form of one value for each object of the lists of another form."""
    made: Form = transforms.full_like_from_offsets_form(_offsets(like), value)["content"]
    return made | {"parameters": {}}


def refer(lists: Form, field: str, index: Form, target: Form) -> None:
    """Add a field to the objects of a collection: the objects of the target that the index points to.

    None stands for -1. The objects are part of the records that refer to them: they stay the same
    where records or targets are joined, sorted, filtered, replaced or sent elsewhere.
    """
    places = transforms.local2global_form(index, _offsets(target))["content"]
    lists["content"]["fields"].append(field)
    lists["content"]["contents"].append(
        {
            "class": "IndexedOptionArray",
            "index": "i64",
            "content": target["content"],
            "form_key": places["form_key"],
        }
    )


def _offsets(lists: Form) -> Form:
    key = concat(lists["form_key"], "!offsets")
    return {"class": "NumpyArray", "primitive": "int64", "form_key": key}
