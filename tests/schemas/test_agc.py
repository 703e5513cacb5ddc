"""AGCSchema: all branches find their place, and the tutorial's statements work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from coffea.nanoevents import NanoEventsFactory
from coffea.nanoevents.trace import trace

from schemas import AGCSchema, MissingBranchError, layout
from tests.ntuples import make_events, write, write_random


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random(tmp_path_factory.mktemp("schema") / "a.root", 300, seed=5, whole=True)


def open_events(path: Path | str, **options: Any) -> ak.Array:
    return NanoEventsFactory.from_root(
        {str(path): "events"}, schemaclass=AGCSchema, **options
    ).events()


@pytest.fixture(scope="module")
def events(path: Path) -> ak.Array:
    """Not to be changed."""
    return open_events(path)


@pytest.mark.shared
def test_the_layout_has_the_275_branches_of_the_files_at_cern(shared: Path) -> None:
    branches = (shared / "facts" / "poet_flat_branches.txt").read_text().split()
    assert len(branches) == 275
    assert set(layout.BRANCHES) | layout.COUNTERS == set(branches)


def test_every_branch_has_its_values_in_the_event_model(path: Path, events: ak.Array) -> None:
    with uproot.open(f"{path}:events") as tree:
        assert set(tree.keys()) == set(layout.BRANCHES) | layout.COUNTERS
        for branch, places in layout.BRANCHES.items():
            stored = tree[branch].array()
            for place in places:
                found = events[place.collection]
                for name in filter(None, (place.nested, place.field)):
                    found = found[name]
                assert ak.array_equal(stored, found, check_parameters=False), place.path


def test_collections_and_no_counters(events: ak.Array) -> None:
    assert set(events.fields) == {*layout.OBJECTS, *layout.FLAT_FIELDS}


@pytest.mark.parametrize("name", layout.OBJECTS)
def test_four_vectors_agree_with_the_stored_components(events: ak.Array, name: str) -> None:
    collection = events[name]
    assert collection.layout.purelist_parameter("__record__") != "AGCRecord"
    if name in ("jet", "fatjet"):
        assert ak.all(collection.pt == collection.corrpt)
        assert ak.all(collection.mass == collection.corrmass)
        assert not ak.all(collection.pt == collection.raw_pt)
        return
    stored = collection.cartesian
    for component in ("px", "py", "pz"):
        np.testing.assert_allclose(
            ak.flatten(getattr(collection, component)),
            ak.flatten(stored[component]),
            rtol=2e-5,
            atol=1e-3,
        )


def test_statements_of_the_tutorial(events: ak.Array) -> None:
    electrons = events.electron[
        (events.electron.pt > 30)
        & (abs(events.electron.eta) < 2.1)
        & (events.electron.isTight == True)
    ]
    muons = events.muon[
        (events.muon.pt > 30)
        & (events.muon.isTight == True)
        & (events.muon.sip3d < 4)
        & (events.muon.pfreliso04DBCorr < 0.15)
    ]
    jets = events.jet[(events.jet.corrpt > 30) & (abs(events.jet.eta) < 2.4)]
    wanted = (ak.count(electrons.pt, axis=1) + ak.count(muons.pt, axis=1)) == 1
    wanted = wanted & (ak.count(jets.corrpt, axis=1) >= 4)
    wanted = wanted & (ak.sum(jets.btag >= 0.8, axis=1) >= 2)
    assert len(events[wanted]) == ak.sum(wanted) > 3
    trijet = ak.combinations(jets[wanted], 3, fields=["j1", "j2", "j3"])
    trijet["p4"] = trijet.j1 + trijet.j2 + trijet.j3
    trijet["max_btag"] = np.maximum(trijet.j1.btag, np.maximum(trijet.j2.btag, trijet.j3.btag))
    trijet = trijet[trijet.max_btag > 0.8]
    best = ak.argmax(trijet.p4.pt, axis=1, keepdims=True)
    mass = ak.flatten(trijet["p4"][best].mass)
    assert len(mass) == ak.sum(wanted)
    assert ak.all(mass > 0)


def test_two_muons_add_up(events: ak.Array) -> None:
    two = events[ak.num(events.muon) >= 2]
    pair = two.muon[0, 0] + two.muon[0, 1]
    first, second = two.muon[0, 0], two.muon[0, 1]
    momentum = [getattr(first, c) + getattr(second, c) for c in ("px", "py", "pz")]
    energy = first.energy + second.energy
    assert pair.mass == pytest.approx(np.sqrt(energy**2 - sum(p**2 for p in momentum)), rel=1e-3)
    assert pair.charge == first.charge + second.charge
    delta_phi = (first.phi - second.phi + np.pi) % (2 * np.pi) - np.pi
    assert first.delta_r(second) == pytest.approx(
        np.hypot(first.eta - second.eta, delta_phi), rel=1e-5
    )
    assert ak.num(events.muon.nearest(events.jet))[0] == ak.num(events.muon)[0]


@pytest.mark.parametrize("name", ["electron", "muon", "photon", "tau"])
def test_leptons_and_jets_add_up(events: ak.Array, name: str) -> None:
    both = events[(ak.num(events[name]) > 0) & (ak.num(events.jet) > 1)]
    lepton, jets = both[name][:, 0], both.jet[:, 0] + both.jet[:, 1]
    for one, other in ((lepton, both.jet[:, 0]), (jets, lepton), (lepton + lepton, jets)):
        for total in (one + other, other + one):
            for part in ("px", "py", "pz", "energy"):
                np.testing.assert_allclose(
                    getattr(total, part),
                    getattr(one, part) + getattr(other, part), rtol=1e-4, atol=1e-2,
                )  # fmt: skip
        difference = (one - other).px, one.px - other.px
        np.testing.assert_allclose(*difference, rtol=1e-4, atol=1e-2)
    assert "charge" in (lepton + lepton).fields


def test_missing_momentum_is_a_transverse_vector(events: ak.Array) -> None:
    np.testing.assert_allclose(
        events.met.px, events.met.pt * np.cos(events.met.phi), rtol=1e-4, atol=1e-4
    )
    assert abs(events.met.delta_phi(events.muon[:, :1])).ndim == 2


def test_matched_jet_is_the_jet_of_the_index(events: ak.Array) -> None:
    for selected in (events, events[50:80], events[ak.num(events.muon) > 1]):
        for muons, matched, jets in zip(
            selected.muon.jetidx.to_list(),
            selected.muon.matched_jet.pt.to_list(),
            selected.jet.pt.to_list(),
            strict=True,
        ):
            assert matched == [None if i < 0 else jets[i] for i in muons]


def test_matched_jet_in_a_chunk_that_begins_within_the_file(path: Path) -> None:
    whole = open_events(path).muon.matched_jet.pt
    part = open_events(path, entry_start=120, entry_stop=200).muon.matched_jet.pt
    assert part.to_list() == whole[120:200].to_list()


def test_preload_gives_the_same_events(path: Path) -> None:
    columns = ["jet.pt", "jet.raw_pt", "muon.jetidx", "muon.pt", "met.pt"]
    preload = AGCSchema.branches(columns)
    assert preload == {"jet_corrpt", "jet_pt", "muon_jetidx", "muon_pt", "met_pt"}
    loaded, lazy = open_events(path, preload=preload), open_events(path)
    assert ak.array_equal(loaded.jet.raw_pt, lazy.jet.raw_pt)
    assert loaded.muon.matched_jet.pt.to_list() == lazy.muon.matched_jet.pt.to_list()


def test_trace_finds_what_is_read(events: ak.Array) -> None:
    read = trace(lambda e: ak.sum(e.jet["raw_pt"]) + ak.sum(e.muon.matched_jet.eta), events)
    assert read >= {"jet_pt", "muon_jetidx", "jet_eta", "jet_corrpt"}
    assert not any(name.startswith(("electron", "tau")) for name in read)


def test_a_file_without_collections_that_are_not_needed(tmp_path: Path) -> None:
    branches = {
        name: values
        for name, values in make_events(20, seed=1, whole=True).items()
        if name.startswith(("electron_", "met_pt", "met_phi"))
    }
    events = open_events(write(tmp_path / "few.root", branches))
    assert set(events.fields) == {"electron", "met"}
    assert ak.count(events.electron.pt) > 0


@pytest.mark.parametrize(
    ("without", "touch", "branch", "near"),
    [
        ("muon_sip3d", lambda e: e.muon.sip3d, "muon_sip3d", "muon_ip3d"),
        ("muon_sip3d", lambda e: e.muon["sip3d"], "muon_sip3d", "muon_ip3d"),
        ("jet_corrpt", lambda e: e.jet.pt, "jet_corrpt", "jet_corrptUp"),
        ("muon_jetidx", lambda e: e.muon.matched_jet, "muon_jetidx", "muon_"),
        ("tau_", lambda e: e.tau, "tau_pt", "_pt"),
        ("trig_IsoMu20", lambda e: e.trig["IsoMu20"], "trig_IsoMu20", "trig_IsoTkMu20"),
    ],
)
def test_a_missing_branch_is_named_with_file_and_nearest(
    tmp_path: Path, without: str, touch: Any, branch: str, near: str
) -> None:
    branches = make_events(5, seed=1, whole=True)
    branches = {
        name: values
        for name, values in branches.items()
        if name != without and not (without.endswith("_") and name.startswith(without))
    }
    path = write(tmp_path / "lacking.root", branches)
    with pytest.raises(MissingBranchError, match=rf"'{branch}' is not in .*lacking.root: .*{near}"):
        touch(open_events(path))


@pytest.mark.parametrize(
    ("touch", "message"),
    [
        (lambda e: e.jet.ptt, r"jet has no field 'ptt': did you mean 'pt'"),
        (lambda e: e.electrons, r"events has no field 'electrons': did you mean 'electron'"),
        (lambda e: e.muon.foobar, r"muon has no field 'foobar'$"),
    ],
)
def test_a_mistyped_field_is_answered(events: ak.Array, touch: Any, message: str) -> None:
    with pytest.raises(AttributeError, match=message):
        touch(events)


def test_columns_that_no_branch_gives() -> None:
    with pytest.raises(MissingBranchError, match=r"'jet.corptUp': nearest are jet.corrptUp"):
        AGCSchema.branches(["jet.pt", "jet.corptUp"])
    with pytest.raises(MissingBranchError, match=r"gives '\?'$"):
        AGCSchema.branches(["?"])


def test_columns_may_be_given_one_after_the_other() -> None:
    assert AGCSchema.branches(name for name in ("jet.pt", "met.pt")) == {"jet_corrpt", "met_pt"}


def test_branches_that_poet_does_not_know_stay(tmp_path: Path) -> None:
    branches = make_events(5, seed=1, whole=True) | {"genweight": np.arange(5.0)}
    events = open_events(write(tmp_path / "more.root", branches))
    assert events.genweight.to_list() == [0, 1, 2, 3, 4]


@pytest.mark.shared
def test_real_events(real_files: dict[str, Path]) -> None:
    events = open_events(real_files["ttbar"])
    assert ak.all(events.jet.pt == events.jet.corrpt)
    matched = events.muon.matched_jet
    near = ak.fill_none(events.muon.delta_r(matched), 0)
    assert ak.all(near < 0.45)  # a muon is inside the jet that it is part of
    assert ak.all(ak.is_none(matched.pt, axis=1) == (events.muon.jetidx < 0))
