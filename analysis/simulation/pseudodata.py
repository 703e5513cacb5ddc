"""Pseudo-data: independent sets of every process, mixed and thinned to one luminosity.

The number of events that happened is drawn from a Poisson distribution; so many of the generated
ones, picked at random and each once at most, are the data. Truth is taken out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.common.errors import SimulationError
from analysis.datasets import ntuples
from analysis.postprocess.normalisation import scale_factor
from analysis.simulation import layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.datasets.ntuples import Columns
    from analysis.simulation.production import Dataset


def mix(
    parts: Sequence[tuple[Dataset, Columns, float]], luminosity_ipb: float, seed: int
) -> tuple[Columns, dict[str, int]]:
    """Mix (dataset, its events, signal strength) to `luminosity_ipb`; return the events and the counts drawn.

    Raises SimulationError where a dataset has too few generated events.
    """
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, len(parts)])))
    chosen: list[Columns] = []
    drawn: dict[str, int] = {}
    for dataset, columns, strength in parts:
        weight = scale_factor(
            sum_of_weights=dataset.sum_of_weights,
            cross_section_pb=dataset.cross_section_pb * strength,
            luminosity_ipb=luminosity_ipb,
            filter_efficiency=dataset.filter_efficiency,
            k_factor=dataset.k_factor,
        )
        happened = int(rng.poisson(weight * dataset.sum_of_weights))
        if happened > dataset.sum_of_weights:
            msg = (
                f"{dataset.process.name}: {dataset.sum_of_weights} generated events are too few for "
                f"{luminosity_ipb:g} /pb, {happened} are needed"
            )
            raise SimulationError(msg)
        # Without replacement: which of the generated events happened.
        keep = rng.choice(dataset.sum_of_weights, happened, replace=False) < ntuples.size(columns)
        count = int(np.count_nonzero(keep))
        chosen.append(ntuples.select(columns, rng.permutation(ntuples.size(columns))[:count]))
        drawn[dataset.process.name] = drawn.get(dataset.process.name, 0) + count
    events = ntuples.concatenate(chosen)
    order = rng.permutation(ntuples.size(events))
    return layout.as_collisions(ntuples.select(events, order)), drawn
