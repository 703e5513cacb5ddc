"""Parametric detector response: what a detector makes of the truth columns.

Columnar, with random numbers from one generator in a fixed order: the same generator state gives
the same events. Every number comes from `config.DetectorConfig`. GeV, cm, radians.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from analysis.simulation.particles import ELECTRON, MUON, TruthEvents, delta_r

if TYPE_CHECKING:
    from numpy.random import Generator

    from analysis.simulation.config import (
        BTagConfig,
        DetectorConfig,
        ElectronConfig,
        JetConfig,
        MuonConfig,
        TriggerConfig,
    )

ELECTRON_MASS, MUON_MASS = 0.000511, 0.10566
NO_DISCRIMINATOR = -10.0
MUON_JET_RADIUS = 0.4
_Floats = NDArray[np.float64]
_Bools = NDArray[np.bool_]


def turn_on(pt: Any, threshold: float, width: float, plateau: float) -> Any:
    """Compute the efficiency of a trigger: a logistic curve in pT that reaches `plateau`."""
    return plateau * _logistic((pt - threshold) / width)


def _logistic(x: Any) -> Any:
    """Compute 1 / (1 + exp(-x)) without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * x))


def jet_resolution(pt: Any, config: JetConfig) -> Any:
    """Compute the relative pT resolution sqrt(N2/pT2 + S2/pT + C2)."""
    return np.sqrt((config.noise / pt) ** 2 + config.stochastic**2 / pt + config.constant**2)


def raw_to_corrected(pt: Any, eta: Any, config: JetConfig) -> Any:
    """Compute the correction factor corrpt/pt of a jet of corrected transverse momentum `pt`."""
    low = config.raw_correction_low * np.exp(-pt / config.raw_correction_decay)
    return 1 + np.interp(np.abs(eta), config.raw_correction_eta, config.raw_correction) + low


def scale_uncertainty(pt: Any, config: JetConfig) -> Any:
    """Compute the relative uncertainty of the jet energy scale."""
    return np.hypot(config.scale_uncertainty, config.scale_uncertainty_low / pt)


def tag_efficiency(flavour: Any, pt: Any, config: BTagConfig) -> Any:
    """Compute the probability that a jet of hadron flavour 0, 4 or 5 has a discriminator above 0.8."""
    low = 1 - config.low_pt_loss * np.exp(-pt / config.low_pt_decay)
    high = 1 - config.high_pt_loss * np.maximum(pt - config.high_pt_start, 0)
    heavy = low * np.clip(high, 0.3, None)
    return np.where(
        flavour == 5,
        config.b[1] * heavy,
        np.where(flavour == 4, config.c[1] * heavy, config.light[1]),
    )


def _curve(flavour: int, config: BTagConfig) -> tuple[_Floats, _Floats]:
    """List the points (d, P(discriminator > d)) of a flavour, d rising from 0 to 1."""
    points = {5: config.b, 4: config.c, 0: config.light}[flavour]
    no_track = config.no_track if flavour == 0 else config.no_track_heavy
    d, survival = [0.0], [1 - no_track]
    if flavour == 0:
        d.append(config.light_low[0])
        survival.append(config.light_low[1])
    d += [*config.working_points, 1.0]
    survival += [*points, 0.0]
    return np.array(d), np.array(survival)


def discriminator(uniform: _Floats, flavour: Any, pt: Any, config: BTagConfig) -> _Floats:
    """Draw a CSVv2-like value from a uniform number per jet: the inverse of the survival curve.

    The curve is raised to the power that gives `tag_efficiency` at the medium working point, so
    that all working points move together with pT. Above the curve's start: -10 (no tracks).
    """
    result = np.full(len(uniform), NO_DISCRIMINATOR)
    wanted = tag_efficiency(flavour, pt, config)
    for name in (0, 4, 5):
        mask = flavour == name
        d, survival = _curve(name, config)
        power = np.log(wanted[mask]) / np.log({5: config.b, 4: config.c, 0: config.light}[name][1])
        value = uniform[mask] ** (1 / power)
        found = np.interp(value, survival[::-1], d[::-1])
        result[mask] = np.where(value > survival[0], NO_DISCRIMINATOR, found)
    return result


def _flat(array: ak.Array) -> tuple[dict[str, Any], NDArray[np.int64]]:
    counts = ak.to_numpy(ak.num(array))
    return {name: ak.to_numpy(ak.flatten(array[name])) for name in array.fields}, counts


def _jagged(columns: dict[str, Any], counts: NDArray[np.int64], keep: _Bools) -> ak.Array:
    """Make the columns of the kept objects, with their number of each event."""
    event = np.repeat(np.arange(len(counts)), counts)[keep]
    kept = np.bincount(event, minlength=len(counts))
    return ak.zip({name: ak.unflatten(value[keep], kept) for name, value in columns.items()})


def _by_pt(objects: ak.Array, name: str = "pt") -> ak.Array:
    return objects[ak.argsort(objects[name], ascending=False, stable=True)]


def _impact(
    ip: _Floats, rng: Generator, detector: DetectorConfig
) -> tuple[_Floats, _Floats, _Floats, _Floats]:
    """Draw measured (ip3d, sip3d, dxy, dz): the true distance plus a Rayleigh-distributed error."""
    config = detector.track
    n = len(ip)
    pull = np.where(rng.random(n) < config.ip_tail, config.ip_tail_pull, config.ip_pull)
    angle = rng.uniform(0, 2 * np.pi, n)
    error = pull[:, None] * config.ip_resolution * rng.standard_normal((n, 2))
    transverse = ip * np.cos(angle) + error[:, 0]
    along = ip * np.sin(angle) + error[:, 1]
    ip3d = np.hypot(transverse, along)
    return ip3d, ip3d / config.ip_resolution, transverse, along


def _isolation(
    charged: Any, neutral: Any, pt: Any, rng: Generator, detector: DetectorConfig
) -> Any:
    """Compute the relative isolation with what pile-up leaves behind: stray charged, over-corrected neutral."""
    config = detector.track
    n = len(pt)
    # Most cones hold no stray charged particle; the others a few hundred MeV.
    stray = np.where(rng.random(n) < 0.3, rng.exponential(config.charged_in_cone / 0.3, n), 0.0)
    residual = rng.normal(-0.5, config.neutral_spread, n)
    return (charged + stray + np.maximum(neutral + residual, 0.0)) / pt


def electrons(truth: TruthEvents, rng: Generator, detector: DetectorConfig) -> ak.Array:
    """Reconstruct electrons, hardest first."""
    config = detector.electron
    true, counts = _flat(truth.leptons)
    n = len(true["pt"])
    barrel = np.abs(true["eta"]) < config.barrel_abs_eta
    width = np.where(barrel, *config.resolution)
    pt = (true["pt"] + true["radiated"]) * np.maximum(1 + width * rng.standard_normal(n), 0.1)
    iso = _isolation(true["electron_charged"], true["electron_neutral"], pt, rng, detector)
    ip3d, sip3d, dxy, dz = _impact(true["ip"], rng, detector)
    found = (np.abs(true["id"]) == ELECTRON) & (rng.random(n) < config.reconstruction)
    identified = _electron_identification(rng.random(n), true, pt, iso, barrel, config)
    energy = np.hypot(pt * np.cosh(true["eta"]), ELECTRON_MASS)
    columns = {
        "pt": pt,
        "eta": true["eta"],
        "phi": true["phi"],
        "e": energy,
        "ch": -np.sign(true["id"]),
        "iso": iso,
        "dxy": dxy,
        "dz": dz,
        "ip3d": ip3d,
        "sip3d": sip3d,
        "dxyError": np.full(n, detector.track.ip_resolution),
        "dzError": np.full(n, detector.track.ip_resolution),
        **identified,
    }
    return _by_pt(_jagged(columns, counts, found & (pt > config.min_pt)))


def _electron_identification(
    uniform: _Floats,
    true: dict[str, Any],
    pt: Any,
    iso: Any,
    barrel: _Bools,
    config: ElectronConfig,
) -> dict[str, Any]:
    """Draw nested working points: one uniform number, so that tight is medium is loose is veto."""
    low = 1 - config.low_pt_loss * np.exp(-pt / 12.0)
    efficiency = np.where(barrel, *config.tight) * low
    efficiency = np.where(true["prompt"], efficiency, efficiency * config.nonprompt_identification)
    tight_iso = iso < np.where(barrel, *config.isolation)
    loose_iso = iso < np.where(barrel, *config.loose_isolation)
    medium = uniform < efficiency * config.medium_over_tight
    loose = uniform < efficiency * config.loose_over_tight
    return {
        "isTight": (uniform < efficiency) & tight_iso,
        "isMedium": medium & tight_iso,
        "isLoose": loose & loose_iso,
        "veto": loose & (iso < 2 * np.where(barrel, *config.loose_isolation)),
    }


def muons(truth: TruthEvents, rng: Generator, detector: DetectorConfig) -> ak.Array:
    """Reconstruct muons, hardest first."""
    config = detector.muon
    true, counts = _flat(truth.leptons)
    n = len(true["pt"])
    width = np.where(np.abs(true["eta"]) < config.resolution_abs_eta, *config.resolution)
    pt = true["pt"] * np.maximum(1 + width * rng.standard_normal(n), 0.1)
    iso = _isolation(true["muon_charged"], true["muon_neutral"], pt, rng, detector)
    ip3d, sip3d, dxy, dz = _impact(true["ip"], rng, detector)
    found = (np.abs(true["id"]) == MUON) & (rng.random(n) < config.reconstruction)
    columns = {
        "pt": pt,
        "eta": true["eta"],
        "phi": true["phi"],
        "e": np.hypot(pt * np.cosh(true["eta"]), MUON_MASS),
        "ch": -np.sign(true["id"]),
        "pfreliso04DBCorr": iso,
        "pfreliso04all": iso,
        "pfreliso03all": iso * 0.6,
        "dxy": dxy,
        "dz": dz,
        "ip3d": ip3d,
        "sip3d": sip3d,
        "dxyError": np.full(n, detector.track.ip_resolution),
        "dzError": np.full(n, detector.track.ip_resolution),
        "TkIso03": true["electron_charged"] / pt,
        **_muon_identification(rng.random(n), pt, config),
    }
    return _by_pt(_jagged(columns, counts, found & (pt > config.min_pt)))


def _muon_identification(uniform: _Floats, pt: Any, config: MuonConfig) -> dict[str, Any]:
    """Draw working points: tight inside medium; soft and loose are all but certain (TT2022)."""
    # Below 5 GeV a muon hardly reaches the muon system: TT2022 has 68 % tight at all pT, 86 above 20.
    low = 1 - 0.5 * np.exp(-pt / 6.0)
    return {
        "isTight": uniform < config.tight * low,
        "isMedium": uniform < config.medium * low,
        "isSoft": uniform < config.medium * low,
        "isLoose": uniform < 0.995,
        "isHighPt": uniform < config.tight * low,
    }


def jets(
    truth: TruthEvents, rng: Generator, detector: DetectorConfig
) -> tuple[ak.Array, NDArray[np.float64], NDArray[np.float64]]:
    """Reconstruct jets, hardest first, and the (x, y) momentum that their smearing added."""
    config = detector.jet
    true, counts = _flat(truth.jets)
    n = len(true["pt"])
    lepton = true["lepton_fraction"]
    momenta, shift = _jet_momenta(true, lepton, rng, config)
    corrected = momenta["corrpt"]
    flavour = true["flavour"]
    tag_flavour = np.where((lepton > 0.5) & (flavour == 0), 0, flavour)
    d = discriminator(rng.random(n), tag_flavour, corrected, detector.btag)
    veto = (lepton > 0.5) & (flavour == 0) & (d > detector.btag.working_points[1])
    d = np.where(
        veto & (rng.random(n) > detector.btag.lepton_light / detector.btag.light[1]), 0.1, d
    )
    d = np.where(np.abs(true["eta"]) > detector.btag.max_abs_eta, NO_DISCRIMINATOR, d)
    columns = momenta | {"btag": d, "hflav": flavour}
    event = np.repeat(np.arange(len(counts)), counts)
    dx, dy = (
        np.bincount(event, weights=shift * f(true["phi"]), minlength=len(counts)).astype(np.float64)
        for f in (np.cos, np.sin)
    )
    return _by_pt(_jagged(columns, counts, corrected > config.min_pt)), dx, dy


def _jet_momenta(
    true: dict[str, Any], lepton: Any, rng: Generator, config: JetConfig
) -> tuple[dict[str, Any], Any]:
    """Draw measured momenta with their variations, and the hadronic part's change of pT [GeV].

    `lepton` is the part of each jet's pT that prompt leptons carry.
    """
    n = len(true["pt"])
    hadronic = true["pt"] * (1 - lepton)
    smear = np.maximum(1 + jet_resolution(true["pt"], config) * rng.standard_normal(n), 0.05)
    hadronic_corrected = hadronic * config.scale * smear
    factor = raw_to_corrected(hadronic_corrected + true["pt"] * lepton, true["eta"], config)
    # The lepton's energy is measured in full and then corrected as if it were a hadron jet's.
    raw = hadronic_corrected / factor + true["pt"] * lepton * config.lepton_raw_response
    corrected = raw * factor
    expected = corrected - hadronic_corrected + hadronic * config.scale
    mass = true["mass"] * raw / true["pt"]
    energy = np.hypot(raw * np.cosh(true["eta"]), mass)
    uncertainty = scale_uncertainty(corrected, config)
    wider = (corrected - expected) * config.resolution_uncertainty
    momenta = {
        "pt": raw,
        "eta": true["eta"],
        "phi": true["phi"],
        "mass": mass,
        "e": energy,
        "ch": np.zeros(n),
        "corrpt": corrected,
        "corrptUp": corrected * (1 + uncertainty),
        "corrptDown": corrected * (1 - uncertainty),
        "corrptSmearUp": corrected + wider,
        "corrptSmearDown": corrected - wider,
        "corrmass": mass * factor,
        "corre": energy * factor,
    }
    return momenta, hadronic_corrected - hadronic


def fat_jets(truth: TruthEvents, rng: Generator, detector: DetectorConfig) -> ak.Array:
    """Reconstruct AK8 jets, hardest first; the soft-drop mass is measured as the mass is."""
    true, counts = _flat(truth.fat_jets)
    momenta, _ = _jet_momenta(true, 0.0, rng, detector.jet)
    columns = momenta | {name: true[name] for name in ("tau1", "tau2", "tau3")}
    columns["softdropmass"] = true["softdropmass"] * momenta["pt"] / true["pt"]
    return _by_pt(_jagged(columns, counts, momenta["corrpt"] > detector.fat_jet.min_pt))


def tag_weights(jet: ak.Array, config: BTagConfig, min_pt: float = 30.0) -> dict[str, _Floats]:
    """Compute event weights of the b-tag scale factors at the medium working point (method 1a).

    The scale factors are one with the uncertainties of `config`, so the central weight is one:
    the simulated data are tagged as the simulation is. Jets with corrpt > `min_pt`, |eta| < 2.4.
    """
    use = jet[(jet.corrpt > min_pt) & (np.abs(jet.eta) < config.max_abs_eta)]
    counts = ak.num(use)
    flavour, pt = (ak.to_numpy(ak.flatten(use[name])) for name in ("hflav", "corrpt"))
    tagged = ak.to_numpy(ak.flatten(use.btag)) >= config.working_points[1]
    efficiency = tag_efficiency(flavour, pt, config)
    uncertainty = np.where(
        flavour == 5,
        config.b_uncertainty,
        np.where(flavour == 4, config.c_uncertainty, config.light_uncertainty),
    )
    weights = {"btag_Weight": np.ones(len(jet))}
    for name, sign in (("btag_WeightUp", 1), ("btag_WeightDn", -1)):
        factor = 1 + sign * uncertainty
        each = np.where(tagged, factor, (1 - factor * efficiency) / (1 - efficiency))
        weights[name] = ak.to_numpy(ak.prod(ak.unflatten(each, counts), axis=1))
    return weights


def met(
    truth: TruthEvents, jet_shift: tuple[_Floats, _Floats], rng: Generator, detector: DetectorConfig
) -> dict[str, _Floats]:
    """Compute missing transverse momentum: neutrinos, minus the jets' mismeasurement, plus noise."""
    config = detector.met
    n = len(truth.sum_et)
    width = np.hypot(config.noise, config.stochastic * np.sqrt(truth.sum_et))
    # The jets' own smearing is most of the stochastic part; what is left is of unclustered energy.
    noise = 0.6 * width * rng.standard_normal((2, n))
    px = truth.neutrino_px - jet_shift[0] + noise[0]
    py = truth.neutrino_py - jet_shift[1] + noise[1]
    pt, phi = np.hypot(px, py), np.arctan2(py, px)
    return {
        "met_e": pt,
        "met_pt": pt,
        "met_px": px,
        "met_py": py,
        "met_phi": phi,
        "met_significance": (pt / np.maximum(width, 1.0)) ** 2,
        "met_rawpt": pt,
        "met_rawphi": phi,
        "met_rawe": pt,
    }


def triggers(
    electron: ak.Array, muon: ak.Array, rng: Generator, config: TriggerConfig
) -> dict[str, _Bools]:
    """Draw the three trigger bits; IsoTkMu20 mostly repeats IsoMu20."""
    central = np.abs(electron.eta) < config.max_abs_eta
    rate = turn_on(
        electron.pt, config.electron_threshold, config.electron_width, config.electron_plateau
    )
    ele = 1 - ak.to_numpy(ak.prod(ak.where(electron.isLoose & central, 1 - rate, 1.0), axis=1))
    rate = turn_on(muon.pt, config.muon_threshold, config.muon_width, config.muon_plateau)
    isolated = _logistic((config.isolation - muon.pfreliso04DBCorr) / config.isolation_width)
    rate = rate * (config.nonisolated + (1 - config.nonisolated) * isolated)
    mu = 1 - ak.to_numpy(ak.prod(ak.where(muon.isLoose, 1 - rate, 1.0), axis=1))
    u = rng.random((3, len(mu)))
    iso_mu = u[1] < mu
    again = np.where(iso_mu, config.track_correlation, config.track_recovery * mu)
    return {
        "trig_Ele22_eta2p1_WPLoose_Gsf": u[0] < ele,
        "trig_IsoMu20": iso_mu,
        "trig_IsoTkMu20": u[2] < again,
    }


def vertices(n: int, rng: Generator, detector: DetectorConfig) -> dict[str, Any]:
    """Draw numbers and positions of the primary vertices of `n` events."""
    config = detector.vertex
    mean = np.maximum(rng.normal(config.mean, config.spread, n), 1.0)
    npvs = np.maximum(rng.poisson(mean), 1)
    total = int(npvs.sum())
    return {
        "PV_npvs": npvs,
        "PV_npvsGood": np.maximum(rng.binomial(npvs, config.good), 1),
        "PV_x": ak.unflatten(0.10 + 0.002 * rng.standard_normal(total), npvs),
        "PV_y": ak.unflatten(0.17 + 0.002 * rng.standard_normal(total), npvs),
        "PV_z": ak.unflatten(config.z_width * rng.standard_normal(total), npvs),
        "PV_ndof": ak.unflatten(4 + rng.exponential(40, total), npvs),
        "PV_chi2": ak.unflatten(4 + rng.exponential(30, total), npvs),
    }


def jet_index(muon: ak.Array, jet: ak.Array) -> ak.Array:
    """Find the index of the nearest jet within 0.4 of each muon, -1 without one."""
    pairs = ak.cartesian({"muon": muon, "jet": jet}, nested=True)
    distance = delta_r(pairs.muon.eta, pairs.muon.phi, pairs.jet.eta, pairs.jet.phi)
    index = ak.fill_none(ak.argmin(distance, axis=2), -1)
    near = ak.fill_none(ak.min(distance, axis=2) < MUON_JET_RADIUS, False)
    return ak.where(near, index, -1)


def preselected(
    electron: ak.Array, muon: ak.Array, bits: dict[str, _Bools], detector: DetectorConfig
) -> _Bools:
    """Select the events of the POET skim: a trigger, and a tight electron or muon with pT > 26 GeV, |eta| < 2.1."""
    config = detector.preselection
    lepton = np.zeros(len(electron), dtype=bool)
    for objects in (electron, muon):
        good = (
            objects.isTight
            & (objects.pt > config.lepton_pt)
            & (np.abs(objects.eta) < config.lepton_abs_eta)
        )
        lepton |= ak.to_numpy(ak.any(good, axis=1))
    fired = np.logical_or.reduce(list(bits.values()))
    return np.asarray(lepton & fired)


def respond(truth: TruthEvents, rng: Generator, detector: DetectorConfig) -> dict[str, Any]:
    """Make the detector columns of all events: collections as records, event quantities by branch name.

    `selected` marks the pre-selection; nothing is dropped yet.
    """
    electron = electrons(truth, rng, detector)
    muon = muons(truth, rng, detector)
    jet, dx, dy = jets(truth, rng, detector)
    muon["jetidx"] = jet_index(muon, jet)
    bits = triggers(electron, muon, rng, detector.trigger)
    return {
        "electron": electron,
        "muon": muon,
        "jet": jet,
        # A generator of its own: AK8 jets change no other number.
        "fatjet": fat_jets(truth, rng.spawn(1)[0], detector),
        **tag_weights(jet, detector.btag),
        **met(truth, (dx, dy), rng, detector),
        **vertices(len(truth.sum_et), rng, detector),
        **bits,
        "selected": preselected(electron, muon, bits, detector),
    }
