"""Fill the invariant mass of muon pairs, for the estimate of a background from sidebands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import awkward as ak
import hist
import numpy as np
from coffea.processor import column_accumulator
from hist import Hist
from numpy.typing import NDArray

from analysis.common.errors import AnalysisError
from analysis.config import Binning, Configuration
from analysis.datasets.sample import SampleInfo
from analysis.execution.processor import CatalogueProcessor
from schemas import MuonTreeSchema

COLUMNS = frozenset(f"muon.{field}" for field in ("pt", "eta", "phi", "mass", "charge"))

Output = dict[str, Any]


class DimuonError(AnalysisError):
    """Muons that give no invariant mass."""


class DimuonConfig(Configuration):
    """Settings of the invariant mass of muon pairs."""

    mass: Binning = Binning(bins=13_000, low=0, high=130)
    """Binning in GeV: 10 MeV, finer than the resolution, with the usual regions on edges."""
    any_charge: bool = False
    """Whether pairs of the same charge, which no resonance makes, count too."""


def muon_pairs(muons: ak.Array) -> ak.Array:
    """Select the events with exactly two muons; `muons` by event."""
    return ak.num(muons.charge) == 2


def opposite_sign(muons: ak.Array) -> ak.Array:
    """Select the events with exactly two muons, of opposite charge; `muons` by event."""
    return muon_pairs(muons) & (ak.prod(muons.charge, axis=1) < 0)


def pair_mass(pairs: ak.Array) -> NDArray[np.floating[Any]]:
    """Compute the invariant mass in GeV of the first two four-vectors of each event, as `mass_of`."""
    return mass_of(pairs[:, 0] + pairs[:, 1])


def mass_of(vectors: ak.Array) -> NDArray[np.floating[Any]]:
    """Compute the mass in GeV of one four-vector an event.

    Raises DimuonError if a mass is not finite.
    """
    mass: NDArray[np.floating[Any]] = ak.to_numpy(vectors.mass)
    bad = int(np.sum(~np.isfinite(mass)))
    if bad:
        msg = f"the mass of {bad} of {len(mass)} muon pairs is not finite"
        raise DimuonError(msg)
    return mass


class DimuonAnalysis(CatalogueProcessor):
    """Fill the mass of events with exactly two muons, of opposite charge unless configured otherwise;
    every event counts one.

    `process` returns `{dataset: {"observable": Hist, "control": {}, "cutflow": ..., "counts": ...}}`
    as TtbarAnalysis does; the histogram has the axes `mass` (GeV) and `process`. With `keep_masses`
    the masses themselves come as `masses` too, for unbinned fits. The events need the event model of
    `schemas.MuonTreeSchema` and the metadata `process`.
    """

    schema = MuonTreeSchema
    config: DimuonConfig

    def __init__(self, config: DimuonConfig | None = None, *, keep_masses: bool = False) -> None:
        self.config = config or DimuonConfig()
        self.keep_masses = keep_masses

    def process(self, events: ak.Array) -> Output:
        sample = SampleInfo.from_metadata(events.metadata)
        steps = {"two muons": muon_pairs(events.muon)}
        if not self.config.any_charge:
            steps["opposite charge"] = opposite_sign(events.muon)
        (*_, selected) = steps.values()
        observable = self._booked(sample.process)
        mass = pair_mass(events.muon[selected])
        observable.fill(mass=mass, process=sample.process)
        counts = {name: int(np.sum(mask)) for name, mask in steps.items()}
        flow = {name: {"events": n, "weighted": float(n)} for name, n in counts.items()}
        output: Output = {
            "observable": observable,
            "control": {},
            "cutflow": {"dimuon": flow},
            "counts": {"events": len(events), "sum_of_weights": float(len(events))},
        }
        if self.keep_masses:
            output["masses"] = column_accumulator(mass)
        return {events.metadata.get("dataset", sample.process): output}

    def columns(self, metadata: Mapping[str, Any]) -> frozenset[str]:  # noqa: ARG002
        """Return the columns of the event model that `process` reads, the same for every dataset."""
        return COLUMNS

    def _booked(self, process: str) -> Hist:
        binning = self.config.mass
        return Hist(
            hist.axis.Regular(
                binning.bins, binning.low, binning.high, name="mass", label="Dimuon mass [GeV]"
            ),
            hist.axis.StrCategory([process], name="process", label="Process", growth=True),
            storage=hist.storage.Weight(),
        )
