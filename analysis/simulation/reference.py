"""CMS full-simulation templates of 2015 that the simulation is compared with: `reference.json`.

The jets' four-momentum there mixes raw pT with corrected energy, so that the trijet mass has to be built
the same way here.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from analysis.common.errors import SimulationError
from analysis.common.strict import Strict, read_json

Counts = tuple[float, ...]


class Reference(Strict):
    """Templates, and what they are of."""

    description: str
    luminosity_ipb: float
    edges_gev: Counts
    preselection_efficiency: dict[str, float]
    """Dataset or process -> events in the CMS skim over generated events."""
    templates: dict[str, dict[str, Counts]]
    """Region -> dataset or process -> events in each bin."""


@cache
def reference() -> Reference:
    """Read the templates."""
    path = Path(__file__).with_name("reference.json")
    return read_json(path, Reference, "reference", SimulationError)
