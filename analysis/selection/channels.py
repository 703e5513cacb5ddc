"""The channels: events with exactly one good lepton, an electron or a muon, and its trigger."""

from __future__ import annotations

import awkward as ak
import numpy as np

from analysis.config import Trigger
from analysis.datasets.sample import CHANNELS, SampleInfo
from analysis.selection.kernels import Bools, Ints
from analysis.selection.objects import Leptons

Channels = dict[str, Bools]
"""Channel -> mask of events; no event is in two."""

NO_CHANNEL = -1

TRIGGERS = {
    "electron": ("Ele22_eta2p1_WPLoose_Gsf",),
    "muon": ("IsoMu20", "IsoTkMu20"),
}
"""Channel -> the trigger bits of which one must have fired."""


def one_lepton(leptons: Leptons) -> Channels:
    """Events with exactly one good lepton in total, by its flavour."""
    n_electrons, n_muons = leptons.electrons.counts, leptons.muons.counts
    return {
        "electron": (n_electrons == 1) & (n_muons == 0),
        "muon": (n_muons == 1) & (n_electrons == 0),
    }


def triggered(
    one_lepton: Channels, events: ak.Array, sample: SampleInfo, config: Trigger
) -> Channels:
    """Those of `one_lepton` that the sample may provide, with the trigger of their channel if needed.

    An event that is in both collision streams has one channel, and so counts once.
    """
    provided = {
        channel: mask if sample.channel in (None, channel) else np.zeros_like(mask)
        for channel, mask in one_lepton.items()
    }
    if not _needs_trigger(sample, config):
        return provided
    return {channel: mask & _fired(events, channel) for channel, mask in provided.items()}


def numbers(channels: Channels) -> Ints:
    """Place of each event's channel among `CHANNELS`, `NO_CHANNEL` where it is in none."""
    number = np.full(len(next(iter(channels.values()))), NO_CHANNEL)
    for channel, mask in channels.items():
        number[mask] = CHANNELS.index(channel)
    return number


def columns(sample: SampleInfo, config: Trigger) -> frozenset[str]:
    """The trigger bits that `triggered` reads."""
    if not _needs_trigger(sample, config):
        return frozenset()
    return frozenset(f"trig.{bit}" for bits in TRIGGERS.values() for bit in bits)


def _needs_trigger(sample: SampleInfo, config: Trigger) -> bool:
    return not sample.is_simulation or config.simulation == "channel"


def _fired(events: ak.Array, channel: str) -> Bools:
    bits = [np.asarray(events.trig[bit]) != 0 for bit in TRIGGERS[channel]]
    return np.asarray(np.logical_or.reduce(bits))
