"""What varies and how: shifts of the jets, weights of the events.

Alternative samples (scale, matrix element, parton shower) vary by being other datasets; they fill
under their own variation, without shifts and weights.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from analysis.config import Variations
from analysis.datasets.sample import SampleInfo
from analysis.selection.kernels import Ints

Weights = NDArray[np.float64]

UNSHIFTED_PT = "corrpt"

JET_SHIFTS = {
    "pt_scale_up": "corrptUp",
    "pt_scale_down": "corrptDown",
    "pt_res_up": "corrptSmearUp",
    "pt_res_down": "corrptSmearDown",
}
"""Variation -> column of the shifted jet pT: energy scale and resolution."""

BTAG_SF_COLUMNS = {"up": "WeightUp", "down": "WeightDn"}

_DIRECTIONS = {"up": 1.0, "down": -1.0}


def jet_shifts(sample: SampleInfo, config: Variations) -> dict[str, str]:
    """Variation -> column of the shifted jet pT."""
    return JET_SHIFTS if sample.is_varied and config.jet_energy else {}


class Selected(NamedTuple):
    """The events of a region, as a weight variation sees them."""

    events: ak.Array
    """All events of the chunk."""
    rows: Ints
    """Those in the region."""
    weight: Weights
    """Their nominal weights."""
    leading_pt: Weights
    """pT in GeV of their leading jets, descending; shape (len(rows), n)."""


WEIGHTS: dict[str, Callable[[Selected], Weights]] = {}
"""Variation -> weights of the selected events: more of them, for every nominal sample of simulation."""


def weight_variations(
    sample: SampleInfo, config: Variations
) -> dict[str, Callable[[Selected], Weights]]:
    """Variation -> the weights of the selected events under it."""
    if not sample.is_varied:
        return {}
    table: dict[str, Callable[[Selected], Weights]] = {}
    for jet in range(config.btag_jets):
        for direction, sign in _DIRECTIONS.items():
            slope = sign * config.btag_slope / config.btag_reference_pt
            table[f"btag_var_{jet}_{direction}"] = partial(_btag_weight, jet=jet, slope=slope)
    if uncertainty := config.scale_uncertainty.get(sample.process, 0.0):
        for direction, sign in _DIRECTIONS.items():
            factor = 1.0 + sign * uncertainty
            table[f"scale_var_{direction}"] = partial(_scaled_weight, factor=factor)
    if config.btag_scale_factors:
        for direction, column in BTAG_SF_COLUMNS.items():
            table[f"btag_sf_{direction}"] = partial(_btag_scale_factor, column=column)
    return table | WEIGHTS


def variations(sample: SampleInfo, config: Variations) -> list[str]:
    """Every variation that the sample fills, its own first."""
    shifts, weights = jet_shifts(sample, config), weight_variations(sample, config)
    return [sample.variation, *shifts, *weights]


def source(variation: str) -> str:
    """The name of a variation without its direction: `pt_scale` of `pt_scale_up`."""
    return variation.removesuffix("up").removesuffix("down").rstrip("_")


def columns(sample: SampleInfo, config: Variations) -> frozenset[str]:
    """The columns that shifts and weights read."""
    names = {f"jet.{column}" for column in jet_shifts(sample, config).values()}
    if sample.is_simulation and config.btag_scale_factors:
        names.add("btag.Weight")
        if sample.is_varied:
            names |= {f"btag.{column}" for column in BTAG_SF_COLUMNS.values()}
    return frozenset(names)


def nominal_weight(events: ak.Array, sample: SampleInfo, config: Variations) -> Weights:
    """Weight of each event before any variation."""
    if sample.is_simulation and config.btag_scale_factors:
        return np.asarray(events.btag.Weight, dtype=np.float64)
    return np.ones(len(events))


def _btag_weight(selected: Selected, jet: int, slope: float) -> Weights:
    """1 + slope × pT of the jet, as in the Analysis Grand Challenge (slope in 1/GeV)."""
    return selected.weight * (1.0 + slope * selected.leading_pt[:, jet])


def _scaled_weight(selected: Selected, factor: float) -> Weights:
    return selected.weight * factor


def _btag_scale_factor(selected: Selected, column: str) -> Weights:
    return np.asarray(selected.events.btag[column], dtype=np.float64)[selected.rows]
