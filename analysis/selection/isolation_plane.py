"""The (isolation, m_T) plane of muons, from which the multijet background is estimated (ABCD).

Its events have exactly one muon that passes all cuts but isolation, no good electron, the muon
trigger, and are in a region. So the isolated ones are events of the muon channel, less those with a
second muon that is not isolated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hist import Hist

from analysis.config import AnalysisConfig, Trigger
from analysis.datasets.sample import NOMINAL
from analysis.histograms import book_observable, book_plane
from analysis.selection.regions import Region
from analysis.selection.selection import Selection, transverse_mass
from analysis.selection.variations import Weights

CHANNEL = "muon"
PLANE = "plane"
CONTROL_SHAPE = "observable"

COLUMNS = frozenset({"muon.phi", "met.pt", "met.phi"})
"""Columns that the plane reads besides those of the selection and the trigger bits."""

TRIGGER = Trigger(simulation="channel")
"""Simulation needs the muon trigger here whatever the configuration says: it asks for isolation, and
without it a tenth of the non-isolated prompt muons would be events that data do not have."""


def histograms(
    config: AnalysisConfig,
    regions: Sequence[Region],
    process: str,
    selection: Selection,
    weight: Weights,
) -> dict[str, Hist]:
    """Fill, by region and process: `plane`, (isolation, m_T), and the `observable` of the muons that are
    not isolated, at any m_T, which has the shape of the background; `observable/{region}` of regions with a
    binning of their own.

    `selection` has the muons that need not be isolated, and unshifted jets.
    """
    names = [region.name for region in regions]
    cuts = config.multijet
    plane = book_plane(cuts.isolation, cuts.transverse_mass, names, CHANNEL, process)
    common = [region.name for region in regions if region.binning is None]
    own = {region.name: region.binning for region in regions if region.binning is not None}
    shapes = {
        f"{CONTROL_SHAPE}/{name}": book_observable(binning, [name], process, [NOMINAL], [CHANNEL])
        for name, binning in own.items()
    }
    if common:
        shapes[CONTROL_SHAPE] = book_observable(
            config.observable, common, process, [NOMINAL], [CHANNEL]
        )
    muons = selection.leptons.muons
    columns = selection.columns.allowing(COLUMNS)
    for region in regions:
        contained = region.contains(selection)
        index = np.flatnonzero(contained[0])
        # Not negative by its definition; an event below the axis would be lost from every region.
        isolation = np.maximum(muons.of_first("pfreliso04DBCorr", index), 0.0)
        where = {"region": region.name, "channel": CHANNEL, "process": process}
        plane.fill(
            isolation=isolation,
            transverse_mass=transverse_mass(
                muons.of_first("pt", index),
                muons.of_first("phi", index),
                columns["met.pt"][index],
                columns["met.phi"][index],
            ),
            weight=weight[index],
            **where,
        )
        control = index[isolation >= cuts.min_control_isolation]
        in_control = np.zeros_like(contained)
        in_control[:, control] = True
        name = f"{CONTROL_SHAPE}/{region.name}" if region.name in own else CONTROL_SHAPE
        shapes[name].fill(
            observable=region.values(selection, in_control),
            variation=NOMINAL,
            weight=weight[control],
            **where,
        )
    return {PLANE: plane, **shapes}
