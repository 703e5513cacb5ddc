"""The (isolation, m_T) plane of muons, from which the multijet background is estimated (ABCD).

Its events have exactly one muon that passes all cuts but isolation, no good electron, the muon
trigger, and enough jets. So the isolated ones are events of the muon channel, less those with a second
muon that is not isolated.
"""

from __future__ import annotations

from typing import NamedTuple

import awkward as ak
import numpy as np
from hist import Hist

from analysis.config import AnalysisConfig, Trigger
from analysis.datasets.sample import NOMINAL, SampleInfo
from analysis.histograms import book_observable, book_plane
from analysis.selection import channels
from analysis.selection.kernels import Bools, Floats, JetSums
from analysis.selection.objects import Jets, Leptons, read_jets
from analysis.selection.regions import REGIONS
from analysis.selection.variations import UNSHIFTED_PT, Weights

CHANNEL = "muon"
PLANE = "plane"
CONTROL_SHAPE = "observable"

COLUMNS = frozenset({"muon.phi", "met.pt", "met.phi"}) | {
    f"trig.{bit}" for bit in channels.TRIGGERS[CHANNEL]
}
"""Columns that the plane reads besides those of the selection."""

_TRIGGER = Trigger(simulation="channel")
"""Simulation needs the muon trigger here whatever the configuration says: it asks for isolation, and
without it a tenth of the non-isolated prompt muons would be events that data do not have."""


def histograms(
    config: AnalysisConfig,
    sample: SampleInfo,
    events: ak.Array,
    leptons: Leptons,
    jets: Jets,
    weight: Weights,
) -> dict[str, Hist]:
    """By region and process: `plane`, (isolation, m_T), and the `observable` of the muons that are not
    isolated, at any m_T, which has the shape of the background. `jets` are those without a shift.
    """
    plane = book_plane(
        config.multijet.isolation,
        config.multijet.transverse_mass,
        list(REGIONS),
        CHANNEL,
        sample.process,
    )
    shape = book_observable(config.observable, list(REGIONS), sample.process, [NOMINAL], [CHANNEL])
    muons = leptons.loose_muons
    jets, sums, contained = _select(config, sample, events, leptons, jets)
    for name, region in REGIONS.items():
        index = np.flatnonzero(contained[name][0])
        # Not negative by its definition; an event below the axis would be lost from every region.
        isolation = np.maximum(muons.of_first("pfreliso04DBCorr", index), 0.0)
        plane.fill(
            isolation=isolation,
            transverse_mass=transverse_mass(
                muons.of_first("pt", index),
                muons.of_first("phi", index),
                np.asarray(events.met.pt)[index],
                np.asarray(events.met.phi)[index],
            ),
            region=name,
            channel=CHANNEL,
            process=sample.process,
            weight=weight[index],
        )
        control = index[isolation >= config.multijet.min_control_isolation]
        in_control = np.zeros_like(contained[name])
        in_control[:, control] = True
        shape.fill(
            observable=region.observable(jets, sums, in_control),
            region=name,
            process=sample.process,
            variation=NOMINAL,
            channel=CHANNEL,
            weight=weight[control],
        )
    return {PLANE: plane, CONTROL_SHAPE: shape}


def used_events(
    config: AnalysisConfig, sample: SampleInfo, events: ak.Array, leptons: Leptons, jets: Jets
) -> Bools:
    """Mask of the events that `histograms` fills."""
    contained = _select(config, sample, events, leptons, jets).contained
    used: Bools = np.logical_or.reduce(list(contained.values()))[0]
    return used


class _Selected(NamedTuple):
    jets: Jets
    sums: JetSums
    contained: dict[str, Bools]
    """Region -> mask of shape (1, events)."""


def _select(
    config: AnalysisConfig, sample: SampleInfo, events: ak.Array, leptons: Leptons, jets: Jets
) -> _Selected:
    loose = leptons._replace(muons=leptons.loose_muons)
    one_lepton = {CHANNEL: channels.one_lepton(loose)[CHANNEL]}
    candidates = channels.triggered(one_lepton, events, sample, _TRIGGER)[CHANNEL]
    if config.jet.min_lepton_delta_r > 0:
        # The jets were cleaned of isolated muons only; here the muon is the non-isolated one.
        jets = read_jets(events, config.jet, loose, [UNSHIFTED_PT])
    sums = jets.sums(candidates)
    passing = candidates & (sums.n_jets >= config.regions.min_jets)
    contained = {name: passing & region.contains(sums) for name, region in REGIONS.items()}
    return _Selected(jets, sums, contained)


def transverse_mass(pt: Floats, phi: Floats, met: Floats, met_phi: Floats) -> Floats:
    """√(2 pT pTmiss (1 - cos Δφ)) in GeV, of a lepton and the missing momentum (PDG, kinematics)."""
    cosine = np.cos(phi.astype(np.float64) - met_phi)
    return np.asarray(np.sqrt(2 * pt.astype(np.float64) * met * (1 - cosine)))
