"""What events, jets and leptons can do under anybody's habits; the right values are numpy's, in double."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import awkward as ak
import cloudpickle
import numpy as np
import pytest
import uproot
import vector as hep_vector
from awkward.errors import FieldNotFoundError
from coffea.nanoevents import NanoEventsFactory
from coffea.nanoevents.methods import candidate, vector

from schemas import AGCSchema, MissingBranchError, MuonTreeSchema
from schemas.behaviors import Jet
from tests.conftest import PROJECT
from tests.ntuples import make_events, write

MASSES = {"electron": 0.00051099895, "muon": 0.1056583755, "photon": 0.0}
LEPTONS = ("electron", "muon", "photon", "tau")


@pytest.fixture(scope="module")
def branches() -> dict[str, Any]:
    return make_events(300, seed=9, whole=True)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, branches: dict[str, Any]) -> Path:
    return write(tmp_path_factory.mktemp("behaviors") / "a.root", branches)


@pytest.fixture(scope="module")
def _opened_once(path: Path) -> ak.Array:
    return opened(path)


@pytest.fixture
def events(_opened_once: ak.Array) -> ak.Array:
    """Events that a test may change."""
    return copy.copy(_opened_once)


def opened(path: Path, **options: Any) -> ak.Array:
    source = NanoEventsFactory.from_root({str(path): "events"}, schemaclass=AGCSchema, **options)
    return source.events()


def components(branches: dict[str, Any], name: str) -> dict[str, ak.Array]:
    """x, y, z and energy of a collection, in double precision from its branches."""
    prefix = "corr" if name in ("jet", "fatjet") else ""
    fields = {f: f"{name}_{f if f in ('eta', 'phi') else prefix + f}" for f in ("pt", "eta", "phi")}
    pt, eta, phi = (ak.values_astype(branches[fields[f]], np.float64) for f in ("pt", "eta", "phi"))
    mass = MASSES.get(name)
    if mass is None:
        mass = ak.values_astype(branches[f"{name}_{prefix}mass"], np.float64)
    x, y, z = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    return {"x": x, "y": y, "z": z, "t": np.sqrt(x**2 + y**2 + z**2 + mass**2)}


def mass_of(x: Any, y: Any, z: Any, t: Any) -> Any:
    return np.sqrt(t**2 - x**2 - y**2 - z**2)


@pytest.mark.parametrize("name", [*LEPTONS, "jet", "fatjet"])
def test_components_are_those_of_the_branches_in_double_precision(
    events: ak.Array, branches: dict[str, Any], name: str
) -> None:
    for component, expected in components(branches, name).items():
        found = ak.flatten(getattr(events[name], component))
        # The PDG's masses are kept in single precision.
        np.testing.assert_allclose(found, ak.flatten(expected), rtol=1e-9)


@pytest.mark.parametrize("scale", [1.01, 3.0])
@pytest.mark.parametrize("name", LEPTONS)
def test_a_lepton_keeps_its_mass_where_its_momentum_is_scaled(
    events: ak.Array, branches: dict[str, Any], name: str, scale: float
) -> None:
    leptons = events[name]
    scaled = ak.with_field(leptons, scale * leptons.pt, "pt")
    first, second = ak.unzip(ak.combinations(scaled, 2))
    momenta = components({**branches, f"{name}_pt": scale * branches[f"{name}_pt"]}, name)
    one, other = ak.unzip(ak.combinations(ak.zip(momenta), 2))
    expected = mass_of(*(one[c] + other[c] for c in "xyzt"))
    np.testing.assert_allclose(
        ak.flatten((first + second).mass), ak.flatten(expected), rtol=1e-5, atol=1e-6
    )
    assert ak.all(ak.flatten(abs(scaled.mass - leptons.mass)) == 0)


def test_the_mass_of_a_fast_particle_is_no_difference_of_large_numbers(tmp_path: Path) -> None:
    branches = {
        "muon_pt": ak.Array([[900.0, 700.0]]),
        "muon_eta": ak.Array([[2.0, 2.0]]),
        "muon_phi": ak.Array([[1.0, 1.001]]),
        "muon_ch": ak.Array([[1, -1]]),
    }
    branches = {name: ak.values_astype(values, "float32") for name, values in branches.items()}
    muons = opened(write(tmp_path / "fast.root", branches)).muon
    assert muons.mass[0].to_list() == pytest.approx([0.1056583755] * 2, rel=1e-6)
    expected = mass_of(*(ak.sum(values[0]) for values in components(branches, "muon").values()))
    assert (muons[:, 0] + muons[:, 1]).mass[0] == pytest.approx(expected, rel=1e-6)
    assert muons.sum(axis=1).mass[0] == pytest.approx(expected, rel=1e-6)
    assert (1.0 * muons[:, 0] + 1.0 * muons[:, 1]).mass[0] == pytest.approx(expected, rel=1e-6)


FOREIGN = ("vector", "candidate", "momentum")
"""Kinds that are coffea's or scikit-hep's alone, as users make them."""
KINDS = (*LEPTONS, "jet", "fatjet", "sum", *FOREIGN)


def _twenty(events: ak.Array, branches: dict[str, Any], kind: str) -> tuple[Any, dict[str, Any]]:
    """Twenty objects of a kind, and their components; some are made by a user."""
    name = {"vector": "jet", "momentum": "jet", "candidate": "muon", "sum": "muon"}.get(kind, kind)
    expected = {c: ak.flatten(v)[:20] for c, v in components(branches, name).items()}
    found = ak.flatten(events[name])[:20]
    fields = {c: found[c] for c in ("pt", "eta", "phi", "mass")}
    if kind == "vector":
        found = ak.zip(fields, with_name="PtEtaPhiMLorentzVector", behavior=vector.behavior)
    elif kind == "momentum":
        found = hep_vector.zip(fields)
    elif kind == "candidate":
        fields["charge"] = found["charge"]
        found = ak.zip(fields, with_name="PtEtaPhiMCandidate", behavior=candidate.behavior)
    elif kind == "sum":
        found, expected = found + found, {c: 2 * v for c, v in expected.items()}
    return found, expected


@pytest.mark.parametrize("one", KINDS)
def test_each_two_kinds_are_added_and_subtracted_in_their_order(
    events: ak.Array, branches: dict[str, Any], one: str
) -> None:
    first, a = _twenty(events, branches, one)
    for other in KINDS:
        if {one, other} <= {*FOREIGN}:
            continue
        second, b = _twenty(events, branches, other)
        total, difference = first + second, first - second
        # Of single precision, at energies up to some TeV.
        for c in "xyzt":
            np.testing.assert_allclose(getattr(total, c), a[c] + b[c], rtol=1e-5, atol=1e-3)
            np.testing.assert_allclose(getattr(difference, c), a[c] - b[c], rtol=1e-5, atol=1e-3)
        assert ("charge" in total.fields) == all("charge" in v.fields for v in (first, second))
        # The result is as good as what it was made of.
        assert len(total + ak.flatten(events.jet)[:20]) == 20


def test_one_vector_of_scikit_hep_is_added_to_each(
    events: ak.Array, branches: dict[str, Any]
) -> None:
    beam = hep_vector.obj(px=1.0, py=2.0, pz=30.0, E=40.0)
    x = components(branches, "jet")["x"]
    for found, expected in (
        (events.jet + beam, x + 1),
        (beam + events.jet, x + 1),
        (events.jet - beam, x - 1),
        (beam - events.jet, 1 - x),
    ):
        np.testing.assert_allclose(ak.flatten(found.px), ak.flatten(expected), atol=1e-6)


@pytest.mark.parametrize("name", ["jet", "muon", "electron"])
def test_one_object_is_turned_and_boosted(
    events: ak.Array, branches: dict[str, Any], name: str
) -> None:
    place = int(ak.argmax(ak.num(events[name]) > 1))
    one, other = events[name][place, 0], events[name][place, 1]
    x, y, _, _ = (components(branches, name)[c][place, 0] for c in "xyzt")
    assert one.rotateZ(0.3).px == pytest.approx(x * np.cos(0.3) - y * np.sin(0.3))
    pair = one + other
    for boosted in (one.boostCM_of(pair), one.boost(-pair.boostvec)):
        energy = (pair.mass2 + one.mass2 - other.mass2) / (2 * pair.mass)
        assert boosted.energy == pytest.approx(energy, rel=1e-5)
    assert (pair.boostCM_of(pair) + pair).energy == pytest.approx(pair.energy + pair.mass)
    assert (2 * one.rotateZ(0.3)).pt == pytest.approx(2 * one.pt)


def test_objects_with_methods_of_a_user(events: ak.Array, branches: dict[str, Any]) -> None:
    """What fails within a property is told, not that there is no such field."""
    own = dict(events.behavior)

    @ak.mixin_class(own, name="tagged")
    class Tagged(Jet):
        @property
        def hard(self) -> Any:
            return self.pt > 60

        @property
        def misspelt(self) -> Any:
            return self.btagg > 0.5

    tagged = ak.with_name(events.jet, "tagged", behavior=own)
    assert ak.all(tagged.hard == (branches["jet_corrpt"] > 60))
    assert ak.all(tagged.px == events.jet.px)
    assert not hasattr(tagged, "misspelt")
    with pytest.raises(AttributeError, match=r"jet has no field 'btagg': did you mean 'btag'\?"):
        _ = tagged.misspelt


def test_a_field_that_is_not_there_is_an_error_of_awkward_and_of_python(events: ak.Array) -> None:
    for where in (events, events.jet, events.jet[0], events.met[0]):
        for error in (FieldNotFoundError, AttributeError):
            with pytest.raises(error, match="no field 'nothing'"):
                _ = where["nothing"]
    merged = ak.concatenate([events.electron, events.muon], axis=1)
    with pytest.raises(AttributeError, match=r"^lepton has no field 'matched_jet'"):
        _ = merged.matched_jet


def test_missing_momentum_is_added_in_the_transverse_plane(
    events: ak.Array, branches: dict[str, Any]
) -> None:
    two = ak.num(events.jet) > 0
    jets, met = events.jet[two][:, 0], events.met[two]
    x = ak.values_astype(branches["met_pt"], float) * np.cos(branches["met_phi"])
    expected = x[two] + components(branches, "jet")["x"][two][:, 0]
    for total in (met + jets, jets + met):
        np.testing.assert_allclose(total.x, expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose((met - jets).x, -(jets - met).x, atol=1e-4)


def _expected_jets(branches: dict[str, Any], rows: Any = slice(None)) -> list[Any]:
    index = branches["muon_jetidx"][rows]
    return branches["jet_corrpt"][rows][ak.mask(index, index >= 0)].to_list()


def _joined(path: Path) -> ak.Array:
    return ak.concatenate([opened(path, entry_start=a, entry_stop=a + 100) for a in (0, 100, 200)])


def _sorted(path: Path) -> ak.Array:
    events = opened(path)
    events["jet"] = events.jet[ak.argsort(events.jet.btag, axis=1)]
    return events


def _filtered(path: Path) -> ak.Array:
    events = opened(path)
    events["jet"] = events.jet[events.jet.pt > 40]
    return events


def _sent(path: Path) -> ak.Array:
    copy = cloudpickle.loads(cloudpickle.dumps(opened(path, metadata={"dataset": "one"})))
    assert copy.metadata["dataset"] == "one"
    return copy


def _stored(path: Path) -> ak.Array:
    return pickle.loads(pickle.dumps(opened(path)))


@pytest.mark.parametrize("habit", [_joined, _sorted, _filtered, _sent, _stored])
def test_a_muon_keeps_its_jet(path: Path, branches: dict[str, Any], habit: Any) -> None:
    matched = habit(path).muon.matched_jet
    assert matched.pt.to_list() == _expected_jets(branches)
    assert ak.all(ak.is_none(matched, axis=1) == (branches["muon_jetidx"] < 0))


def test_muons_that_are_sorted_joined_or_single_keep_their_jets(
    events: ak.Array, branches: dict[str, Any]
) -> None:
    order = ak.argsort(events.muon.pt, axis=1)
    expected = ak.Array(_expected_jets(branches))
    assert events.muon[order].matched_jet.pt.to_list() == expected[order].to_list()
    muon = events[ak.num(events.muon) > 0][0].muon[0]
    assert (
        muon.matched_jet is None or muon.matched_jet.pt in events.jet.pt[ak.num(events.muon) > 0][0]
    )
    both = ak.concatenate([events.muon, events.electron], axis=1)
    assert both.charge.to_list() == ak.concatenate(
        [branches["muon_ch"], branches["electron_ch"]], axis=1
    ).to_list()  # fmt: skip


@pytest.mark.parametrize("mode", ["virtual", "eager"])
@pytest.mark.parametrize("name", ["jet", "fatjet", *LEPTONS, "met"])
def test_systematics_of_coffea(path: Path, name: str, mode: str) -> None:
    objects = opened(path, mode=mode)[name]
    objects.add_systematic(
        "scale", "UpDownSystematic", "pt", lambda pt: pt[:, None] * np.array([[1.05, 0.95]])
    )
    for way, factor in (("up", 1.05), ("down", 0.95)):
        varied = objects.systematics.scale[way]
        np.testing.assert_allclose(
            ak.flatten(varied.px, axis=None), factor * ak.flatten(objects.px, axis=None)
        )
        if name != "met":
            assert ak.all(varied.mass == objects.mass)
            pairs, plain = (ak.combinations(v, 2) for v in (varied, objects))
            assert ak.all((pairs["0"] + pairs["1"]).pt >= 0)
            np.testing.assert_allclose(
                ak.flatten((pairs["0"] + pairs["1"]).pt),
                factor * ak.flatten((plain["0"] + plain["1"]).pt),
                rtol=1e-6,
            )


def test_the_momentum_that_a_user_gives_is_the_momentum(
    events: ak.Array, branches: dict[str, Any]
) -> None:
    events["jet", "pt"] = 0.5 * events.jet.pt
    expected = 0.5 * ak.values_astype(branches["jet_corrpt"], float)
    np.testing.assert_allclose(ak.flatten(events.jet.pt), ak.flatten(expected), rtol=1e-6)
    np.testing.assert_allclose(
        ak.flatten(events.jet.px), ak.flatten(0.5 * components(branches, "jet")["x"]), rtol=1e-6
    )


def test_leptons_and_jets_are_scaled_as_the_page_says(events: ak.Array) -> None:
    page = (PROJECT / "docs" / "extending.md").read_text(encoding="utf-8")
    code: dict[str, Any] = {}
    exec(page.split("<!-- scale -->\n```python\n")[1].split("```")[0], code)  # noqa: S102
    before = {name: events[name] for name in ("muon", "jet")}
    after = code["scaled"](events)
    for name, objects in before.items():
        np.testing.assert_allclose(ak.flatten(after[name].pz), 1.01 * ak.flatten(objects.pz))
        assert ak.all(after[name].mass == objects.mass)


def _without(branches: dict[str, Any], *names: str) -> dict[str, Any]:
    """The branches of vectors but for those names: to write all takes ten times as long."""
    kept = ("electron_", "muon_", "jet_", "met_")
    return {
        name: values
        for name, values in branches.items()
        if name not in names and name.startswith(kept)
    }


@pytest.mark.parametrize(
    ("without", "use"),
    [
        ("jet_corrmass", lambda e: e.jet.energy),
        ("jet_corrmass", lambda e: e.jet.mass),
        ("jet_corrmass", lambda e: e.jet + e.jet),
        ("jet_corrmass", lambda e: e.jet.sum()),
        ("jet_eta", lambda e: e.jet.delta_r(e.jet)),
        ("jet_eta", lambda e: e.muon.nearest(e.jet)),
        ("jet_corrpt", lambda e: e.jet.px),
        ("muon_phi", lambda e: e.muon.py),
        ("muon_phi", lambda e: ak.firsts(e.muon) + ak.firsts(e.jet)),
        ("muon_ch", lambda e: e.muon.charge),
        ("muon_ch", lambda e: ak.firsts(e.muon) + ak.firsts(e.electron)),
        ("met_phi", lambda e: e.met.px),
    ],
)
def test_the_branch_that_a_vector_lacks_is_named(
    tmp_path: Path, branches: dict[str, Any], without: str, use: Any
) -> None:
    path = write(tmp_path / "lacking.root", _without(branches, without))
    with pytest.raises(MissingBranchError, match=f"^branch '{without}' is not in "):
        use(opened(path)[:5])


def test_what_needs_no_mass_does_not_ask_for_it(tmp_path: Path, branches: dict[str, Any]) -> None:
    lacking = _without(branches, "jet_corrmass", "muon_e", "electron_e", "muon_ch")
    events = opened(write(tmp_path / "lacking.root", lacking))
    np.testing.assert_allclose(
        ak.flatten(events.jet.px), ak.flatten(components(branches, "jet")["x"]), rtol=1e-9
    )
    assert ak.all(events.jet.delta_r(events.jet) == 0)
    np.testing.assert_allclose(
        ak.flatten(events.muon.energy), ak.flatten(components(branches, "muon")["t"]), rtol=1e-6
    )


def test_a_copy_names_the_branch_without_the_file(tmp_path: Path, branches: dict[str, Any]) -> None:
    path = write(tmp_path / "lacking.root", _without(branches, "muon_sip3d"))
    copy = cloudpickle.loads(cloudpickle.dumps(opened(path)))
    with pytest.raises(MissingBranchError, match=r"^branch 'muon_sip3d' is not in the file$"):
        _ = copy.muon.sip3d


@pytest.mark.parametrize("branch", ["met_pt", "PV_npvs", "trig_IsoMu20"])
def test_lists_for_a_number_are_refused_by_name(tmp_path: Path, branch: str) -> None:
    events = _without(make_events(20, seed=1))
    lists = ak.unflatten(make_events(20, seed=1)[branch], 1)
    path = write(tmp_path / "lists.root", events | {branch: lists})
    with pytest.raises(TypeError, match=f"'{branch}' has a list, expected one number an event"):
        opened(path)
    path = write(tmp_path / "numbers.root", events | {"jet_btag": events["met_pt"]})
    with pytest.raises(TypeError, match="'jet_btag' has one number an event, expected a list"):
        opened(path)


def test_muons_of_a_tree_are_those_of_an_ntuple(tmp_path: Path, branches: dict[str, Any]) -> None:
    fields = {field: branches[f"muon_{field}"] for field in ("pt", "eta", "phi")}
    fields |= {"charge": branches["muon_ch"], "mass": ak.full_like(fields["pt"], 0.1056583755)}
    with uproot.recreate(tmp_path / "tree.root") as file:
        file.mktree(
            "Events", {f"Muon_{name}": values.type.content for name, values in fields.items()}
        )
        file["Events"].extend({f"Muon_{name}": values for name, values in fields.items()})
    events = NanoEventsFactory.from_root(
        {str(tmp_path / "tree.root"): "Events"}, schemaclass=MuonTreeSchema
    ).events()
    first, second = ak.unzip(ak.combinations(events.muon, 2))
    one, other = ak.unzip(ak.combinations(ak.zip(components(branches, "muon")), 2))
    expected = mass_of(*(one[c] + other[c] for c in "xyzt"))
    pair = first + second
    np.testing.assert_allclose(ak.flatten(pair.mass), ak.flatten(expected), rtol=1e-6)
    assert ak.all(pair.charge == first.charge + second.charge)
    assert ak.all(abs(first.delta_r(second) - np.hypot(
        first.eta - second.eta, (first.phi - second.phi + np.pi) % (2 * np.pi) - np.pi)) < 1e-6)  # fmt: skip
    assert ak.num(events.muon.nearest(events.muon)).to_list() == ak.num(fields["pt"]).to_list()
    with pytest.raises(AttributeError, match=r"no field 'Muon': did you mean 'muon'\?"):
        _ = events.Muon


def test_columns_of_a_four_vector_need_its_coordinates() -> None:
    pt_eta_phi = {"muon_pt", "muon_eta", "muon_phi"}
    assert AGCSchema.branches(["muon.energy"]) == AGCSchema.branches(["muon.px"]) == pt_eta_phi
    assert "jet_corrmass" in AGCSchema.branches(["jet.energy"])
    assert AGCSchema.branches(["met.px"]) == {"met_pt", "met_phi"}
