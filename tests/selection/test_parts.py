"""Regions, shifts, weights, control plots and channels of a user, against a plain loop over the events."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

from analysis.config import Binning
from analysis.processor import TtbarAnalysis
from analysis.selection.channels import Channel
from analysis.selection.control_plots import Control
from analysis.selection.corrections import Source
from analysis.selection.regions import Region
from analysis.selection.variations import Shift, Weight
from tests.ntuples import make_events, write
from tests.selection import plain
from tests.selection.plain import Event, assert_filled, delta_r, mass, process, selected, single

Filled = Iterator[tuple[str, float, float]]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(
        tmp_path_factory.mktemp("parts") / "a.root", make_events(3000, seed=21, whole=True)
    )


@pytest.fixture(scope="module")
def events(path: Path) -> list[Event]:
    return list(selected(path))


def of(events: Iterable[Event], where: Any, value: Any, weight: Any = lambda _: 1.0) -> Filled:
    return ((e.channel, value(e), weight(e)) for e in events if where(e))


def four_with_two_tags(event: Event) -> bool:
    return len(event.jets) >= 4 and len(event.tagged) >= 2


def ht(event: Event) -> float:
    return event.ht


def filled(path: Path, region: Region, **parts: Any) -> Any:
    """Fill one region; its histogram."""
    output = process(TtbarAnalysis(regions=[region], **parts), path)
    return output["observables"].get(region.name, output["observable"])


HT = {"observable": lambda s: s.ht}
PT = Binning(bins=20, low=0, high=200)

REGIONS = {
    "met": (
        Region(
            "4j2b_met",
            where=lambda s: (s.n_jets >= 4) & (s.n_btags >= 2) & (s.met.pt > 60),
            observable=lambda s: s.top_mass,
            uses={"met.pt"},
        ),
        lambda e: four_with_two_tags(e) and e.met["pt"] > 60,
        plain.top_mass,
    ),
    "positive": (
        Region("plus", lambda s: s.lepton.ch > 0, uses={"lepton.ch"}, **HT),
        lambda e: e.lepton["ch"] > 0,
        ht,
    ),
    "negative": (
        Region("minus", lambda s: s.lepton.charge < 0, uses={"lepton.charge"}, **HT),
        lambda e: e.lepton["ch"] < 0,
        ht,
    ),
    "no tag": (
        Region("4j0b", (lambda s: s.n_jets >= 4, lambda s: s.n_btags == 0), **HT),
        lambda e: len(e.jets) >= 4 and not e.tagged,
        ht,
    ),
    "three jets": (
        Region("3j", lambda s: s.n_jets >= 3, binning=Binning(bins=11, low=90, high=640), **HT),
        lambda e: len(e.jets) >= 3,
        ht,
    ),
    "lepton and b": (
        Region(
            "mlb",
            lambda s: s.n_btags >= 1,
            lambda s: s.each(lambda e: (e.lepton + ak.firsts(e.jets[e.jets.btagged])).mass),
            uses={"lepton.phi"},
            binning=Binning(bins=20, low=0, high=400),
        ),
        lambda e: bool(e.tagged),
        lambda e: mass(e.lepton, e.tagged[0]),
    ),
    "nearest jet": (
        Region(
            "delta_r",
            lambda s: s.n_jets >= 1,
            lambda s: s.each(lambda e: ak.min(e.jets.deltaR(e.lepton), axis=1)),
            uses={"lepton.phi"},
            binning=Binning(bins=20, low=0, high=5),
        ),
        lambda e: bool(e.jets),
        lambda e: min(delta_r(jet, e.lepton) for jet in e.jets),
    ),
    "dijet mass": (
        Region(
            "mjj",
            lambda s: s.n_jets >= 2,
            lambda s: s.each(lambda e: (e.jets[:, 0] + e.jets[:, 1]).mass),
            binning=Binning(bins=20, low=0, high=400),
        ),
        lambda e: len(e.jets) >= 2,
        lambda e: mass(*e.jets[:2]),
    ),
    "transverse mass": (
        Region(
            "mt",
            lambda s: s.transverse_mass > 40,
            lambda s: s.lepton.pt,
            uses={"lepton.phi", "met.pt", "met.phi"},
        ),
        lambda e: (
            math.sqrt(
                2 * e.lepton["pt"] * e.met["pt"] * (1 - math.cos(e.lepton["phi"] - e.met["phi"]))
            )
            > 40
        ),
        lambda e: e.lepton["pt"],
    ),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in ("met", "lepton and b") else [pytest.mark.full])
        for name in REGIONS
    ],
)
def test_a_region_of_any_quantity(path: Path, events: list[Event], name: str) -> None:
    region, where, value = REGIONS[name]
    common = {"region": region.name, "process": "ttbar"}
    histogram = filled(path, region)
    assert_filled(histogram, of(events, where, value), variation="nominal", **common)
    up = selected(path, jet=lambda row: row["corrptUp"])
    assert_filled(histogram, of(up, where, value), variation="pt_scale_up", **common)


ANY_JETS = Region(
    "2j", lambda s: s.n_jets >= 2, lambda s: s.each(lambda e: ak.sum(e.jets.mass, axis=1))
)
"""Takes the masses, so that it tells whether they scale."""


def summed_mass(event: Event) -> float:
    return sum(jet["mass"] for jet in event.jets)


SHIFTS: dict[str, tuple[Shift, dict[str, dict[str, Any]]]] = {
    "columns": (
        Shift("smear", up="corrptSmearUp", down="corrptSmearDown"),
        {
            "smear_up": {"jet": lambda row: row["corrptSmearUp"]},
            "smear_down": {"jet": lambda row: row["corrptSmearDown"]},
        },
    ),
    "function": (
        Shift("flavour", up=lambda j: j.pt * (1 + 0.1 * (j.hflav == 5)), uses={"jet.hflav"}),
        {"flavour_up": {"jet": lambda row: row["corrpt"] * (1 + 0.1 * (row["hflav"] == 5))}},
    ),
    "constant mass": (
        Shift("forward", down=lambda j: j.pt - 5 * (abs(j.eta) > 1), mass_scales=False),
        {
            "forward_down": {
                "jet": lambda row: row["corrpt"] - 5 * (abs(row["eta"]) > 1),
                "mass_scales": False,
            }
        },
    ),
    "electron": (
        Shift("ele", up=lambda e: 1.1 * e.pt, down=lambda e: 0.9 * e.pt, of="electron"),
        {
            "ele_up": {"electron": lambda row: 1.1 * row["pt"]},
            "ele_down": {"electron": lambda row: 0.9 * row["pt"]},
        },
    ),
    "muon": (
        Shift("mu", down=lambda m: m.pt - m.dxy, of="muon", uses={"muon.dxy"}),
        {"mu_down": {"muon": lambda row: row["pt"] - row["dxy"]}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SHIFTS)
def test_a_shift_of_objects(path: Path, name: str) -> None:
    shift, varied = SHIFTS[name]
    histogram = filled(path, ANY_JETS, shifts=[shift], weights=[])
    assert list(histogram.axes["variation"]) == ["nominal", *varied]
    for variation, options in varied.items():
        want = of(selected(path, **options), lambda e: len(e.jets) >= 2, summed_mass)
        common = {"region": "2j", "process": "ttbar", "variation": variation}
        assert_filled(histogram, want, **common)


def test_a_shift_of_the_missing_momentum(path: Path) -> None:
    region = Region("met", lambda s: s.met.pt > 60, lambda s: s.met.pt, uses={"met.pt"})
    shift = Shift("met", up=lambda m: m.pt + 10, down="rawpt", of="met")
    histogram = filled(path, region, shifts=[shift], weights=[])
    nominal, up = (
        histogram[{"region": "met", "process": "ttbar", "variation": name}] for name in ("nominal", "met_up")
    )  # fmt: skip
    want = of(selected(path), lambda e: e.met["pt"] > 60, lambda e: e.met["pt"])
    assert_filled(histogram, want, region="met", process="ttbar", variation="nominal")
    shifted = selected(path, met=lambda row: row["pt"] + 10)
    want = of(shifted, lambda e: e.met["pt"] > 60, lambda e: e.met["pt"])
    assert_filled(histogram, want, region="met", process="ttbar", variation="met_up")
    assert up.sum(flow=True).value > nominal.sum(flow=True).value


def test_shifts_of_jets_and_leptons_together(path: Path) -> None:
    """In whichever order they are given: each is under its own name."""
    electron, jet = SHIFTS["electron"][0], SHIFTS["columns"][0]
    both = filled(path, ANY_JETS, shifts=[electron, jet], weights=[])
    for shift in (electron, jet):
        alone = filled(path, ANY_JETS, shifts=[shift], weights=[])
        for name in alone.axes["variation"]:
            assert both[{"variation": name}] == alone[{"variation": name}], name


def test_a_weight_multiplies_and_varies(path: Path, events: list[Event]) -> None:
    region = Region("3j", lambda s: s.n_jets >= 3, lambda s: s.ht)
    column = Weight(
        "column",
        nominal=lambda s: s.column("btag.Weight"),
        up=lambda s: 1 + 0.5 * s.column("btag.Weight"),
        uses={"btag.Weight"},
    )
    lepton = Weight("lepton", up=lambda s: 1 + s.lepton.pt / 100, down=lambda _: 0.5)
    histogram = filled(path, region, shifts=[], weights=[lepton], corrections=[column])
    assert list(histogram.axes["variation"]) == ["nominal", "lepton_up", "lepton_down", "column_up"]

    def btag(event: Event) -> float:
        return event.flat["btag_Weight"]

    weights = {
        "nominal": btag,
        "column_up": lambda e: 1 + 0.5 * btag(e),
        "lepton_up": lambda e: btag(e) * (1 + e.lepton["pt"] / 100),
        "lepton_down": lambda e: btag(e) * 0.5,
    }
    for name, weight in weights.items():
        want = of(events, lambda e: len(e.jets) >= 3, ht, weight)
        assert_filled(histogram, want, region="3j", process="ttbar", variation=name)


def test_a_weight_of_some_processes(path: Path) -> None:
    weight = Weight("some", up=lambda _: 2.0, nominal=lambda _: 3.0, processes={"wjets"})
    analysis = TtbarAnalysis(regions=[ANY_JETS], shifts=[], weights=[weight])
    plain_ttbar = process(TtbarAnalysis(regions=[ANY_JETS], shifts=[], weights=[]), path)
    ttbar = process(analysis, path)["observable"]
    assert ttbar == plain_ttbar["observable"]
    wjets = process(analysis, path, process="wjets")["observable"]
    n = ttbar.sum(flow=True).value
    assert wjets[{"variation": "nominal"}].sum(flow=True).value == 3 * n
    assert wjets[{"variation": "some_up"}].sum(flow=True).value == 2 * n


def test_alternative_samples_and_data_have_no_variation(path: Path) -> None:
    correction = Weight("half", nominal=lambda _: 0.5, up=lambda _: 1.0)
    analysis = TtbarAnalysis(corrections=[correction], shifts=[SHIFTS["electron"][0]])
    n = process(TtbarAnalysis(), path)["observable"][{"variation": "nominal"}].sum(flow=True).value
    scaled = process(analysis, path, variation="scaleup")["observable"]
    assert list(scaled.axes["variation"]) == ["scaleup"]
    assert scaled.sum(flow=True).value == n / 2  # the nominal factor is of every simulation
    data = process(analysis, path, process="data")["observable"]
    assert list(data.axes["variation"]) == ["nominal"]
    fired = process(TtbarAnalysis(), path, process="data")["observable"]
    assert data.sum(flow=True).value == fired.sum(flow=True).value < n


def test_a_control_plot_of_events_and_one_of_jets(path: Path, events: list[Event]) -> None:
    binning = Binning(bins=20, low=0, high=200)
    met = Control("my_met", lambda s: s.met.pt, binning, r"MET [GeV]", uses={"met.pt"})
    tagged = Control(
        "b_pt",
        lambda s: s.jets.awkward().pt[s.jets.awkward().btagged],
        binning,
        where=lambda s: s.n_btags >= 2,
    )
    output = process(TtbarAnalysis(controls=[met, tagged]), path)["control"]
    assert list(output) == ["my_met", "b_pt"]
    assert output["my_met"].axes["value"].label == "MET [GeV]"
    want = of(events, lambda e: len(e.jets) >= 4, lambda e: e.met["pt"])
    assert_filled(output["my_met"], want, process="ttbar")
    jets = ((e.channel, jet["pt"], 1) for e in events if len(e.tagged) >= 2 for jet in e.tagged)
    assert_filled(output["b_pt"], jets, process="ttbar")


def test_a_channel_of_some_leptons(path: Path, events: list[Event]) -> None:
    central, forward = (
        Channel(name, "muon", ("IsoMu20",), where=where)
        for name, where in (
            ("mu_central", lambda lepton: abs(lepton.eta) < 1.2),
            ("mu_forward", lambda lepton: abs(lepton.eta) >= 1.2),
        )
    )
    region = Region("3j", lambda s: s.n_jets >= 3, lambda s: s.ht)
    analysis = TtbarAnalysis(channels=[central, forward], regions=[region], shifts=[], weights=[])
    histogram = process(analysis, path)["observable"][{"variation": "nominal", "process": "ttbar"}]
    data = process(analysis, path, process="data")["observable"]
    for channel, is_in in (("mu_central", lambda e: e < 1.2), ("mu_forward", lambda e: e >= 1.2)):
        chosen = [
            event
            for event in events
            if event.channel == "muon" and is_in(abs(event.lepton["eta"])) and len(event.jets) >= 3
        ]
        assert histogram[{"channel": channel}].sum(flow=True).value == len(chosen) > 20
        fired = sum(event.flat["trig_IsoMu20"] != 0 for event in chosen)
        assert data[{"channel": channel}].sum(flow=True).value == fired < len(chosen)


def test_the_stream_of_a_channel_provides_its_events(path: Path) -> None:
    odd = Channel("odd", "electron", ("IsoMu20",), stream="muon")
    analysis = TtbarAnalysis(channels=[odd], regions=[ANY_JETS])
    streams = {
        name: process(analysis, path, process="data", channel=name)["observable"].sum(flow=True).value
        for name in ("electron", "muon")
    }  # fmt: skip
    assert streams["electron"] == 0 < streams["muon"]


def test_a_channel_without_triggers_asks_for_none(path: Path, events: list[Event]) -> None:
    analysis = TtbarAnalysis(channels=[Channel("e", "electron", ())], regions=[ANY_JETS])
    n = sum(event.channel == "electron" and len(event.jets) >= 2 for event in events)
    assert process(analysis, path, process="data")["observable"].sum(flow=True).value == n


def test_events_in_two_regions_are_counted(path: Path, events: list[Event]) -> None:
    three = Region("3j", lambda s: s.n_jets >= 3, lambda s: s.ht)
    output = process(TtbarAnalysis().adding(regions=[three]), path)
    tags = [len(event.tagged) for event in events if len(event.jets) >= 4]
    assert output["overlaps"] == {
        "4j1b": {"3j": tags.count(1)},
        "4j2b": {"3j": sum(n >= 2 for n in tags)},
    }
    described = TtbarAnalysis().adding(regions=[three]).description({"a": output, "b": output})
    assert described["overlaps"]["4j1b"]["3j"] == 2 * tags.count(1)


def test_values_that_are_no_number_are_counted(path: Path, events: list[Event]) -> None:
    """A top candidate needs a tag: without one its mass is NaN."""
    no_tag = Region("4j0b", lambda s: (s.n_jets >= 4) & (s.n_btags == 0), lambda s: s.top_mass)
    control = Control("top", lambda s: s.top_mass, Binning(bins=5, low=0, high=500))
    analysis = TtbarAnalysis(regions=[no_tag], controls=[control])
    output = process(analysis, path)
    n = sum(len(event.jets) >= 4 and not event.tagged for event in events)
    assert output["not_a_number"] == {"4j0b": n, "top": n}
    assert analysis.description({"set": output})["not_a_number"] == {"4j0b": n, "top": n}
    assert process(TtbarAnalysis(), path)["not_a_number"] == {}


def test_electrons_of_a_shift_change_their_channel(path: Path) -> None:
    """Above the cut of 30 GeV there are more good electrons, so events with two leptons go."""
    up = {event.channel for event in selected(path, electron=lambda row: single(2 * row["pt"]))}
    assert up == {"electron", "muon"}
    region = Region("any", lambda s: s.n_jets >= 0, lambda s: s.lepton.pt)
    shift = Shift("double", up=lambda e: 2 * e.pt, of="electron")
    histogram = filled(path, region, shifts=[shift], weights=[])
    want = of(
        selected(path, electron=lambda row: 2 * row["pt"]), lambda _: True, lambda e: e.lepton["pt"]
    )
    assert_filled(histogram, want, region="any", process="ttbar", variation="double_up")


def test_the_configuration_reaches_every_function(path: Path, events: list[Event]) -> None:
    analysis = TtbarAnalysis(regions=[ANY_JETS]).with_config(
        TtbarAnalysis().config.model_copy(update={"jet": {"btag_threshold": 0.5}})
    )
    booked = process(analysis, path)["control"]["n_btags"].project("value").values(flow=True)
    tags = [sum(jet["btag"] >= 0.5 for jet in e.jets) for e in events if len(e.jets) >= 4]
    want = np.bincount(np.minimum(tags, 6), minlength=7)
    np.testing.assert_array_equal(booked, [0, *want])


def test_events_that_a_shift_of_leptons_adds_have_the_weight_of_its_leptons(
    path: Path, events: list[Event]
) -> None:
    region = Region("any", lambda s: s.n_jets >= 0, lambda s: s.ht)
    shift = Shift("harder", up=lambda m: 1.25 * m.pt, of="muon")
    by_pt = Weight("by_pt", nominal=lambda s: 30 / np.where(s.lepton.pt > 0, s.lepton.pt, np.nan))
    histogram = filled(path, region, shifts=[shift], weights=[], corrections=[by_pt])
    shifted = list(selected(path, muon=lambda row: 1.25 * row["pt"]))
    unshifted = {event.flat["met_pt"]: event.lepton["pt"] for event in events}
    added = [event for event in shifted if event.flat["met_pt"] not in unshifted]
    assert len(added) > 10

    def weight(event: Event) -> float:
        return 30 / unshifted.get(event.flat["met_pt"], event.lepton["pt"])

    want = of(shifted, lambda _: True, ht, weight)
    assert_filled(histogram, want, region="any", process="ttbar", variation="harder_up")


def test_a_channel_of_an_electron_and_a_muon(tmp_path: Path) -> None:
    """Jets are cleaned of both, the lepton is the muon, and a table of electrons is read at the electron."""
    event: dict[str, Any] = make_events(1, seed=0)
    event |= {name: [[]] for name in event if name.startswith(("electron_", "muon_", "jet_"))}
    for lepton, pt, eta in (("electron", 40.0, 0.5), ("muon", 50.0, -0.5)):
        event |= {f"{lepton}_pt": [[pt]], f"{lepton}_eta": [[eta]], f"{lepton}_phi": [[3.1]]}
        event |= {f"{lepton}_isTight": [[1]], f"{lepton}_sip3d": [[1.0]]}
    event |= {"muon_pfreliso04DBCorr": [[0.1]], "jet_btag": [[0.1, 0.9, 0.9]]}
    event |= {"jet_eta": [[0.5, -0.5, 2.0]], "jet_phi": [[-3.1, 3.1, 0.0]]}
    event |= {name: [[60.0, 50.0, 40.0]] for name in event if name.startswith("jet_corr")}
    seen: list[Any] = []

    def two_leptons(s: Any) -> Any:
        seen[:] = [s.jets.leading_pt(2)[:, 0, 0], s.lepton.pt, s.lepton.mass]
        seen.extend(Source(None, f"{name}.pt").of_events(s) for name in ("electron", "muon"))
        return s.n_jets > 0

    emu = Channel("emu", ("electron", "muon"), ("IsoMu20",))
    config = TtbarAnalysis().config.model_copy(update={"jet": {"min_lepton_delta_r": 0.4}})
    analysis = TtbarAnalysis(
        channels=[emu], regions=[Region("any", two_leptons, lambda s: s.ht)], shifts=[], weights=[]
    )
    process(analysis.with_config(config), write(tmp_path / "a.root", event))
    want = [[40, 0], [50], [plain.MASS["muon"]], [40], [50]]
    for got, value in zip(seen, want, strict=True):
        np.testing.assert_allclose(got, value)


def test_none_of_awkward_is_no_number_and_not_in_a_mask(path: Path, events: list[Event]) -> None:
    def third(s: Any) -> Any:
        return ak.firsts(s.jets.values("pt")[:, 2:])

    third_jet = Control("pt", third, PT, where=lambda s: s.n_jets >= 0)
    hard = Control("hard", lambda s: s.ht, PT, where=lambda s: third(s) > 50)
    found = process(TtbarAnalysis(controls=[third_jet, hard]), path)
    assert found["not_a_number"]["pt"] == sum(len(event.jets) < 3 for event in events)
    few = [event for event in events if len(event.jets) >= 3 and event.jets[2]["pt"] > 50]
    assert found["control"]["hard"].sum(flow=True).value == len(few) > 10
