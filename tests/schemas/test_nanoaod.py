"""NanoSchema: NanoAOD gives the event model of the POET ntuples, and everything of its own."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from coffea.nanoevents import NanoEventsFactory

from analysis.config import AnalysisConfig
from analysis.datasets.catalogue import Catalogue, Dataset
from analysis.execution.runner import run
from analysis.processor import TtbarAnalysis
from schemas import FORMATS, AGCSchema, MissingBranchError, NanoDeepJetSchema, NanoSchema
from tests.ntuples import as_nanoaod, make_events, write, write_nanoaod

pytestmark = pytest.mark.filterwarnings("ignore:the filter_branch kwarg:DeprecationWarning")

LESSON = AnalysisConfig.model_validate(
    {"variations": {"jet_energy": False}, "multijet": {"enabled": False}}
)


def opened(path: Path, schema: type[Any] = NanoSchema, **options: Any) -> ak.Array:
    source = NanoEventsFactory.from_root({str(path): "Events"}, schemaclass=schema, **options)
    return source.events()


@pytest.fixture(scope="module")
def poet() -> dict[str, Any]:
    return make_events(400, seed=21)


@pytest.fixture(scope="module", params=["ttree", "rntuple"])
def path(
    tmp_path_factory: pytest.TempPathFactory, poet: dict[str, Any], request: pytest.FixtureRequest
) -> Path:
    folder = tmp_path_factory.mktemp("nanoaod")
    nano = as_nanoaod(poet)
    del nano["Pileup_nTrueInt"]
    return write_nanoaod(folder / "a.root", nano, rntuple=request.param == "rntuple")


@pytest.mark.parametrize("mode", ["virtual", "eager"])
def test_the_event_model_is_that_of_poet(path: Path, poet: dict[str, Any], mode: str) -> None:
    events = opened(path, mode=mode)
    same = {
        "electron": ("pt", "eta", "phi", "ch", "charge", "sip3d", "isTight"),
        "muon": ("pt", "isTight", "pfreliso04DBCorr", "jetidx"),
        "jet": ("corrpt", "eta", "btag", "hflav"),
        "met": ("pt", "phi"),
        "PV": ("npvs",),
        "trig": ("IsoMu20", "IsoTkMu20", "Ele22_eta2p1_WPLoose_Gsf"),
    }
    for collection, fields in same.items():
        for field in fields:
            branch = f"{collection}_{'ch' if field == 'charge' else field}"
            found = events[collection][field]
            assert ak.all(found == poet[branch], axis=None), branch
            assert ak.num(found, axis=0) == ak.num(poet[branch], axis=0)
    assert ak.all(events.jet.pt == poet["jet_corrpt"])
    assert set(np.unique(ak.flatten(events.muon.mass))) == {np.float32(0.1056583755)}
    nano = as_nanoaod(poet)
    assert ak.all(events.generator.weight == nano["genWeight"])
    assert ak.all(events.event == nano["event"])


def test_derived_fields(path: Path, poet: dict[str, Any]) -> None:
    events = opened(path)
    nano = as_nanoaod(poet)
    assert ak.all(events.electron.isTight == (nano["Electron_cutBased"] == 4))
    assert ak.all(events.electron.isMedium == (nano["Electron_cutBased"] >= 3))
    assert ak.all(events.jet.isTightLepVeto == (nano["Jet_jetId"] == 6))
    assert ak.all(events.jet.isTight)
    np.testing.assert_allclose(ak.flatten(events.jet.raw_pt), ak.flatten(poet["jet_pt"]), rtol=1e-5)


def test_a_muon_has_its_jet_where_chunks_are_joined_and_sent(
    path: Path, poet: dict[str, Any]
) -> None:
    parts = [opened(path, entry_start=start, entry_stop=start + 200) for start in (0, 200)]
    events = pickle.loads(pickle.dumps(ak.concatenate(parts)))
    index = poet["muon_jetidx"]
    expected = poet["jet_corrpt"][ak.mask(index, index >= 0)]
    assert events.muon.matched_jet.pt.to_list() == expected.to_list()
    assert ak.all(events.muon.matched_jet.pt == events.Jet.pt[ak.mask(index, index >= 0)])


def test_collections_of_coffea_stay(path: Path) -> None:
    events = opened(path)
    assert ak.all(events.Jet.isTight == events.jet.isTight)
    assert ak.all(events.HLT.IsoMu20 == events.trig.IsoMu20)
    assert events["HLT"].fields == events.trig.fields
    first = ak.num(events.Muon) * ak.num(events.Electron) > 0
    muons, electrons = events.Muon[first][:, 0], events.Electron[first][:, 0]
    np.testing.assert_allclose((muons - electrons).x, muons.x - electrons.x, rtol=1e-4, atol=1e-3)


def test_columns_give_the_branches_that_are_read(path: Path) -> None:
    columns = ["jet.btag", "jet.raw_pt", "electron.isTight", "trig.IsoMu20", "generator.weight",
               "run", "jet.qgl", "muon.pfreliso04DBCorr", "met.pt", "PV.npvs"]  # fmt: skip
    assert NanoSchema.branches(columns) == {
        "Jet_btagCSVV2", "Jet_pt", "Jet_rawFactor", "Electron_cutBased", "HLT_IsoMu20", "genWeight",
        "run", "Jet_qgl", "Muon_pfRelIso04_all", "MET_pt", "PV_npvs",
    }  # fmt: skip
    assert NanoDeepJetSchema.branches(["jet.btag"]) == {"Jet_btagDeepFlavB"}
    assert NanoSchema.branches(["muon.energy"]) == {"Muon_pt", "Muon_eta", "Muon_phi"}
    preload = NanoSchema.branches(["jet.btag", "jet.pt", "electron.isTight", "electron.pt"])
    log: list[Any] = []
    events = opened(path, preload=preload, access_log=log)
    ak.sum(events.jet.btag), ak.sum(events.electron.isTight)
    assert {found.branch for found in log} == preload


@pytest.mark.parametrize("column", ["jet.corrptUp", "jet.corrptSmearDown", "btag.WeightUp"])
def test_what_nanoaod_cannot_give_is_asked_of_the_analysis(column: str) -> None:
    with pytest.raises(MissingBranchError, match=f"NanoAOD has no {column}: let the analysis"):
        NanoSchema.branches([column])


@pytest.mark.parametrize(
    ("touch", "branch"),
    [
        (lambda e: e.jet.qgl, "Jet_qgl"),
        (lambda e: e.jet["qgl"], "Jet_qgl"),
        (lambda e: e.trig.IsoMu24, "HLT_IsoMu24"),
        (lambda e: e.tau, "Tau_pt"),
        (lambda e: e.muon.isSoft, "Muon_softId"),
        (lambda e: e.pileup, r"Pileup_\*"),
    ],
)
def test_a_missing_branch_is_named_with_file_and_nearest(
    path: Path, touch: Any, branch: str
) -> None:
    with pytest.raises(MissingBranchError, match=rf"'{branch}' is not in .*a.root: "):
        touch(opened(path))


def test_what_only_the_collection_of_coffea_has_is_told(path: Path) -> None:
    with pytest.raises(AttributeError, match=r"muon has no 'matched_gen': coffea's events.Muon"):
        _ = opened(path).muon.matched_gen


def test_the_discriminator_is_chosen_by_name(tmp_path: Path, poet: dict[str, Any]) -> None:
    nano = as_nanoaod(poet)
    nano["Jet_btagDeepFlavB"] = nano["Jet_btagCSVV2"] * 0.5
    path = write_nanoaod(tmp_path / "two.root", nano)
    assert ak.all(opened(path).jet.btag == nano["Jet_btagCSVV2"])
    assert ak.all(opened(path, NanoDeepJetSchema).jet.btag == nano["Jet_btagDeepFlavB"])
    del nano["Jet_btagCSVV2"]
    lacking = opened(write_nanoaod(tmp_path / "one.root", nano))
    with pytest.raises(MissingBranchError, match=r"'Jet_btagCSVV2' is not in .*Jet_btagDeepFlavB"):
        _ = lacking.jet.btag


def test_later_versions_have_another_missing_momentum(tmp_path: Path, poet: dict[str, Any]) -> None:
    nano = as_nanoaod(poet)
    nano |= {f"PFMET_{name}": nano.pop(f"MET_{name}") for name in ("pt", "phi")}
    path = write_nanoaod(tmp_path / "v15.root", nano)
    events = opened(path, FORMATS["nanoaod-pfmet"])
    assert ak.all(events.met.pt == poet["met_pt"])
    np.testing.assert_allclose(events.met.x, poet["met_pt"] * np.cos(poet["met_phi"]), rtol=1e-5)
    assert FORMATS["nanoaod-pfmet"].branches(["met.px", "jet.btag"]) == {
        "PFMET_pt", "PFMET_phi", "Jet_btagDeepFlavB"
    }  # fmt: skip
    with pytest.raises(MissingBranchError, match=r"'MET_pt' is not in .*nearest there: PFMET_pt"):
        _ = opened(path).met


def test_lists_for_a_number_are_refused_by_name(tmp_path: Path, poet: dict[str, Any]) -> None:
    nano = as_nanoaod(poet)
    with uproot.recreate(tmp_path / "lists.root") as file:
        lists = {"MET_pt": ak.unflatten(nano["MET_pt"], 1), "MET_phi": ak.Array(nano["MET_phi"])}
        file.mktree("Events", {n: v.type.content for n, v in lists.items()}).extend(lists)
    with pytest.raises(TypeError, match="'MET_pt' has a list, expected one number an event"):
        opened(tmp_path / "lists.root")


def yields(path: Path, schema: type[Any], tree: str, events: int) -> Any:
    dataset = Dataset(process="ttbar", kind="signal", files={path.name: events})
    catalogue = Catalogue(tree=tree, base=str(path.parent), datasets={"one": dataset})
    result = run(TtbarAnalysis(LESSON), catalogue, schema=schema)
    result.ledger.require_complete()
    return result.output["one"]


def test_both_formats_give_the_same_histograms(path: Path, poet: dict[str, Any]) -> None:
    expected = yields(write(path.parent / "poet.root", poet), AGCSchema, "events", 400)
    found = yields(path, NanoSchema, "Events", 400)
    assert expected["observable"].sum(flow=True).value > 100
    assert found["observable"] == expected["observable"]
    assert found["control"] == expected["control"]
    assert found["cutflow"] == expected["cutflow"]


def test_every_format_is_a_schema() -> None:
    assert all(hasattr(schema, "branches") for schema in FORMATS.values())


@pytest.mark.shared
@pytest.mark.parametrize(
    ("process", "nanoaod", "schema"),
    [
        ("ttbar", "cms2022_ttbar_nanoaod", NanoDeepJetSchema),
        ("wjets", "cms2015_wjets_nanoaod", NanoSchema),
    ],
)
def test_real_events_are_those_of_their_poet_ntuple(
    shared: Path, process: str, nanoaod: str, schema: type[Any]
) -> None:
    folder = shared / "data"
    events = opened(folder / f"{nanoaod}.root", schema)
    poet = NanoEventsFactory.from_root(
        {str(folder / f"cms_{process}_poet_layout.root"): "events"}, schemaclass=AGCSchema
    ).events()
    for column in ("electron.pt", "electron.isTight", "muon.isTight", "muon.pfreliso04DBCorr",
                   "jet.pt", "jet.mass", "jet.btag", "met.pt", "PV.npvs", "muon.sip3d"):  # fmt: skip
        collection, field = column.split(".")
        found, expected = (ak.flatten(e[collection][field], axis=None) for e in (events, poet))
        np.testing.assert_allclose(found, expected, rtol=1e-4, err_msg=column)
    assert ak.all(events.muon.mass > 0.105)
    assert "GenPart" in events.fields


@pytest.mark.shared
def test_real_events_give_the_same_histograms(shared: Path) -> None:
    folder = shared / "data"
    expected = yields(folder / "cms_ttbar_poet_layout.root", AGCSchema, "events", 200)
    found = yields(folder / "cms2022_ttbar_nanoaod.root", NanoDeepJetSchema, "Events", 200)
    assert found["cutflow"] == expected["cutflow"]
    assert found["observable"] == expected["observable"]
    assert expected["observable"].sum(flow=True).value > 30


@pytest.mark.shared
def test_files_of_the_grand_challenge(shared: Path) -> None:
    events = opened(shared / "agc" / "nano" / "ttbar__nominal_0.root")
    assert len(events) == 5000
    assert ak.all(events.electron.isTight == (events.Electron.cutBased == 4))
    assert ak.sum(events.generator.weight < 0) > 500
    assert ak.mean(events.pileup.nTrueInt) > 10
    assert {"IsoMu20", "IsoTkMu20"} <= set(events.trig.fields)
