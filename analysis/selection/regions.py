"""The regions: which events are in them, and which observable they are histogrammed by."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.selection.kernels import Bools, JetSums, top_candidate_masses
from analysis.selection.objects import Jets


class Region(NamedTuple):
    """An event is in the region where `contains` is true; `observable` is in GeV."""

    contains: Callable[[JetSums], Bools]
    observable: Callable[[Jets, JetSums, Bools], NDArray[np.float64]]
    """Of the events of a mask of shape (shifts, events): flat, shift by shift."""
    axis_label: str
    """Of the observable, for figures."""
    tags: str
    """The b tags that it asks for, for figures."""


def _ht(jets: Jets, sums: JetSums, wanted: Bools) -> NDArray[np.float64]:  # noqa: ARG001
    return sums.ht[wanted]


def _top_mass(jets: Jets, sums: JetSums, wanted: Bools) -> NDArray[np.float64]:  # noqa: ARG001
    masses = top_candidate_masses(
        jets.offsets, wanted, jets.pts, jets.eta, jets.phi, jets.mass, jets.acceptable,
        jets.btagged, jets.min_pt,
    )  # fmt: skip
    selected: NDArray[np.float64] = masses[wanted]
    return selected


REGIONS = {
    "4j1b": Region(lambda sums: sums.n_btags == 1, _ht, r"$H_T$ [GeV]", "1 b tag"),
    "4j2b": Region(
        lambda sums: sums.n_btags >= 2,
        _top_mass,
        r"$m_{bjj}$ [GeV]",
        r"$\geq$ 2 b tags",
    ),
}
"""All of them besides have at least `config.regions.min_jets` good jets."""
