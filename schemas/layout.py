"""The POET flat ntuple: its 275 branches, and where each one goes in the event model.

POET is the Physics Object Extractor Tool of the CMS Open Data group. In a flat ntuple every object
collection is a set of jagged branches `{collection}_{field}`, each with a counter
`n{collection}_{field}`, and `number{collection}` besides.
"""

from __future__ import annotations

from typing import NamedTuple

_KINEMATICS = "e pt px py pz eta phi ch"
_IMPACT = "dxy dz dxyError dzError ip3d sip3d"
_CORRECTED = (
    "corrpt corrptUp corrptDown corrptSmearUp corrptSmearDown corrmass corre corrpx corrpy corrpz"
)

JAGGED_FIELDS: dict[str, tuple[str, ...]] = {
    name: tuple(fields.split())
    for name, fields in {
        "electron": f"{_KINEMATICS} iso veto isLoose isMedium isTight ismvaLoose ismvaTight {_IMPACT}",
        "muon": f"{_KINEMATICS} isLoose isMedium isTight isSoft isHighPt pfreliso03all pfreliso04all "
        f"pfreliso04DBCorr TkIso03 jetidx genpartidx {_IMPACT}",
        "photon": f"{_KINEMATICS} chIso nhIso phIso isLoose isMedium isTight",
        "tau": f"{_KINEMATICS} mass decaymode iddecaymode idisoraw idisovloose idisoloose "
        "idisomedium idisotight idantieletight idantimutight",
        "jet": f"e pt eta phi ch mass btag hflav {_CORRECTED}",
        "fatjet": f"e pt eta phi ch mass {_CORRECTED} prunedmass softdropmass tau1 tau2 tau3 "
        "subjet1btag subjet2btag subjet1hflav subjet2hflav",
        "PV": "chi2 ndof x y z",
    }.items()
}
"""Jagged fields (one value an object) of each collection."""

FLAT_FIELDS: dict[str, tuple[str, ...]] = {
    "PV": ("npvs", "npvsGood"),
    "met": ("e", "pt", "px", "py", "phi", "significance", "rawpt", "rawphi", "rawe"),
    "trig": ("Ele22_eta2p1_WPLoose_Gsf", "IsoMu20", "IsoTkMu20"),
    "btag": ("Weight", "WeightUp", "WeightDn"),
}
"""Fields with one value an event, of what is one record (that of the vertices has jagged fields too)."""

OBJECTS = ("electron", "muon", "photon", "tau", "jet", "fatjet")
"""Collections of four-vectors, jagged."""


class Placement(NamedTuple):
    """Where a branch's values stand in the event model, under `events.{collection}`."""

    collection: str
    field: str
    nested: str = ""
    """Name of an inner record that the field stands in; empty for none."""

    @property
    def path(self) -> str:
        return ".".join(part for part in (self.collection, self.nested, self.field) if part)


def _lepton(field: str) -> list[tuple[str, str]]:
    """pt, eta, phi and the mass are the four-vector: vector takes one set of coordinates only."""
    if field == "ch":
        return [("ch", ""), ("charge", "")]
    return [(field, "cartesian" if field in ("e", "px", "py", "pz") else "")]


def _jet(field: str) -> list[tuple[str, str]]:
    """The corrected momentum is the jet's; the uncorrected one stays as `raw_*`."""
    return {
        "pt": [("raw_pt", "")],
        "mass": [("raw_mass", "")],
        "e": [("raw_energy", "")],
        "corrpt": [("pt", ""), ("corrpt", "")],
        "corrmass": [("mass", ""), ("corrmass", "")],
    }.get(field, [(field, "")])


def _met(field: str) -> list[tuple[str, str]]:
    """Transverse: pt and phi are the vector."""
    return [(field, "cartesian")] if field in ("px", "py", "e") else [(field, "")]


_PLACES = {
    "electron": _lepton,
    "muon": _lepton,
    "photon": _lepton,
    "tau": _lepton,
    "jet": _jet,
    "fatjet": _jet,
    "met": _met,
}


def _placements(collection: str, field: str) -> list[Placement]:
    place = _PLACES.get(collection, lambda name: [(name, "")])
    return [Placement(collection, name, nested) for name, nested in place(field)]


BRANCHES: dict[str, list[Placement]] = {
    f"{collection}_{field}": _placements(collection, field)
    for table in (JAGGED_FIELDS, FLAT_FIELDS)
    for collection, fields in table.items()
    for field in fields
}
"""Every branch that carries values -> its places in the event model."""

JAGGED = frozenset(f"{name}_{field}" for name in JAGGED_FIELDS for field in JAGGED_FIELDS[name])
"""Branches with a list of values an event."""

COUNTERS = frozenset(
    [f"number{name}" for name in OBJECTS]
    + [f"n{name}_{field}" for name, fields in JAGGED_FIELDS.items() for field in fields]
)
"""Branches that only count; the jagged arrays carry the same numbers."""

PER_EVENT = frozenset(
    place.path
    for collection, fields in FLAT_FIELDS.items()
    for field in fields
    for place in BRANCHES[f"{collection}_{field}"]
)
"""Paths in the event model with one value an event."""

BRANCH_OF = {place.path: branch for branch, places in BRANCHES.items() for place in places}
"""Path in the event model (`jet.raw_pt`, `muon.cartesian.px`) -> branch."""

COLUMNS: dict[str, dict[str, str]] = {}
"""Collection -> its fields, each with its branch."""

for _path, _branch in BRANCH_OF.items():
    _collection, _, _field = _path.partition(".")
    COLUMNS.setdefault(_collection, {})[_field] = _branch
