"""Pseudo-data: independent sets of every process, mixed and thinned to one luminosity.

The number of events that happened is drawn from a Poisson distribution; so many of the generated
ones, picked at random and each once at most, are the data. Truth is taken out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.simulation import layout
from analysis.simulation.errors import SimulationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.simulation.layout import Columns
    from analysis.simulation.production import Dataset


def expected_weight(dataset: Dataset, luminosity_ipb: float, strength: float = 1.0) -> float:
    """Events at `luminosity_ipb` per generated event; `strength` multiplies the cross section."""
    cross_section = dataset.cross_section_pb * dataset.k_factor * strength
    return luminosity_ipb * cross_section * dataset.filter_efficiency / dataset.sum_of_weights


def mix(
    parts: Sequence[tuple[Dataset, Columns, float]], luminosity_ipb: float, seed: int
) -> tuple[Columns, dict[str, int]]:
    """Mix (dataset, its events, signal strength) to `luminosity_ipb`; events and counts drawn.

    Raises SimulationError where a dataset has too few generated events.
    """
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, len(parts)])))
    chosen: list[Columns] = []
    drawn: dict[str, int] = {}
    for dataset, columns, strength in parts:
        weight = expected_weight(dataset, luminosity_ipb, strength)
        happened = int(rng.poisson(weight * dataset.sum_of_weights))
        if happened > dataset.sum_of_weights:
            msg = (
                f"{dataset.process.name}: {dataset.sum_of_weights} generated events are too few for "
                f"{luminosity_ipb:g} /pb, {happened} are needed"
            )
            raise SimulationError(msg)
        # Without replacement: which of the generated events happened.
        keep = rng.choice(dataset.sum_of_weights, happened, replace=False) < layout.size(columns)
        count = int(np.count_nonzero(keep))
        chosen.append(layout.select(columns, rng.permutation(layout.size(columns))[:count]))
        drawn[dataset.process.name] = drawn.get(dataset.process.name, 0) + count
    events = layout.concatenate(chosen)
    order = rng.permutation(layout.size(events))
    return layout.as_collisions(layout.select(events, order)), drawn
