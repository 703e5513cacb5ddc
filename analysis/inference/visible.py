"""The visible cross section: of what the selection takes, without the extrapolation to what it does not.

The ntuples have no particles of the generator, so that it is defined by the selection of reconstructed objects: the
strength × what the signal was scaled to × the selected part of it, which the parameters of acceptance change. What they
add to the error of the full cross section is its extrapolation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from analysis.inference.config import ACCEPTANCE
from analysis.inference.fit import BestFit
from analysis.inference.likelihood import Array

_STEP = 1e-2
"""Part of a parameter's error in which a derivative is taken."""


class Visible(NamedTuple):
    """The visible cross section in pb, and its derivatives by the parameters."""

    value: float
    reference: float
    """At a strength of 1, by nominal simulation."""
    slopes: Array
    """Shape (parameters,)."""


def visible(best: BestFit, luminosity_ipb: Mapping[str, float]) -> Visible | None:
    """Compute the signal in all bins over the luminosity of each, from a fit.

    None without a parameter of acceptance, and where the luminosity of a channel is not known.
    """
    likelihood, poi = best.likelihood, best.likelihood.poi
    moved = [i for i, name in enumerate(likelihood.names) if name.endswith(ACCEPTANCE)]
    per_ipb = _per_ipb(best, luminosity_ipb)
    if not moved or per_ipb is None:
        return None

    def cross_section(values: Array) -> float:
        at = likelihood.initial.copy()
        at[moved] = values[moved]
        at[poi] = 0.0
        background = likelihood.expected(at)
        at[poi] = values[poi]
        return float((likelihood.expected(at) - background) @ per_ipb)

    slopes = np.zeros(len(likelihood.names))
    for index in (poi, *moved):
        step = np.zeros_like(slopes)
        step[index] = _STEP * best.errors[index]
        if step[index] > 0:
            rise = cross_section(best.values + step) - cross_section(best.values - step)
            slopes[index] = rise / (2 * step[index])
    nominal = likelihood.initial.copy()
    nominal[poi] = 1.0
    return Visible(cross_section(best.values), cross_section(nominal), slopes)


def _per_ipb(best: BestFit, luminosity_ipb: Mapping[str, float]) -> Array | None:
    """1 / luminosity of each bin."""
    config = best.likelihood.model.config
    found = np.zeros(best.likelihood.main.size)
    same = set(luminosity_ipb.values())
    for channel, place in config.channel_slices.items():
        of_lepton = [x for name, x in luminosity_ipb.items() if channel.endswith(f"_{name}")]
        if not of_lepton and len(same) != 1:
            return None
        found[place] = 1 / (of_lepton or list(same))[0]
    return found
