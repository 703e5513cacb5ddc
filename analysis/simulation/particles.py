"""From Pythia's event record to columns: particle-level leptons, jets, heavy hadrons, neutrinos.

Everything here is truth; no detector. Momenta in GeV, vertices in cm, arrays `n_events * var`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from analysis.simulation.fatjets import fat_jets

if TYPE_CHECKING:
    from analysis.simulation.config import DetectorConfig

NEUTRINOS = (12, 14, 16)
ELECTRON, MUON, TAU, PHOTON = 11, 13, 15, 22
PROMPT_MOTHERS = (23, 24)
MM_PER_CM = 10.0
MAX_COPIES = 50
_FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class TruthEvents:
    """Columns of one block; all of them awkward arrays with one entry per event."""

    leptons: ak.Array
    """e and mu: pt, eta, phi, id, prompt, ip (3D impact parameter, cm), radiated (pT of photons that
    an electron's cluster collects), and the pT sums around: {muon,electron}_{charged,neutral}."""
    jets: ak.Array
    """anti-kT jets of visible particles: pt, eta, phi, mass, flavour, lepton_fraction."""
    fat_jets: ak.Array
    """AK8 jets: pt, eta, phi, mass, softdropmass, tau1 to tau3."""
    neutrino_px: _FloatArray
    neutrino_py: _FloatArray
    sum_et: _FloatArray


def kinematics(px: Any, py: Any, pz: Any) -> tuple[Any, Any, Any]:
    """Compute pT, pseudorapidity, azimuth; pT is kept off zero so that eta stays finite."""
    pt = np.maximum(np.hypot(px, py), 1e-9)
    return pt, np.arcsinh(pz / pt), np.arctan2(py, px)


def delta_r(eta1: Any, phi1: Any, eta2: Any, phi2: Any) -> Any:
    """Compute the distance in pseudorapidity and azimuth."""
    dphi = (phi1 - phi2 + np.pi) % (2 * np.pi) - np.pi
    return np.hypot(eta1 - eta2, dphi)


def _origin(
    ids: NDArray[np.int32], mothers: NDArray[np.int64], start: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Find the row of the first ancestor that is neither a copy of the particle nor a tau."""
    current = mothers[start]
    own = np.abs(ids[start])
    for _ in range(MAX_COPIES):
        name = np.abs(ids[current])
        again = (name == own) | (name == TAU)
        if not again.any():
            break
        current = np.where(again, mothers[current], current)
    return current


def _is_hadron_with(ids: NDArray[np.int32], flavour: int) -> NDArray[np.bool_]:
    """Select hadrons whose heaviest quark is `flavour` (4 or 5), by the PDG numbering."""
    absolute = np.abs(ids)
    meson = (absolute // 100) % 10
    baryon = (absolute // 1000) % 10
    heavy = np.where(baryon > 0, baryon, meson)
    return np.asarray((absolute > 100) & (heavy == flavour))


def _last_hadrons(
    ids: NDArray[np.int32], mothers: NDArray[np.int64], flavour: int
) -> NDArray[np.bool_]:
    """Select weakly decaying hadrons: those of `flavour` that are mother of none of the same flavour."""
    heavy = _is_hadron_with(ids, flavour)
    parent = np.zeros(len(ids), dtype=bool)
    parent[mothers[heavy]] = True
    return heavy & ~parent


def _jagged(values: dict[str, Any], counts: NDArray[np.int64]) -> ak.Array:
    return ak.zip({name: ak.unflatten(value, counts) for name, value in values.items()})


def _impact_parameter(record: Any, rows: NDArray[np.int64], primary: Any) -> _FloatArray:
    """Compute the distance [cm] of the straight line through the production vertex from the primary one."""
    v = np.stack(
        [ak.to_numpy(ak.fill_none(record.vProd[axis][rows], 0.0)) for axis in ("px", "py", "pz")],
        axis=1,
    )
    v = (v - primary) / MM_PER_CM
    p = np.stack([ak.to_numpy(record.p[axis][rows]) for axis in ("px", "py", "pz")], axis=1)
    direction = p / np.maximum(np.linalg.norm(p, axis=1, keepdims=True), 1e-12)
    return np.asarray(np.linalg.norm(np.cross(v, direction), axis=1), dtype=np.float64)


def _cluster(particles: ak.Array, radius: float, min_pt: float) -> tuple[ak.Array, ak.Array]:
    """Cluster inclusive anti-kT jets (px, py, pz, E) and the particles' rows of each."""
    import fastjet

    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, radius)
    sequence = fastjet.ClusterSequence(particles, definition)
    return sequence.inclusive_jets(min_pt=min_pt), sequence.constituent_index(min_pt=min_pt)


def truth(record: ak.Array, detector: DetectorConfig) -> TruthEvents:
    """Make the particle-level columns of Pythia's record `record` (what `generator.generate` returns)."""
    sizes = ak.to_numpy(ak.num(record.prt, axis=1))
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    event = np.repeat(np.arange(len(sizes)), sizes)
    flat = ak.flatten(record.prt, axis=1)
    ids = ak.to_numpy(flat.id)
    mothers = ak.to_numpy(flat.mother1) + np.repeat(first, sizes)
    px, py, pz, energy = (ak.to_numpy(flat.p[axis]) for axis in ("px", "py", "pz", "e"))
    pt, eta, phi = kinematics(px, py, pz)
    final = ak.to_numpy(flat.status) > 0
    absolute = np.abs(ids)

    invisible = final & np.isin(absolute, NEUTRINOS)
    visible = final & ~np.isin(absolute, NEUTRINOS) & (np.abs(eta) < detector.jet.particle_abs_eta)
    rows = np.flatnonzero(visible)
    counts = np.bincount(event[rows], minlength=len(sizes))

    lepton_rows = np.flatnonzero(
        final
        & (
            (absolute == ELECTRON)
            & (pt > detector.electron.min_pt)
            & (np.abs(eta) < detector.electron.max_abs_eta)
            | (absolute == MUON)
            & (pt > detector.muon.min_pt)
            & (np.abs(eta) < detector.muon.max_abs_eta)
        )
    )
    origin = _origin(ids, mothers, lepton_rows)
    prompt = np.isin(np.abs(ids[origin]), PROMPT_MOTHERS)
    is_prompt = np.zeros(len(ids), dtype=bool)
    is_prompt[lepton_rows[prompt]] = True

    stable = _jagged(
        {
            "px": px[rows],
            "py": py[rows],
            "pz": pz[rows],
            "E": energy[rows],
            "pt": pt[rows],
            "eta": eta[rows],
            "phi": phi[rows],
            "prompt": is_prompt[rows],
            "charged": _charged(ids[rows]),
            "photon": absolute[rows] == PHOTON,
            "row": rows,
        },
        counts,
    )
    leptons = _jagged(
        {
            "pt": pt[lepton_rows],
            "eta": eta[lepton_rows],
            "phi": phi[lepton_rows],
            "id": ids[lepton_rows],
            "prompt": prompt,
            "ip": _impact_parameter(flat, lepton_rows, _primary(flat, first, event[lepton_rows])),
            "row": lepton_rows,
        },
        np.bincount(event[lepton_rows], minlength=len(sizes)),
    )
    leptons = _with_surroundings(leptons, stable, detector)

    hadrons = {}
    for flavour in (4, 5):
        heavy = np.flatnonzero(
            _last_hadrons(ids, mothers, flavour) & (pt > detector.jet.flavour_min_pt)
        )
        hadrons[flavour] = _jagged(
            {"eta": eta[heavy], "phi": phi[heavy]},
            np.bincount(event[heavy], minlength=len(sizes)),
        )

    def total(weight: Any, mask: Any) -> _FloatArray:
        sums = np.bincount(event[mask], weights=weight[mask], minlength=len(sizes))
        return np.asarray(sums, dtype=np.float64)

    return TruthEvents(
        leptons=leptons,
        jets=_jets(stable, hadrons, detector),
        fat_jets=fat_jets(stable[["px", "py", "pz", "E"]], detector.fat_jet),
        neutrino_px=total(px, invisible),
        neutrino_py=total(py, invisible),
        sum_et=total(pt, visible),
    )


def _charged(ids: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Select charged stable particles: e, mu, pi, K, p and the long-lived hyperons."""
    return np.isin(np.abs(ids), (11, 13, 211, 321, 2212, 3112, 3222, 3312, 3334))


def _primary(flat: Any, first: NDArray[np.int64], event: NDArray[np.int64]) -> _FloatArray:
    """Find the primary vertex [mm] of each lepton's event: where the first incoming parton stands."""
    rows = first[event] + 3
    return np.stack(
        [ak.to_numpy(ak.fill_none(flat.vProd[axis][rows], 0.0)) for axis in ("px", "py", "pz")],
        axis=1,
    )


def _with_surroundings(leptons: ak.Array, stable: ak.Array, detector: DetectorConfig) -> ak.Array:
    """Add the photons collected by electrons, and the charged and neutral pT sums in the cones."""
    pairs = ak.cartesian({"lepton": leptons, "other": stable[stable.pt > 0.3]}, nested=True)
    distance = delta_r(pairs.lepton.eta, pairs.lepton.phi, pairs.other.eta, pairs.other.phi)
    other = pairs.lepton.row != pairs.other.row
    collected = pairs.other.photon & (distance < detector.electron.cluster_radius)
    masks = {"radiated": collected}
    for name, radius, neutral in (
        ("muon", detector.muon.isolation_radius, ~pairs.other.charged),
        ("electron", detector.electron.isolation_radius, ~pairs.other.charged & ~collected),
    ):
        near = other & (distance < radius)
        masks[f"{name}_charged"] = near & pairs.other.charged
        masks[f"{name}_neutral"] = near & neutral
    for name, mask in masks.items():
        leptons[name] = ak.sum(ak.where(mask, pairs.other.pt, 0.0), axis=2)
    return leptons


def _jets(stable: ak.Array, hadrons: dict[int, ak.Array], detector: DetectorConfig) -> ak.Array:
    config = detector.jet
    # Half the threshold: resolution lifts jets over it.
    jets, constituents = _cluster(stable[["px", "py", "pz", "E"]], config.radius, config.min_pt / 2)
    pt, eta, phi = kinematics(jets.px, jets.py, jets.pz)
    mass2 = jets.E**2 - jets.px**2 - jets.py**2 - jets.pz**2
    counts = ak.num(constituents, axis=2)
    flat = ak.flatten(constituents, axis=2)
    lepton_pt = ak.where(stable.prompt, stable.pt, 0.0)[flat]
    in_jet = ak.unflatten(ak.flatten(lepton_pt), ak.flatten(counts))
    lepton_sum = ak.unflatten(ak.sum(in_jet, axis=1), ak.num(jets))
    jets = ak.zip(
        {
            "pt": pt,
            "eta": eta,
            "phi": phi,
            "mass": np.sqrt(np.maximum(mass2, 0.0)),
            "lepton_fraction": np.minimum(lepton_sum / pt, 1.0),
        }
    )
    beauty, charm = (_near(jets, hadrons[f], config.flavour_radius) for f in (5, 4))
    jets["flavour"] = ak.where(beauty, 5, ak.where(charm, 4, 0))
    return jets[ak.argsort(jets.pt, ascending=False)]


def _near(jets: ak.Array, others: ak.Array, radius: float) -> ak.Array:
    """Tell whether any of `others` lies within `radius` of each jet."""
    pairs = ak.cartesian({"jet": jets, "other": others}, nested=True)
    distance = delta_r(pairs.jet.eta, pairs.jet.phi, pairs.other.eta, pairs.other.phi)
    return ak.any(distance < radius, axis=2)
