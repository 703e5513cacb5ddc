"""Control histograms: events with one good lepton and enough jets, before b tagging."""

from __future__ import annotations

import awkward as ak
import numpy as np
from hist import Hist

from analysis.channels import Channels
from analysis.config import ControlBinnings
from analysis.histograms import book_control
from analysis.metadata import CHANNELS
from analysis.objects import Jets, Leptons
from analysis.reconstruction import JetSums
from analysis.systematics import Weights

COLUMNS = frozenset({"met.pt", "PV.npvs"})

LABELS = {
    "lepton_pt": r"Lepton $p_T$ [GeV]",
    "lepton_eta": r"Lepton $\eta$",
    "jet_pt": r"Jet $p_T$ [GeV]",
    "n_jets": "Jets",
    "n_btags": "b-tagged jets",
    "met": r"$p_T^{miss}$ [GeV]",
    "n_vertices": "Primary vertices",
}


def histograms(
    config: ControlBinnings,
    process: str,
    events: ak.Array,
    leptons: Leptons,
    jets: Jets,
    sums: JetSums,
    passing: Channels,
    weight: Weights,
) -> dict[str, Hist]:
    """Name -> histogram of (value, channel, process); one entry an event, for `jet_pt` one a jet."""
    booked = {
        name: book_control(getattr(config, name), LABELS[name], list(CHANNELS), process)
        for name in LABELS
    }
    per_event = {
        "lepton_pt": leptons.only("pt"),
        "lepton_eta": leptons.only("eta"),
        "n_jets": sums.n_jets,
        "n_btags": sums.n_btags,
        "met": np.asarray(events.met.pt),
        "n_vertices": np.asarray(events.PV.npvs),
    }
    jets_in_event = np.diff(jets.offsets)
    for channel, mask in passing.items():
        where = {"channel": channel, "process": process}
        for name, values in per_event.items():
            booked[name].fill(value=values[mask], **where, weight=weight[mask])
        of_jets = np.repeat(mask, jets_in_event) & jets.good
        jet_weight = np.repeat(weight, jets_in_event)[of_jets]
        booked["jet_pt"].fill(value=jets.pt[of_jets], **where, weight=jet_weight)
    return booked
