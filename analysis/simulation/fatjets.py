"""AK8 jets with their substructure: anti-kT with R = 0.8, soft-drop mass, N-subjettiness."""

from __future__ import annotations

from typing import TYPE_CHECKING

import awkward as ak
import numpy as np

if TYPE_CHECKING:
    from analysis.simulation.config import FatJetConfig

SUBJETS = (1, 2, 3)
WHOLE_JET = 10.0
"""A radius that no jet reaches: the constituents of one jet are clustered into one again."""


def fat_jets(particles: ak.Array, config: FatJetConfig) -> ak.Array:
    """Cluster the jets of `particles` (px, py, pz, E of each event), hardest first.

    pt, eta, phi, mass, `softdropmass` (arXiv:1402.2657) in GeV, `tau1` to `tau3` (arXiv:1011.2268).
    """
    import fastjet

    # Half the threshold: as for the small jets, resolution lifts jets over it.
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, config.radius)
    sequence = fastjet.ClusterSequence(particles, definition)
    jets = sequence.inclusive_jets(min_pt=config.min_pt / 2)
    constituents = ak.flatten(sequence.constituents(min_pt=config.min_pt / 2), axis=1)
    pt = np.hypot(jets.px, jets.py)
    columns = {
        "pt": pt,
        "eta": np.arcsinh(jets.pz / pt),
        "phi": np.arctan2(jets.py, jets.px),
        "mass": np.sqrt(np.maximum(jets.E**2 - pt**2 - jets.pz**2, 0.0)),
    }
    counts = ak.num(jets)
    substructure = _substructure(constituents, config)
    columns |= {name: ak.unflatten(values, counts) for name, values in substructure.items()}
    result = ak.zip(columns)
    return result[ak.argsort(result.pt, ascending=False)]


def _substructure(constituents: ak.Array, config: FatJetConfig) -> dict[str, ak.Array]:
    """Compute one value for each jet from its `constituents`."""
    import fastjet

    names = ["softdropmass", *(f"tau{n}" for n in SUBJETS)]
    if len(constituents) == 0:
        return {name: np.zeros(0) for name in names}
    whole = fastjet.JetDefinition(fastjet.cambridge_algorithm, WHOLE_JET)
    sequence = fastjet.ClusterSequence(constituents, whole)
    groomed = sequence.exclusive_jets_softdrop_grooming(
        njets=1, beta=config.softdrop_beta, symmetry_cut=config.softdrop_cut, R0=config.radius
    )
    taus = ak.to_numpy(sequence.njettiness(njets=list(SUBJETS), R0=config.radius))
    return dict(zip(names, [groomed.msoftdrop, *taus.T], strict=True))
