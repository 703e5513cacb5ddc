"""Closure of the top peak's fit against generator truth: which candidates are the top quark's jets?

    python benchmarks/top_truth.py [--events 20000] [--seed 7]

Generates ttbar events, builds the top candidate of region 4j2b, and matches its three jets to the
quarks of the hadronic top (distance < 0.4, each jet one quark). Then the fit, which does not know, is
compared with the numbers of matched and other candidates. Needs the extra `simulate`.
"""

from __future__ import annotations

import argparse
from typing import Any

import awkward as ak
import hist
import numpy as np
from hist import Hist
from numpy.random import Generator, Philox
from numpy.typing import NDArray

from analysis.common.tables import markdown
from analysis.config import AnalysisConfig
from analysis.datasets.sample import NOMINAL
from analysis.postprocess.top_peak import PREDICTION, REGION, SIGNAL, fit_top_peak
from analysis.simulation import layout
from analysis.simulation.config import DetectorConfig
from analysis.simulation.generator import generate, silenced
from analysis.simulation.observables import TAG, good_jets, one_lepton
from analysis.simulation.particles import delta_r, kinematics, truth
from analysis.simulation.processes import BY_NAME, Process
from analysis.simulation.response import respond

BLOCK = 1000
HARD_PROCESS_OUTGOING = 23
TOP, W_BOSON, B_QUARK = 6, 24, 5
MATCHED = 0.4
PERMUTATIONS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))


def hadronic_quarks(record: ak.Array) -> ak.Array:
    """b, q and q' of the hadronically decaying top: eta, phi; none unless there is exactly one."""
    particles = record.prt
    hard = particles[np.abs(particles.status) == HARD_PROCESS_OUTGOING]
    mother = particles.id[hard.mother1]
    of_w = (np.abs(mother) == W_BOSON) & (np.abs(hard.id) <= B_QUARK)
    single = ak.sum(of_w, axis=1) == 2
    sign = ak.fill_none(ak.firsts(np.sign(mother[of_w])), 0)
    of_top = (mother == TOP * sign) & (np.abs(hard.id) == B_QUARK)
    chosen = hard[(of_w | of_top) & single]
    _, eta, phi = kinematics(chosen.p.px, chosen.p.py, chosen.p.pz)
    return ak.zip({"eta": eta, "phi": phi})


def candidates(events: dict[str, Any], quarks: ak.Array) -> tuple[Any, Any]:
    """Mass [GeV] of the top candidate of each 4j2b event, and whether it is the hadronic top."""
    jets = good_jets(events)
    tags = ak.sum(jets.btag >= TAG, axis=1)
    region = one_lepton(events) & (ak.num(jets) >= 4) & (tags >= 2)
    jets, quarks = jets[region], quarks[region]
    energy = np.hypot(jets.corrpt * np.cosh(jets.eta), jets.corrmass)
    vectors = ak.zip(
        {
            "px": jets.corrpt * np.cos(jets.phi),
            "py": jets.corrpt * np.sin(jets.phi),
            "pz": jets.corrpt * np.sinh(jets.eta),
            "e": energy,
            "eta": jets.eta,
            "phi": jets.phi,
            "tagged": jets.btag >= TAG,
        }
    )
    trijets = ak.combinations(vectors, 3)
    a, b, c = ak.unzip(trijets)
    px, py, pz, e = (a[x] + b[x] + c[x] for x in ("px", "py", "pz", "e"))
    pt2 = ak.where(a.tagged | b.tagged | c.tagged, px**2 + py**2, -1.0)
    best = ak.argmax(pt2, axis=1, keepdims=True)
    mass2 = np.maximum(e**2 - px**2 - py**2 - pz**2, 0.0)[best]
    mass = np.asarray(ak.drop_none(ak.flatten(np.sqrt(mass2))))
    return mass, _is_matched([part[best] for part in (a, b, c)], quarks)


def _is_matched(jets: list[ak.Array], quarks: ak.Array) -> NDArray[np.bool_]:
    complete = ak.to_numpy(ak.num(quarks) == 3)
    padded = ak.pad_none(quarks, 3, clip=True)
    eta, phi = (ak.to_numpy(ak.fill_none(padded[name], 99.0)) for name in ("eta", "phi"))
    jet_eta, jet_phi = (
        np.concatenate([ak.to_numpy(jet[name]) for jet in jets], axis=1) for name in ("eta", "phi")
    )
    near = (
        delta_r(eta[:, :, None], phi[:, :, None], jet_eta[:, None, :], jet_phi[:, None, :])
        < MATCHED
    )
    one_to_one = [near[:, 0, i] & near[:, 1, j] & near[:, 2, k] for i, j, k in PERMUTATIONS]
    return np.asarray(np.logical_or.reduce(one_to_one) & complete)


def produce(count: int, seed: int, process: Process = BY_NAME["ttbar__nominal"]) -> tuple[Any, Any]:
    """Masses [GeV] of the candidates of so many generated events, and whether they are the hadronic top."""
    detector = DetectorConfig()
    masses, matches = [], []
    for block in range(count // BLOCK):
        record, _ = generate(process, BLOCK, seed=seed + block)
        with silenced():
            columns = truth(record, detector)
        response = respond(columns, Generator(Philox(seed + block)), detector)
        quarks = hadronic_quarks(record)[response["selected"]]
        mass, matched = candidates(layout.branches(response), quarks)
        masses.append(mass)
        matches.append(matched)
    return np.concatenate(masses), np.concatenate(matches)


def observable(mass: Any) -> Hist:
    binning = AnalysisConfig().observable
    content = Hist(
        hist.axis.Regular(binning.bins, binning.low, binning.high, name="observable"),
        hist.axis.StrCategory([REGION], name="region"),
        hist.axis.StrCategory([SIGNAL], name="process"),
        hist.axis.StrCategory([NOMINAL], name="variation"),
        storage=hist.storage.Weight(),
    )
    return content.fill(observable=mass, region=REGION, process=SIGNAL, variation=NOMINAL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=20_000, metavar="N", help="generated events")
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    mass, matched = produce(arguments.events, arguments.seed)
    settings = AnalysisConfig().top_peak
    fits = fit_top_peak(observable(mass), settings).fits[PREDICTION]
    low, high = settings.window
    inside = (mass >= low) & (mass < high)
    core = mass[matched & inside]
    rows = [
        ["candidates in the window", f"{inside.sum()}", ""],
        ["of the top quark's jets", f"{core.size}", ""],
        ["others", f"{(inside & ~matched).sum()}", ""],
        [
            "median mass, GeV",
            f"{np.median(core):.1f} ± {1.25 * core.std() / core.size**0.5:.1f}",
            "",
        ],
        ["standard deviation in the window, GeV", f"{core.std():.1f}", ""],
        ["matched at any mass", f"{matched.sum()}", ""],
    ]
    if fits.bands is not None:
        rows[1][2], rows[2][2] = str(fits.bands.signal), str(fits.bands.background)
    if fits.peak is not None:
        rows[3][2], rows[4][2] = (str(fits.peak.parameters[p]) for p in ("position", "width"))
        rows[5][2] = str(fits.peak.signal)
    print(markdown([REGION, "truth", "fit"], rows))  # noqa: T201


if __name__ == "__main__":
    main()
