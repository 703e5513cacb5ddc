"""Control histograms: events with one good lepton and enough jets, before b tagging."""

from __future__ import annotations

import awkward as ak
import numpy as np
from hist import Hist

from analysis.config import ControlBinnings
from analysis.datasets.sample import CHANNELS
from analysis.histograms import Numbered, book_control
from analysis.selection.channels import NO_CHANNEL
from analysis.selection.kernels import Ints, JetSums, good_jets
from analysis.selection.objects import Jets, Leptons
from analysis.selection.variations import Weights

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
    channel: Ints,
    weight: Weights,
) -> dict[str, Hist]:
    """Name -> histogram of (value, channel, process); one entry an event, for `jet_pt` one a jet.

    `channel` is that of each event with enough jets, by number; jets and sums are unshifted.
    """
    chosen = np.flatnonzero(channel != NO_CHANNEL)
    pt = jets.pts[0]
    places, rows = good_jets(jets.offsets, chosen, pt, jets.acceptable, jets.min_pt)
    every = slice(None)
    values = {
        "lepton_pt": (leptons.only("pt", chosen), every),
        "lepton_eta": (leptons.only("eta", chosen), every),
        "jet_pt": (pt[places], rows),
        "n_jets": (sums.n_jets[0, chosen], every),
        "n_btags": (sums.n_btags[0, chosen], every),
        "met": (np.asarray(events.met.pt)[chosen], every),
        "n_vertices": (np.asarray(events.PV.npvs)[chosen], every),
    }
    booked = {}
    for name, (filled, of_event) in values.items():
        booked[name] = book_control(getattr(config, name), LABELS[name], list(CHANNELS), process)
        with Numbered(booked[name]) as histogram:
            histogram.fill(
                value=filled,
                channel=channel[chosen][of_event],
                process=0,
                weight=weight[chosen][of_event],
            )
    return booked
