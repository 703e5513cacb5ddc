"""The preset `cms` against a plain loop over the events."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis import stages
from analysis.cli import main
from analysis.common.errors import ConfigError
from analysis.datasets.bundled import SAMPLE
from analysis.datasets.catalogue import Catalogue
from analysis.presets.cms import CMS, CONFIG, REGIONS, SOURCES, shifts
from analysis.processor import TtbarAnalysis
from tests import event_loop
from tests.ntuples import make_events, write
from tests.selection import plain
from tests.selection.plain import Event, Row, assert_filled, delta_r, mass, process, selected

ALSO = (
    "electron_veto", "muon_isLoose", "trig_Ele22_eta2p1_WPLoose_Gsf", "trig_IsoTkMu20",
    "btag_WeightUp", "btag_WeightDn",
)  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    few = make_events(2500, seed=31, also=("electron_dxy", "muon_dxy"))
    return write(tmp_path_factory.mktemp("cms") / "a.root", few)


@pytest.fixture(scope="module")
def events(path: Path) -> list[Event]:
    return list(loop(path))


@pytest.fixture(scope="module")
def output(path: Path) -> dict[str, Any]:
    return process(TtbarAnalysis(preset=CMS), path)


def loop(path: Path, jet: Callable[[Row], float] = lambda row: row["corrpt"]) -> Iterator[Event]:
    """Events of one lepton, no further one, the channel's trigger; jets apart from the lepton."""
    for event in selected(path, jet=jet, also=ALSO):
        flat = event.flat
        fired = {
            "electron": flat["trig_Ele22_eta2p1_WPLoose_Gsf"],
            "muon": flat["trig_IsoMu20"] or flat["trig_IsoTkMu20"],
        }
        if fired[event.channel] and not any(map(further, event.others)):
            jets = [jet for jet in event.jets if delta_r(jet, event.lepton) >= 0.4]
            yield event._replace(jets=jets)


def further(row: Row) -> bool:
    if row["pt"] <= 15:
        return False
    if "veto" in row:
        return row["veto"] == 1 and abs(row["eta"]) < 2.5
    return row["isLoose"] == 1 and abs(row["eta"]) < 2.4 and row["pfreliso04DBCorr"] < 0.25


def least_lepton_b(event: Event) -> float:
    return min(mass(event.lepton, jet) for jet in event.tagged)


CATEGORIES: dict[str, tuple[Callable[[Event], bool], Callable[[Event], float]]] = {
    "3j1b": (lambda e: len(e.jets) == 3 and len(e.tagged) == 1, least_lepton_b),
    "3j2b": (lambda e: len(e.jets) == 3 and len(e.tagged) >= 2, least_lepton_b),
    "4j1b": (lambda e: len(e.jets) >= 4 and len(e.tagged) == 1, lambda e: e.ht),
    "4j2b": (lambda e: len(e.jets) >= 4 and len(e.tagged) >= 2, plain.top_mass),
}


def pt_of(source: str, column: str) -> Callable[[Row], float]:
    """Momentum of a jet under a source of the energy scale, with the numbers of the configuration."""

    def pt(row: Row) -> float:
        pile_up = 1 / (1 + (row["corrpt"] / 45) ** 2)
        forward = 0.5 if abs(row["eta"]) >= 1.3 else 0.0
        part = {
            "absolute": (1 - forward) * (1 - pile_up),
            "pile_up": (1 - forward) * pile_up,
            "relative": forward,
        }[source]
        return row["corrpt"] + math.sqrt(part) * (row[column] - row["corrpt"])

    return pt


@pytest.mark.parametrize("region", CATEGORIES)
def test_categories_are_those_of_a_plain_loop(
    events: list[Event], output: dict[str, Any], region: str
) -> None:
    where, value = CATEGORIES[region]
    filled = ((e.channel, value(e), e.flat["btag_Weight"]) for e in events if where(e))
    assert_filled(histogram(output, region), filled, process="ttbar", variation="nominal")


@pytest.mark.full
@pytest.mark.parametrize("source", SOURCES)
def test_a_source_of_the_energy_scale_shifts_its_part(
    path: Path, output: dict[str, Any], source: str
) -> None:
    where, value = CATEGORIES["4j1b"]
    shifted = loop(path, pt_of(source, "corrptDown"))
    filled = ((e.channel, value(e), e.flat["btag_Weight"]) for e in shifted if where(e))
    name = f"jes_{source}_down"
    assert_filled(histogram(output, "4j1b"), filled, process="ttbar", variation=name)


def histogram(output: dict[str, Any], region: str) -> Any:
    booked = output["observables"].get(region, output["observable"])
    return booked[{"region": region}]


def test_sources_are_the_whole_uncertainty_of_each_jet() -> None:
    pt, eta = (np.array(values, np.float32) for values in ([30, 45, 300, 60], [0, -1, 1.2, -2]))
    jets = {"pt": pt, "eta": eta, "corrptUp": 2 * pt}
    squares = {
        shift.name: (shift.pt(shift.up, jets, {"jet.eta"}) / pt - 1) ** 2
        for shift in shifts(CONFIG)
        if callable(shift.up)
    }
    np.testing.assert_allclose(sum(squares.values()), 1, rtol=1e-5)
    assert squares["jes_pile_up"][1] == pytest.approx(0.5, rel=1e-5)
    assert squares["jes_relative"].tolist() == pytest.approx([0, 0, 0, 0.5], rel=1e-5)


@pytest.mark.full
@pytest.mark.parametrize(("direction", "column"), [("up", "WeightUp"), ("down", "WeightDn")])
def test_the_b_tag_varies_by_flavour(path: Path, direction: str, column: str) -> None:
    """Both parts together are the ntuples' variation; jets of one kind alone have all of it."""
    parts = {part.name: part for part in TtbarAnalysis(preset=CMS).weights}
    selection = plain.seen_by_a_function(path, ["jet.hflav"]).unshifted()
    wanted = selection.wanted[0]
    heavy, light = (
        parts[name].factor(getattr(parts[name], direction), selection)[wanted]
        for name in ("btag_heavy", "btag_light")
    )
    events = list(selected(path, also=ALSO))
    whole = [e.flat[f"btag_{column}"] / e.flat["btag_Weight"] for e in events]
    np.testing.assert_allclose(heavy * light, whole, rtol=1e-6)
    flavours = [[jet["hflav"] in (4, 5) for jet in e.jets] for e in events]
    of_heavy = [bool(jets) and all(jets) for jets in flavours]
    of_light = [bool(jets) and not any(jets) for jets in flavours]
    assert sum(of_heavy) > 10 < sum(of_light)
    np.testing.assert_allclose(light[of_heavy], 1)
    np.testing.assert_allclose(heavy[of_light], 1)


def test_mistags_have_the_variation_of_light_jets(tmp_path: Path) -> None:
    """One light jet is tagged, a b jet is not: the weight of 1.15 is that of the light one, nearly."""
    event = make_events(1, seed=0)
    event |= {name: [[]] for name in event if name.startswith(("electron_", "muon_", "jet_"))}
    event |= {"muon_pt": [[50.0]], "muon_eta": [[1.0]], "muon_phi": [[3.1]], "muon_isTight": [[1]]}
    event |= {"muon_sip3d": [[1.0]], "muon_pfreliso04DBCorr": [[0.1]]}
    event |= {"jet_eta": [[0.0, 1]], "jet_phi": [[0.0, 1]], "jet_corrmass": [[5.0, 5]]}
    event |= {"jet_btag": [[0.9, 0.1]], "jet_hflav": [[0, 5]]}
    event |= {branch: [[60.0, 50]] for branch in event_loop.JET_PT.values()}
    event |= {"btag_Weight": [1.0], "btag_WeightUp": [1.08 * (1 - 1.024 * 0.6) / (1 - 0.6)]}
    path = write(tmp_path / "a.root", event)
    selection = plain.seen_by_a_function(path, ["jet.hflav"]).unshifted()
    parts = {part.name: part for part in TtbarAnalysis(preset=CMS).weights}
    heavy, light = (parts[f"btag_{name}"] for name in ("heavy", "light"))
    assert light.up is not None
    assert heavy.up is not None
    assert light.factor(light.up, selection)[0] == pytest.approx(1.08, rel=1e-6)
    assert heavy.factor(heavy.up, selection)[0] == pytest.approx(0.964, rel=1e-6)


def test_w_with_a_heavy_jet_is_varied_alone(path: Path, events: list[Event]) -> None:
    booked = process(TtbarAnalysis(preset=CMS), path, process="wjets")
    where, value = CATEGORIES["4j1b"]
    filled = (
        (e.channel, value(e), e.flat["btag_Weight"] * (1.3 if heavy(e) else 1.0))
        for e in events
        if where(e)
    )
    name = "wjets_heavy_flavour_up"
    assert_filled(histogram(booked, "4j1b"), filled, process="wjets", variation=name)


def heavy(event: Event) -> bool:
    return any(jet["hflav"] in (4, 5) for jet in event.jets)


def test_the_bundled_sample_has_its_events() -> None:
    """Three jets besides the lepton, which is a jet there; without cleaning it would be too few."""
    analysis = TtbarAnalysis(preset=CMS)
    analysis.require_events(Catalogue.load(SAMPLE))
    uncleaned = CONFIG.model_copy(update={"jet": {}})
    with pytest.raises(ConfigError, match=r"regions.min_jets = 3 \(pre-selected at 4\)"):
        analysis.with_config(uncleaned).require_events(Catalogue.load(SAMPLE))


def test_a_run_of_the_bundled_sample_reaches_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of the events, no figures: `test_the_whole_chain` has the rest."""
    folder = tmp_path / "results"
    command = ["process", "--analysis", "cms", "--max-events", "600", "--channels", "muon"]
    assert main([*command, "--output", str(folder), "--quiet"]) == 0
    monkeypatch.setattr("analysis.plotting.fit.make_figures", lambda *_: [])
    measurement, _ = stages.fit(folder, with_ranking=False)
    assert measurement.cross_section.value == pytest.approx(
        890, abs=3 * measurement.cross_section.error
    )
    page = stages.report(folder).read_text(encoding="utf-8")
    for region in REGIONS:
        assert region.name in page


@pytest.mark.full
def test_the_whole_chain(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    command = ["--analysis", "cms", "--channels", "muon", "--output", str(folder), "--quiet"]
    assert main(command) == 0
    figures = {path.stem for path in (folder / "figures").glob("*.png")}
    assert {region.name for region in REGIONS} < figures
    assert {"fit_ranking", "fit_yields_3j1b_muon", "variations_4j2b_ttbar"} < figures
    found = json.loads((folder / "measurement.json").read_text(encoding="utf-8"))
    assert found["cross_section"]["value"] == pytest.approx(890, abs=200)
