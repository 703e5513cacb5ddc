"""NanoSchema: CMS NanoAOD (`Events`) in the event model of the POET ntuples, beside coffea's own.

`events.electron muon photon tau jet fatjet met PV trig btag` are those of `AGCSchema`, with every field
that NanoAOD has of them; `events.generator`, `.pileup` and the plain numbers `run`, `luminosityBlock`
and `event` come besides. All collections of coffea's `NanoAODSchema` stay under their own names
(`events.GenPart`, `events.Jet`). It reads NanoAOD v1 (2015, as the Analysis Grand Challenge) to v12,
and by a subclass those with `PFMET` in place of `MET`.

NanoAOD has no momenta of jets under other energy scales or resolutions: an analysis that varies them
says how, no column here is made up for it. The discriminator of `jet.btag` is CSVv2, or that of a
subclass.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

from coffea.nanoevents import NanoAODSchema, transforms
from coffea.nanoevents.methods import nanoaod
from coffea.nanoevents.util import concat

from schemas import behaviors, forms, layout
from schemas.forms import Form
from schemas.missing import MissingBranchError

behavior = behaviors.Rules(__name__, nanoaod.behavior, behaviors.behavior)
behaviors.complete_vectors(behavior)

SOURCES = {
    "electron": "Electron", "muon": "Muon", "photon": "Photon", "tau": "Tau", "jet": "Jet",
    "fatjet": "FatJet", "met": "MET", "PV": "PV", "trig": "HLT", "btag": "btagWeight",
    "generator": "Generator", "pileup": "Pileup",
}  # fmt: skip
"""Collection -> the first part of its branches' names."""

ALIASES = {"HLT": "trig"}
"""Collections of coffea -> those of the event model that have the same fields: hundreds of bits, whose forms
are made once.
"""

MIXINS = {"met": "met", "jet": "jet", "fatjet": "jet"} | dict.fromkeys(
    ("electron", "muon", "photon", "tau"), "lepton"
)


class Derived(NamedTuple):
    """A field that is computed from fields, or that is one under another name."""

    sources: tuple[str, ...]
    """Fields of NanoAOD."""
    operation: str = ""
    """Name in `OPERATIONS`; empty for another name of one field."""
    number: int = 0


OPERATIONS: dict[str, Callable[..., Any]] = {
    "equal_to": lambda values, number: values == int(number),
    "at_least": lambda values, number: values >= int(number),
    "with_bit": lambda values, number: (values & int(number)) != 0,
    "without_share": lambda values, share: values * (1 - share),
}
"""Name -> function of the flat values of one or two branches, or of a branch and a number."""

_DTYPES = {"without_share": "float32"}
"""Types of the results that are not bool."""


def _alias(field: str) -> Derived:
    return Derived((field,))


DERIVED: dict[str, dict[str, Derived]] = {
    "electron": {
        "isTight": Derived(("cutBased",), "equal_to", 4),
        "isMedium": Derived(("cutBased",), "at_least", 3),
        "isLoose": Derived(("cutBased",), "at_least", 2),
        "veto": Derived(("cutBased",), "at_least", 1),
        "ch": _alias("charge"),
        "iso": _alias("pfRelIso03_all"),
    },
    "muon": {
        "isTight": _alias("tightId"),
        "isMedium": _alias("mediumId"),
        "isLoose": _alias("looseId"),
        "isSoft": _alias("softId"),
        "ch": _alias("charge"),
        "pfreliso03all": _alias("pfRelIso03_all"),
        "pfreliso04all": _alias("pfRelIso04_all"),
        "pfreliso04DBCorr": _alias("pfRelIso04_all"),
        "jetidx": _alias("jetIdx"),
    },
    "tau": {"ch": _alias("charge")},
    "jet": {
        "corrpt": _alias("pt"),
        "corrmass": _alias("mass"),
        "raw_pt": Derived(("pt", "rawFactor"), "without_share"),
        "raw_mass": Derived(("mass", "rawFactor"), "without_share"),
        "hflav": _alias("hadronFlavour"),
        "isTight": Derived(("jetId",), "with_bit", 2),
        "isTightLepVeto": Derived(("jetId",), "with_bit", 4),
    },
    "fatjet": {"softdropmass": _alias("msoftdrop")},
    "btag": {"Weight": _alias("CSVV2")},
}
"""Collection -> fields that NanoAOD has under another name or not at all."""

PLAIN = {"generator.weight": "genWeight"}
"""Columns whose branch is named otherwise than its collection."""

NOT_IN_NANOAOD = frozenset(
    [f"jet.corrpt{shift}" for shift in ("Up", "Down", "SmearUp", "SmearDown")]
    + ["btag.WeightUp", "btag.WeightDn"]
)
"""Columns of POET ntuples that an analysis varies by."""


class _PerEvent(Container[object]):
    """Columns of all NanoAOD files that have one value an event."""

    def __contains__(self, column: object) -> bool:
        collection = str(column).split(".", maxsplit=1)[0]
        mixin = NanoAODSchema.mixins.get(collection, "Vertex")
        return collection not in layout.OBJECTS and mixin in ("Vertex", "MissingET")


class NanoSchema(NanoAODSchema):
    """NanoEvents schema of CMS NanoAOD (see the module's first lines)."""

    __dask_capable__ = False
    warn_missing_crossrefs = False
    event_ids: ClassVar[list[str]] = []
    """Slim files without event numbers are read too."""

    per_event: ClassVar[Container[object]] = _PerEvent()
    """Columns with one value an event."""

    sources: ClassVar[Mapping[str, str]] = SOURCES
    """Collection -> the first part of its branches' names."""

    discriminator = "CSVV2"
    """b-tag discriminator of `jet.btag`: the branch is `Jet_btag` and this."""

    def __init__(self, base_form: Form, *args: Any, **kwargs: Any) -> None:
        for name, operation in OPERATIONS.items():
            # coffea (2026.9) finds what a form key asks for among its own functions only.
            setattr(transforms, name, _on_stack(operation))
        names = list(base_form["fields"])
        # Of its constants coffea puts those over branches that files have.
        self.full_like_items = {
            name: item for name, item in NanoAODSchema.full_like_items.items() if name not in names
        }
        super().__init__(base_form, *args, **kwargs)
        self._form["parameters"] |= {
            "__record__": "events",
            "branches": names,
            "aliases": ALIASES,
            "lacks": {
                name: f"{source}_pt" if name in MIXINS else f"{source}_*"
                for name, source in self.sources.items()
                if name not in self._form["fields"]
            },
        }

    @classmethod
    def behavior(cls) -> dict[Any, Any]:
        return behavior

    @classmethod
    def branches(cls, columns: Iterable[str]) -> frozenset[str]:
        """The branches that `columns` (`electron.pt`, `Jet.qgl`, `run`) need, for `preload` and checks.

        Raises MissingBranchError for a column of POET ntuples that NanoAOD has nothing for.
        """
        return frozenset[str]().union(*map(cls._branches, columns))

    @classmethod
    def values(cls, events: Any, branch: str) -> Any:
        """Read a branch by its name from the event model."""
        for column, named in PLAIN.items():
            if branch == named:
                collection, field = column.split(".")
                return events[collection][field]
        source, _, field = branch.partition("_")
        collections = {prefix: name for name, prefix in cls.sources.items()}
        return events[collections.get(source, source)][field] if field else events[branch]

    @classmethod
    def _branches(cls, column: str) -> frozenset[str]:
        collection, _, field = column.partition(".")
        source = cls.sources.get(collection, collection)
        derived = cls._derived(collection).get(field)
        if column in PLAIN or not field:
            return frozenset({PLAIN.get(column, column)})
        if derived is not None:
            return frozenset(f"{source}_{name}" for name in derived.sources)
        if collection in forms.MASSES and field == "mass":
            return frozenset({f"{source}_pt"})
        mixin: Any = behavior.get(MIXINS.get(collection))
        if field not in getattr(mixin, "coordinates", ()):
            if isinstance(getattr(mixin, field, None), property):
                parts = (f"{collection}.{part}" for part in mixin.coordinates)
                return frozenset[str]().union(*map(cls._branches, parts))
            if column in NOT_IN_NANOAOD:
                msg = (
                    f"NanoAOD has no {column}: let the analysis compute what it varies (`Shift`), or "
                    "leave that out (variations.jet_energy = false)"
                )
                raise MissingBranchError(msg)
        return frozenset({f"{source}_{field}"})

    @classmethod
    def _derived(cls, collection: str) -> dict[str, Derived]:
        derived = DERIVED.get(collection, {})
        if collection == "jet":
            return {"btag": _alias(f"btag{cls.discriminator}"), **derived}
        return derived

    def _build_collections(
        self, names: list[str], contents: list[Form]
    ) -> tuple[list[str], list[Form]]:
        """Forms of coffea's collections and, over those of the same name, of the event model's."""
        branches = dict(zip(names, contents, strict=True))
        fields: dict[str, dict[str, Form]] = {}
        for branch, form in branches.items():
            source, _, field = branch.partition("_")
            fields.setdefault(source, {})[field] = form
        alike = [name for name in names if name.partition("_")[0] not in ALIASES]
        built = super()._build_collections(alike, [branches[name] for name in alike])
        found = dict(zip(*built, strict=True))
        for name, source in self.sources.items():
            made = self._collection(name, fields.get(source, {}), branches)
            if made is not None:
                found[name] = made
        for lepton in ("electron", "muon"):
            index = f"{self.sources[lepton]}_jetIdx"
            if lepton in found and index in branches and "jet" in found:
                forms.refer(found[lepton], "matched_jet", branches[index], found["jet"])
            elif lepton in found:
                lacking = index if "jet" in found else f"{self.sources['jet']}_pt"
                found[lepton]["content"]["parameters"]["lacks"]["matched_jet"] = lacking
        return list(found), list(found.values())

    def _collection(
        self, name: str, found: dict[str, Form], branches: dict[str, Form]
    ) -> Form | None:
        """Form of a collection of the event model, of the fields that were found; None where the file has
        nothing of it.
        """
        prefix = f"{self.sources[name]}_"
        fields = found | {
            column.removeprefix(f"{name}."): branches[branch]
            for column, branch in PLAIN.items()
            if column.startswith(f"{name}.") and branch in branches
        }
        if not fields:
            return None
        jagged = name in layout.OBJECTS
        for field, form in fields.items():
            if ("content" in form) != jagged:
                kinds = ("one number an event", "a list")
                msg = f"branch {prefix + field!r} has {kinds[not jagged]}, expected {kinds[jagged]}"
                raise TypeError(msg)
        lacks = {}
        derived = {}
        for field, how in self._derived(name).items():
            lacking = [source for source in how.sources if source not in fields]
            if lacking:
                lacks[field] = prefix + lacking[0]
            else:
                derived[field] = _form(how, [fields[source] for source in how.sources])
        fields = {**fields, **derived}
        mixin = MIXINS.get(name, forms.PLAIN)
        needed = getattr(behavior[mixin], "coordinates", ())
        lacks |= {field: prefix + field for field in needed if field not in fields}
        parameters = {
            "__record__": mixin, "collection_name": name, "lacks": lacks, "prefix": prefix
        }  # fmt: skip
        if not jagged:
            return forms.record(name, fields, **parameters)
        lists = fields.get("pt") or next(iter(fields.values()))
        contents = {field: form["content"] for field, form in fields.items()}
        if name in forms.MASSES:
            contents["mass"] = forms.constant(lists, forms.MASSES[name])
        return forms.jagged(lists, forms.record(name, contents, **parameters))


class NanoDeepJetSchema(NanoSchema):
    """CMS NanoAOD with DeepJet as the b-tag discriminator."""

    discriminator = "DeepFlavB"


class NanoPFMETSchema(NanoDeepJetSchema):
    """CMS NanoAOD v13 to v15, whose missing momentum is `PFMET`, with DeepJet."""

    sources: ClassVar[Mapping[str, str]] = {**SOURCES, "met": "PFMET"}


def _form(derived: Derived, sources: list[Form]) -> Form:
    """Form of a derived field, with the lists of its first source."""
    if not derived.operation:
        return sources[0]
    number = [str(derived.number)] if len(sources) == 1 else []
    keys = [source["form_key"] for source in sources]
    content = {
        "class": "NumpyArray",
        "primitive": _DTYPES.get(derived.operation, "bool"),
        "parameters": {},
        "form_key": concat(*keys, *number, f"!{derived.operation}", "!content"),
    }
    return forms.jagged(sources[0], content)


def _on_stack(operation: Callable[..., Any]) -> Callable[[list[Any]], None]:
    """Let an operation take its two operands from a stack, as coffea's functions do."""

    def apply(stack: list[Any]) -> None:
        second, first = stack.pop(), stack.pop()
        stack.append(operation(first, second))

    return apply
