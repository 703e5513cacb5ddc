"""The selection again, as a plain loop over events: nothing of the package is used but file reading.

Written from the selection table (see the README), with branch names as they are in the files.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path
from typing import Any

import uproot

JET_PT = {
    "nominal": "jet_corrpt",
    "pt_scale_up": "jet_corrptUp",
    "pt_scale_down": "jet_corrptDown",
    "pt_res_up": "jet_corrptSmearUp",
    "pt_res_down": "jet_corrptSmearDown",
}
BRANCHES = [
    "electron_pt", "electron_eta", "electron_isTight", "electron_sip3d",
    "muon_pt", "muon_eta", "muon_isTight", "muon_sip3d", "muon_pfreliso04DBCorr",
    "muon_phi", "met_pt", "met_phi",
    "jet_eta", "jet_phi", "jet_corrmass", "jet_btag", *JET_PT.values(),
    "trig_Ele22_eta2p1_WPLoose_Gsf", "trig_IsoMu20", "trig_IsoTkMu20",
]  # fmt: skip
LOW, HIGH, BINS = 50.0, 550.0, 25


class Loop:
    """Unweighted counts of one file."""

    def __init__(self) -> None:
        self.bins: dict[tuple[str, str, str], Counter[int]] = defaultdict(Counter)
        """(region, variation, channel) -> bin -> events; -1 and 25 are under- and overflow."""
        self.weighted: dict[tuple[str, str, str], dict[int, float]] = defaultdict(
            lambda: defaultdict(float)
        )
        """The same for the b-tag weight variations."""
        self.plane: dict[str, Counter[tuple[int, int]]] = defaultdict(Counter)
        """Region -> (isolation bin, m_T bin) -> events; the last bins are overflow."""
        self.cutflow: dict[str, Counter[str]] = {"electron": Counter(), "muon": Counter()}


def run(path: Path, *, data_channel: str | None = None, is_data: bool = False) -> Loop:
    loop = Loop()
    with uproot.open(f"{path}:events") as tree:
        for event in tree.arrays(BRANCHES).to_list():
            _one_event(event, loop, data_channel, is_data)
    return loop


def _one_event(event: dict[str, Any], loop: Loop, data_channel: str | None, is_data: bool) -> None:
    n_electrons = n_muons = 0
    for pt, eta, tight, sip in zip(
        event["electron_pt"], event["electron_eta"], event["electron_isTight"],
        event["electron_sip3d"], strict=True,
    ):  # fmt: skip
        if pt > 30 and abs(eta) < 2.1 and tight == 1 and sip < 4:
            n_electrons += 1
    for pt, eta, tight, sip, iso in zip(
        event["muon_pt"], event["muon_eta"], event["muon_isTight"], event["muon_sip3d"],
        event["muon_pfreliso04DBCorr"], strict=True,
    ):  # fmt: skip
        if pt > 30 and abs(eta) < 2.1 and tight == 1 and sip < 4 and iso < 0.15:
            n_muons += 1
    if n_electrons == 0 and not (is_data and data_channel == "electron"):
        _plane(event, loop)
    if n_electrons + n_muons != 1:
        return
    channel = "electron" if n_electrons else "muon"
    loop.cutflow[channel]["one lepton"] += 1
    if is_data:
        if data_channel not in (None, channel):
            return
        if channel == "electron" and not event["trig_Ele22_eta2p1_WPLoose_Gsf"]:
            return
        if channel == "muon" and not (event["trig_IsoMu20"] or event["trig_IsoTkMu20"]):
            return
    loop.cutflow[channel]["trigger"] += 1
    for variation, branch in JET_PT.items():
        if not (is_data and variation != "nominal"):
            _one_shift(event, event[branch], variation, channel, loop)


def _plane(event: dict[str, Any], loop: Loop) -> None:
    """Isolation and transverse mass of the one muon, isolated or not, that fired its trigger."""
    muons = [
        (pt, phi, iso)
        for pt, eta, phi, tight, sip, iso in zip(
            event["muon_pt"], event["muon_eta"], event["muon_phi"], event["muon_isTight"],
            event["muon_sip3d"], event["muon_pfreliso04DBCorr"], strict=True,
        )
        if pt > 30 and abs(eta) < 2.1 and tight == 1 and sip < 4
    ]  # fmt: skip
    if len(muons) != 1 or not (event["trig_IsoMu20"] or event["trig_IsoTkMu20"]):
        return
    tags = [
        btag >= 0.8
        for pt, eta, btag in zip(
            event["jet_corrpt"], event["jet_eta"], event["jet_btag"], strict=True
        )
        if pt > 30 and abs(eta) < 2.4
    ]
    if len(tags) < 4 or not any(tags):
        return
    pt, phi, iso = muons[0]
    met_x = event["met_pt"] * math.cos(event["met_phi"])
    met_y = event["met_pt"] * math.sin(event["met_phi"])
    total = math.hypot(pt * math.cos(phi) + met_x, pt * math.sin(phi) + met_y)
    mt = math.sqrt(max(0.0, (pt + event["met_pt"]) ** 2 - total**2))
    where = min(int(iso / 0.05), 40), min(int(mt / 10), 20)
    loop.plane["4j1b" if sum(tags) == 1 else "4j2b"][where] += 1


def _one_shift(
    event: dict[str, Any], shifted: list[float], variation: str, channel: str, loop: Loop
) -> None:
    jets = []
    for pt, nominal, eta, phi, mass, btag in zip(
        shifted, event["jet_corrpt"], event["jet_eta"], event["jet_phi"], event["jet_corrmass"],
        event["jet_btag"], strict=True,
    ):  # fmt: skip
        if pt > 30 and abs(eta) < 2.4:
            m = mass * pt / nominal
            px, py, pz = pt * math.cos(phi), pt * math.sin(phi), pt * math.sinh(eta)
            jets.append((px, py, pz, math.sqrt(px**2 + py**2 + pz**2 + m**2), pt, btag >= 0.8))
    if len(jets) < 4:
        return
    if variation == "nominal":
        loop.cutflow[channel]["jets"] += 1
    n_tags = sum(jet[5] for jet in jets)
    if n_tags == 0:
        return
    if n_tags == 1:
        region, value = "4j1b", sum(jet[4] for jet in jets)
    else:
        region, value = "4j2b", _top_mass(jets)
    if variation == "nominal":
        loop.cutflow[channel][region] += 1
    index = math.floor((value - LOW) / (HIGH - LOW) * BINS)
    index = max(-1, min(BINS, index))
    loop.bins[region, variation, channel][index] += 1
    if variation == "nominal":
        leading = sorted((jet[4] for jet in jets), reverse=True)
        for i in range(4):
            for direction, sign in (("up", 1), ("down", -1)):
                weight = 1 + sign * 0.075 * leading[i] / 50
                loop.weighted[region, f"btag_var_{i}_{direction}", channel][index] += weight


def _top_mass(jets: list[tuple[Any, ...]]) -> float:
    best_pt, best_mass = -1.0, 0.0
    for triple in combinations(jets, 3):
        if not any(jet[5] for jet in triple):
            continue
        px, py, pz, energy = (sum(jet[k] for jet in triple) for k in range(4))
        if math.hypot(px, py) > best_pt:
            best_pt = math.hypot(px, py)
            best_mass = math.sqrt(max(0.0, energy**2 - px**2 - py**2 - pz**2))
    return best_mass
