"""The processes of the analysis: their names in catalogues and histograms, and how figures show them."""

from __future__ import annotations

DATA = "data"

PROCESS_LABELS = {
    DATA: "Data",
    "ttbar": r"$t\bar{t}$",
    "wjets": "W+jets",
    "single_top_t_chan": "single top, t-channel",
    "single_atop_t_chan": "single antitop, t-channel",
    "single_top_tW": "tW",
    "qcd": "QCD multijet",
}
"""The processes that a catalogue need not declare, in the order in which figures list them."""
