"""The detector response against values worked out by hand."""

from __future__ import annotations

import math

import awkward as ak
import numpy as np
import pytest

from analysis.common.errors import SimulationError
from analysis.simulation import layout, response
from analysis.simulation.config import BTagConfig, DetectorConfig, JetConfig, detector_with
from analysis.simulation.particles import TruthEvents

JET = JetConfig(noise=3.0, stochastic=0.8, constant=0.04)


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def truth_jets(count: int, flavour: int, pt: float = 50.0, lepton_fraction: float = 0.0):
    """`count` events of one jet each and nothing else."""
    one = np.ones(count)
    jets = {
        "pt": pt * one,
        "eta": 0.4 * one,
        "phi": 0.0 * one,
        "mass": 5.0 * one,
        "flavour": np.full(count, flavour),
        "lepton_fraction": lepton_fraction * one,
    }
    empty = {name: ak.Array([[]])[:, :0] for name in ("pt", "eta", "phi")}
    names = ("pt", "eta", "phi", "mass", "softdropmass", "tau1", "tau2", "tau3")
    no_fat_jets = {name: ak.unflatten(np.zeros(0), np.zeros(count, int)) for name in names}
    return TruthEvents(
        leptons=ak.zip(empty),
        jets=ak.zip({name: ak.unflatten(value, 1) for name, value in jets.items()}),
        fat_jets=ak.zip(no_fat_jets),
        neutrino_px=10.0 * one,
        neutrino_py=0.0 * one,
        sum_et=100.0 * one,
    )


def test_jet_resolution_adds_three_terms_in_quadrature():
    # pT = 100: N/pT = 0.03, S/sqrt(pT) = 0.08, C = 0.04.
    assert response.jet_resolution(100.0, JET) == pytest.approx(math.sqrt(0.0089))


def test_correction_factor_is_linear_between_its_points():
    config = JetConfig(
        raw_correction_eta=(0.0, 1.0), raw_correction=(0.1, 0.2), raw_correction_low=0.0
    )
    assert response.raw_to_corrected(50.0, -0.5, config) == pytest.approx(1.15)


def test_trigger_is_half_its_plateau_at_the_threshold():
    assert response.turn_on(22.0, 22.0, 1.5, 0.9) == pytest.approx(0.45)
    assert response.turn_on(1e4, 22.0, 1.5, 0.9) == pytest.approx(0.9)


@pytest.mark.parametrize("flavour", [0, 4, 5])
def test_discriminator_gives_the_efficiency_it_is_made_for(flavour):
    n = 200_000
    config = BTagConfig()
    d = response.discriminator(rng().random(n), np.full(n, flavour), np.full(n, 60.0), config)
    expected = float(response.tag_efficiency(flavour, 60.0, config))
    assert np.mean(d >= 0.8) == pytest.approx(expected, abs=4 * math.sqrt(expected / n))
    assert np.all((d == -10) | ((d >= 0) & (d <= 1)))


def test_jets_have_the_scale_and_width_of_the_configuration():
    config = detector_with(["jet.scale=1.02", "jet.noise=0", "jet.stochastic=0"])
    jets, _, _ = response.jets(truth_jets(20_000, 0, pt=80.0), rng(), config)
    ratio = ak.to_numpy(ak.flatten(jets.corrpt)) / 80.0
    assert ratio.mean() == pytest.approx(1.02, abs=0.001)
    assert ratio.std() == pytest.approx(1.02 * 0.04, rel=0.03)


def test_a_lepton_in_a_jet_is_measured_in_full_and_corrected_on_top():
    config = DetectorConfig()
    jets, _, _ = response.jets(truth_jets(10, 0, lepton_fraction=1.0), rng(), config)
    raw = 50.0 * config.jet.lepton_raw_response
    factor = response.raw_to_corrected(50.0, 0.4, config.jet)
    np.testing.assert_allclose(ak.flatten(jets.pt), raw)
    np.testing.assert_allclose(ak.flatten(jets.corrpt), raw * factor)


def test_scale_variations_are_symmetric_and_smearing_widens():
    jets, _, _ = response.jets(truth_jets(5000, 5), rng(), DetectorConfig())
    flat = jets[ak.num(jets) == 1][:, 0]
    np.testing.assert_allclose(flat.corrptUp + flat.corrptDown, 2 * flat.corrpt)
    assert np.std(flat.corrptSmearUp) > np.std(flat.corrpt) > np.std(flat.corrptSmearDown)


def test_tag_weight_of_one_jet_by_hand():
    jet = ak.Array([[{"corrpt": 60.0, "eta": 0.0, "hflav": 5, "btag": tag}] for tag in (0.9, 0.1)])
    config = BTagConfig()
    weights = response.tag_weights(jet, config)
    e = float(response.tag_efficiency(5, 60.0, config))
    np.testing.assert_array_equal(weights["btag_Weight"], 1.0)
    np.testing.assert_allclose(weights["btag_WeightUp"], [1.03, (1 - 1.03 * e) / (1 - e)])
    np.testing.assert_allclose(weights["btag_WeightDn"], [0.97, (1 - 0.97 * e) / (1 - e)])


def test_tag_weights_average_to_one():
    """What the scale factor adds to the tagged jets it takes from the others."""
    jets, _, _ = response.jets(truth_jets(100_000, 5, pt=60.0), rng(), DetectorConfig())
    weights = response.tag_weights(jets, BTagConfig())
    assert weights["btag_WeightUp"].mean() == pytest.approx(1.0, abs=0.001)


def test_met_is_the_neutrinos_where_nothing_is_mismeasured():
    config = detector_with(["met.noise=0", "met.stochastic=0"])
    no_shift = (np.zeros(3), np.zeros(3))
    met = response.met(truth_jets(3, 0), no_shift, rng(), config)
    np.testing.assert_allclose(met["met_pt"], 10.0)
    np.testing.assert_allclose(met["met_phi"], 0.0)


def test_preselection_needs_trigger_and_tight_lepton():
    def leptons(rows):
        return ak.Array([[{"pt": pt, "eta": 0.0, "isTight": tight}] for pt, tight in rows])

    electron = leptons([(30.0, True), (30.0, False), (20.0, True), (30.0, True)])
    muon = leptons([(1.0, False)] * 4)
    bits = {"trig": np.array([True, True, True, False])}
    kept = response.preselected(electron, muon, bits, DetectorConfig())
    assert kept.tolist() == [True, False, False, False]


def test_mantissa_truncation_keeps_the_precision_asked_for():
    values = rng().uniform(1, 500, 10_000).astype(np.float32)
    short = layout.truncate_mantissa(values, 10)
    assert np.max(np.abs(short / values - 1)) <= 2**-11
    assert np.all(short.view(np.uint32) & 0x1FFF == 0)
    assert layout.truncate_mantissa(np.float32([-10.0, 0.0, np.inf]), 4).tolist() == [
        -10.0,
        0.0,
        np.inf,
    ]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("jet.scal=1.0", "did you mean 'jet.scale'"),
        ("jet.scale", "has no value: expected jet.scale=NUMBER"),
        ("jet.scale=abc", "not a number"),
        ("jet.scale=-1", "jet.scale"),
    ],
)
def test_a_wrong_setting_is_named(setting, said):
    with pytest.raises(SimulationError, match=said):
        detector_with([setting])
