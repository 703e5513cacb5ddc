"""AK8 jets against values by hand."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest

pytest.importorskip("fastjet", reason="fastjet is not installed (extra 'simulate')")

from analysis.simulation import processes, production
from analysis.simulation.config import DetectorConfig, FatJetConfig
from analysis.simulation.fatjets import fat_jets
from analysis.simulation.production import Order
from analysis.simulation.response import raw_to_corrected


def massless(*directions: tuple[float, float]) -> list[dict[str, float]]:
    """Particles of (pT in GeV, azimuth) at pseudorapidity zero."""
    return [
        {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": 0.0, "E": pt}
        for pt, phi in directions
    ]


def test_two_prongs_keep_their_mass_and_lose_the_soft_particle() -> None:
    two_prongs = [(300.0, 0.0), (200.0, 0.4), (10.0, -0.5)]
    jets = fat_jets(ak.Array([massless(*two_prongs, (400.0, np.pi))]), FatJetConfig())[0]
    prongs = np.sqrt(2 * 300 * 200 * (1 - np.cos(0.4)))
    assert ak.to_list(ak.num(jets, axis=0)) == 2
    assert jets.softdropmass[0] == pytest.approx(prongs)
    assert jets.mass[0] > 1.05 * prongs
    assert jets.mass[1] == pytest.approx(0, abs=1e-3)
    # Two axes leave the soft particle only, three leave nothing: tau is pT x distance / (pT x R).
    assert jets.tau2[0] == pytest.approx(10 * 0.5 / (510 * 0.8), rel=1e-3)
    assert jets.tau3[0] == pytest.approx(0, abs=1e-6)
    assert jets.tau1[0] > 5 * jets.tau2[0]


def test_events_without_a_jet_are_empty() -> None:
    jets = fat_jets(ak.Array([massless((20.0, 1.0)), massless((30.0, 2.0))]), FatJetConfig())
    assert ak.to_list(ak.num(jets)) == [0, 0]
    assert set(jets.fields) == {"pt", "eta", "phi", "mass", "softdropmass", "tau1", "tau2", "tau3"}


@pytest.mark.full
@pytest.mark.usefixtures("generator")
def test_top_pairs_have_fat_jets_in_the_poet_layout() -> None:
    detector = DetectorConfig()
    order = Order(processes.BY_NAME["ttbar__nominal"], 1, 7, detector, block_events=150)
    columns, _ = production.make_block(order, 0)
    flat = {k: ak.to_numpy(ak.flatten(v)) for k, v in columns.items() if k.startswith("fatjet_")}
    assert len(flat["fatjet_pt"]) > 3
    assert (flat["fatjet_corrpt"] > detector.fat_jet.min_pt).all()
    assert flat["fatjet_corrpt"] == pytest.approx(
        flat["fatjet_corrmass"] / flat["fatjet_mass"] * flat["fatjet_pt"], rel=1e-5
    )
    factor = raw_to_corrected(flat["fatjet_corrpt"], flat["fatjet_eta"], detector.jet)
    assert flat["fatjet_corrpt"] / flat["fatjet_pt"] == pytest.approx(factor, rel=1e-5)
    assert (flat["fatjet_corrptUp"] > flat["fatjet_corrpt"]).all()
    assert (flat["fatjet_softdropmass"] < 1.001 * flat["fatjet_mass"]).all()
