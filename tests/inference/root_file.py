"""A small ROOT file of templates, named as the project and the lesson name them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hist
import numpy as np
import uproot
from hist import Hist
from numpy.typing import NDArray

EDGES = np.linspace(50, 550, 26)
"""The histograms' bins; those of the model are two of them each, from 110."""

TTBAR = np.linspace(900, 200, 25)
WJETS = np.linspace(300, 100, 25)


def histogram(values: Any, variance_factor: float = 0.5) -> Hist:
    made = Hist(
        hist.axis.Variable(EDGES, name="x", label="observable [GeV]"), storage=hist.storage.Weight()
    )
    made.view().value = values
    made.view().variance = variance_factor * np.abs(values)
    return made


def contents() -> dict[str, NDArray[np.float64]]:
    """Name -> values of a sound file: two regions, a signal, a background, data."""
    tilt = np.linspace(0.9, 1.1, 25)
    found: dict[str, NDArray[np.float64]] = {}
    for region, factor in (("4j1b", 1.0), ("4j2b", 0.5)):
        for name, values in {
            "ttbar": TTBAR,
            "ttbar_ME_var": 1.1 * TTBAR,
            "ttbar_PS_var": TTBAR * tilt[::-1],
            "ttbar_pt_scale_up": TTBAR * tilt,
            "ttbar_pt_scale_down": TTBAR / tilt,
            "wjets": WJETS,
            "wjets_pt_scale_up": 1.05 * WJETS,
            "wjets_pt_scale_down": 0.96 * WJETS,
            "data": np.round(1.1 * TTBAR + WJETS),
        }.items():
            found[f"{region}_{name}"] = factor * values
    return found


def write(path: Path, values: dict[str, Any]) -> Path:
    with uproot.recreate(path) as file:
        for name, bins in values.items():
            file[name] = histogram(bins)
    return path
