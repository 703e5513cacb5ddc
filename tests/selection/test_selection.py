"""What the functions of an analysis are given: hand-computed values, and the same in awkward."""

from __future__ import annotations

import math
from typing import Any

import awkward as ak
import numpy as np
import pytest

from analysis.common.errors import DefinitionError
from analysis.selection.objects import Flat
from analysis.selection.selection import Selection
from analysis.selection.variations import Objects
from tests.ntuples import make_events, write
from tests.selection.plain import seen_by_a_function

EVERY = ("lepton.phi", "lepton.charge", "met.pt", "met.phi", "PV.npvs", "btag.Weight", "jet.hflav")
SHIFTS = ("nominal", "pt_scale_up", "pt_scale_down", "pt_res_up", "pt_res_down")


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Selection:
    """An electron with three good jets and a soft one, a muon with one good jet, and no lepton.

    The jets of the first event: 100, 80, 60 GeV along x, y, -x, massless, at η = 0; the first is tagged.
    """
    events = make_events(3, seed=0)
    events |= {n: [[], [], []] for n in events if n.startswith(("electron_", "muon_", "jet_"))}
    events |= {
        "electron_pt": [[50.0], [], []], "electron_eta": [[0.5], [], []], "electron_phi": [[0.0], [], []],
        "electron_isTight": [[1], [], []], "electron_sip3d": [[1.0], [], []], "electron_ch": [[-1], [], []],
        "muon_pt": [[], [40.0], []], "muon_eta": [[], [-1.0], []], "muon_phi": [[], [1.0], []],
        "muon_isTight": [[], [1], []], "muon_sip3d": [[], [1.0], []], "muon_ch": [[], [1], []],
        "muon_pfreliso04DBCorr": [[], [0.1], []],
        "jet_corrpt": [[100.0, 80, 60, 20], [35.0], [90.0]], "jet_eta": [[0, 0, 0, 0], [1.5], [0.0]],
        "jet_phi": [[0, math.pi / 2, math.pi, 1], [2.0], [0.0]],
        "jet_corrmass": [[0, 0, 0, 4], [8.0], [5.0]],
        "jet_btag": [[0.9, 0.1, 0.2, 0.95], [0.8], [0.9]], "jet_hflav": [[5, 4, 0, 5], [5], [0]],
        "jet_corrptUp": [[110.0, 80, 60, 31], [70.0], [90.0]],
        "jet_corrptDown": [[90.0, 29, 60, 10], [25.0], [90.0]],
        "jet_corrptSmearUp": [[100.0, 80, 60, 20], [35.0], [90.0]],
        "jet_corrptSmearDown": [[100.0, 80, 60, 20], [35.0], [90.0]],
        "met_pt": [30.0, 60, 10], "met_phi": [math.pi, 1.0, 0], "PV_npvs": [12, 20, 5],
        "btag_Weight": [0.9, 1.1, 1.0],
    }  # fmt: skip
    path = write(tmp_path_factory.mktemp("by_hand") / "a.root", events)
    return seen_by_a_function(path, EVERY)


@pytest.fixture(scope="module")
def random(tmp_path_factory: pytest.TempPathFactory) -> Selection:
    path = write(tmp_path_factory.mktemp("random") / "a.root", make_events(1500, seed=3))
    return seen_by_a_function(path, EVERY)


def test_wanted_are_the_events_with_one_good_lepton(by_hand: Selection) -> None:
    """The third has none, and is not there."""
    assert by_hand.shape == (5, 2)
    assert by_hand.rows.tolist() == [0, 1]
    assert by_hand.wanted.all()


def test_counts_and_sums_of_jets_by_shift(by_hand: Selection) -> None:
    nominal, up, down = ([row, *rest] for row, *rest in by_hand.n_jets[:3, :2].tolist())
    assert (nominal, up, down) == ([3, 1], [4, 1], [2, 0])
    assert by_hand.n_btags[:3, :2].tolist() == [[1, 1], [2, 1], [1, 0]]
    assert by_hand.ht[:3, :2].tolist() == [[240, 35], [281, 70], [150, 0]]
    assert by_hand.enough_jets[:3, 0].tolist() == [False, True, False]


def test_leading_jets(by_hand: Selection) -> None:
    leading = by_hand.jets.leading_pt(4)
    assert leading.shape == (4, 5, 2)
    assert leading[:, 0, 0].tolist() == [100, 80, 60, 0]
    assert leading[:, 1, 0].tolist() == [110, 80, 60, 31]
    assert leading[:, 1, 1].tolist() == [70, 0, 0, 0]


def test_top_mass(by_hand: Selection) -> None:
    """Unshifted, E = 240 and p = (40, 80). Up, the fourth jet is good: 31 GeV at φ = 1, m = 4 × 31 / 20."""
    assert by_hand.top_mass[0, 0] == pytest.approx(math.sqrt(240**2 - 40**2 - 80**2), rel=1e-6)
    energy = 110 + 80 + math.hypot(31, 6.2)
    x, y = 110 + 31 * math.cos(1), 80 + 31 * math.sin(1)
    assert by_hand.top_mass[1, 0] == pytest.approx(math.sqrt(energy**2 - x**2 - y**2), rel=1e-6)
    assert by_hand.top_mass[3, 0] == by_hand.top_mass[0, 0]
    assert np.isnan(by_hand.top_mass[[0, 2], [1, 0]]).all()


def test_lepton_of_either_flavour(by_hand: Selection) -> None:
    lepton = by_hand.lepton
    assert lepton.pt[:2].tolist() == [50, 40]
    assert lepton.eta[:2].tolist() == [0.5, -1]
    assert lepton.charge[:2].tolist() == [-1, 1]
    assert lepton.is_electron[:2].tolist() == [True, False]
    assert lepton.is_muon[:2].tolist() == [False, True]
    assert lepton.mass[:2].tolist() == [0.00051099895, 0.1056583755]
    # Declared for muons only, by the selection.
    isolation = lepton.pfreliso04DBCorr
    assert math.isnan(isolation[0])
    assert isolation[1] == pytest.approx(0.1)


def test_missing_momentum_and_transverse_mass(by_hand: Selection) -> None:
    """Back to back: 2 √(pT pTmiss); in the same direction: 0."""
    assert by_hand.met.pt[:2].tolist() == [30, 60]
    assert by_hand.met.phi[:2] == pytest.approx([math.pi, 1.0])
    assert by_hand.transverse_mass[:2] == pytest.approx([2 * math.sqrt(50 * 30), 0], abs=1e-3)


def test_vertices_and_columns(by_hand: Selection) -> None:
    assert by_hand.n_vertices[:2].tolist() == [12, 20]
    assert by_hand.column("btag.Weight")[:2] == pytest.approx([0.9, 1.1])
    assert by_hand.column("jet.hflav").tolist()[0] == [5, 4, 0, 5]


def test_no_function_can_change_what_the_others_get(by_hand: Selection) -> None:
    flat = Flat(ak.Array([[{"pt": 50.0}], []]))
    for given in (
        by_hand.met.pt, by_hand.n_vertices, by_hand.wanted, by_hand.n_jets, by_hand.n_btags, by_hand.ht,
        by_hand.top_mass, by_hand.jets.leading_pt(1), Objects(flat, {"jet.pt"}, "jet").pt,
    ):  # fmt: skip
        with pytest.raises(ValueError, match="read-only"):
            np.add(given, given, out=given)
    assert flat["pt"].tolist() == [50]


def test_values_of_good_jets(by_hand: Selection) -> None:
    jets = by_hand.jets
    assert jets.values("pt").tolist() == [[100, 80, 60], [35]]
    assert jets.values("pt", shift=2).tolist() == [[90, 60], []]
    assert jets.values("hflav", shift=1).tolist() == [[5, 4, 0, 5], [5]]
    assert jets.values("btagged").tolist() == [[True, False, False], [True]]
    assert jets.values("mass", shift=1)[1, 0] == 16  # scales with the momentum


def test_awkward_jets_have_the_declared_fields(by_hand: Selection) -> None:
    jets = by_hand.jets.awkward()
    assert {"pt", "eta", "phi", "mass", "btag", "btagged", "hflav"} <= set(jets.fields)
    assert jets[0, 0].deltaR(jets[0, 1]) == pytest.approx(math.pi / 2)
    assert (jets[0, 0] + jets[0, 1]).mass == pytest.approx(math.sqrt(180**2 - 100**2 - 80**2))


def test_each_gives_the_wanted_events_only(by_hand: Selection) -> None:
    first = by_hand.within(np.array([[True, False]] * 5))
    got = first.each(lambda event: ak.num(event.jets))
    assert got[:, 0].tolist() == by_hand.n_jets[:, 0].tolist()
    assert np.isnan(got[:, 1]).all()
    momenta = by_hand.each(lambda event: (event.lepton + ak.firsts(event.jets)).pt)
    assert momenta[0, 0] == pytest.approx(150)
    assert math.isnan(momenta[2, 1])  # None in awkward: it has no jet under that shift
    met = by_hand.each(lambda event: event.met.px)
    assert met[0, :2] == pytest.approx([-30, 60 * math.cos(1)])


@pytest.mark.parametrize("shift", range(5), ids=SHIFTS)
def test_awkward_jets_give_what_the_kernels_give(random: Selection, shift: int) -> None:
    jets = random.jets.awkward(shift)
    wanted = random.wanted[shift]
    assert wanted.sum() > 300
    want: dict[str, Any] = {
        "n_jets": ak.num(jets),
        "n_btags": ak.sum(jets.btagged, axis=1),
        "ht": ak.sum(jets.pt, axis=1),
    }
    for name, values in want.items():
        np.testing.assert_allclose(getattr(random, name)[shift][wanted], values[wanted], rtol=1e-12)
    leading = ak.fill_none(ak.pad_none(ak.sort(jets.pt, ascending=False), 4, clip=True), 0.0)
    np.testing.assert_array_equal(random.jets.leading_pt(4)[:, shift], ak.to_numpy(leading).T)
    three = ak.combinations(jets, 3, fields=["a", "b", "c"])
    three = three[three.a.btagged | three.b.btagged | three.c.btagged]
    total = three.a + three.b + three.c
    hardest = ak.argmax(total.pt, axis=1, keepdims=True)
    masses = ak.fill_none(ak.firsts(total.mass[hardest]), np.nan)
    np.testing.assert_allclose(random.top_mass[shift], ak.to_numpy(masses), rtol=1e-6, atol=1e-3)


def test_each_gives_what_the_kernels_give(random: Selection) -> None:
    np.testing.assert_allclose(
        random.each(lambda event: ak.sum(event.jets.pt, axis=1))[random.wanted],
        random.ht[random.wanted],
        rtol=1e-12,
    )


def test_quantities_broadcast_over_shifts(random: Selection) -> None:
    mask = (random.n_jets >= 4) & (random.met.pt > 50) & random.lepton.is_muon
    assert mask.shape == random.shape
    assert random.lepton.pt.shape == random.transverse_mass.shape == (random.shape[1],)


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda s: s.n_jet, "no 'n_jet': did you mean 'n_jets'"),
        (lambda s: s.jets.leading(2), "no 'leading': did you mean 'leading_pt'"),
        (lambda s: s.each(lambda event: event.jet), "no 'jet': did you mean 'jets'"),
    ],
)
def test_a_misspelt_quantity_is_told_with_the_nearest(
    by_hand: Selection, read: Any, said: str
) -> None:
    with pytest.raises(AttributeError, match=said):
        read(by_hand)


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda s: s.met.significance, "met.significance is read and not declared"),
        (lambda s: s.lepton.dxy, r"lepton.dxy is .* add uses=\{'lepton.dxy'\}"),
        (lambda s: s.lepton.chage, "or did you mean 'lepton.charge'"),
        (lambda s: s.jets.values("raw_pt"), "jet.raw_pt is"),
        (lambda s: s.column("photon.pt"), "photon.pt is"),
    ],
)
def test_a_column_that_is_not_declared_is_named(by_hand: Selection, read: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        read(by_hand)
