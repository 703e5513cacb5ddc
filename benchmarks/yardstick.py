"""The yardstick of the speed benchmark: the same observable with awkward arrays alone.

Straightforward code in the way of the workshop's lesson: every jet shift selects anew, the top candidate
is found among `ak.combinations`, every variation is filled by name. It has no control histograms and no
multijet plane.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import awkward as ak
import numpy as np
from coffea.processor import ProcessorABC

from analysis import histograms
from analysis.config import AnalysisConfig
from analysis.datasets.sample import FLAVOURS
from analysis.processor import TtbarAnalysis

REGIONS = ("4j1b", "4j2b")
JET_PT = {
    "nominal": "corrpt",
    "pt_scale_up": "corrptUp",
    "pt_scale_down": "corrptDown",
    "pt_res_up": "corrptSmearUp",
    "pt_res_down": "corrptSmearDown",
}
"""Variation -> column of the jets' pT."""


class Yardstick(ProcessorABC):
    """The observable of simulation under the default configuration, as TtbarAnalysis gives it."""

    def __init__(self) -> None:
        self.config = AnalysisConfig.model_validate(
            {"control": {"enabled": False}, "multijet": {"enabled": False}}
        )

    def process(self, events: ak.Array) -> dict[str, Any]:
        process = events.metadata["process"]
        weights = [f"btag_var_{i}_{side}" for i in range(4) for side in ("up", "down")]
        observable = histograms.book_observable(
            self.config.observable, list(REGIONS), process, [*JET_PT, *weights], list(FLAVOURS)
        )
        for variation, column in JET_PT.items():
            self._one_shift(events, process, variation, column, observable)
        return {
            events.metadata["dataset"]: {
                "observable": observable,
                "observables": {},
                "control": {},
                "multijet": {},
                "cutflow": {},
                "counts": {"events": len(events), "sum_of_weights": float(len(events))},
            }
        }

    def _one_shift(
        self, events: ak.Array, process: str, variation: str, column: str, observable: Any
    ) -> None:
        electrons, muons, jets = events.electron, events.muon, events.jet
        electrons = electrons[_good_lepton(electrons)]
        muons = muons[_good_lepton(muons) & (muons.pfreliso04DBCorr < np.float64(0.15))]
        pt = ak.values_astype(jets[column], np.float64)
        scale = pt / ak.values_astype(jets.corrpt, np.float64)
        jets = ak.zip(
            {
                "pt": pt,
                "eta": ak.values_astype(jets.eta, np.float64),
                "phi": ak.values_astype(jets.phi, np.float64),
                "mass": ak.values_astype(jets.mass, np.float64) * scale,
                "btag": jets.btag,
            },
            with_name="PtEtaPhiMLorentzVector",
            behavior=events.jet.behavior,
        )
        jets = jets[(jets.pt > 30) & (abs(jets.eta) < 2.4)]
        n_electrons, n_muons = ak.num(electrons), ak.num(muons)
        for channel, one, none in (
            ("electron", n_electrons, n_muons),
            ("muon", n_muons, n_electrons),
        ):
            selected = (one == 1) & (none == 0) & (ak.num(jets) >= 4)
            n_tags = ak.sum(jets.btag >= np.float64(0.8), axis=1)
            for region, in_region in (("4j1b", n_tags == 1), ("4j2b", n_tags >= 2)):
                chosen = jets[selected & in_region]
                values = ak.sum(chosen.pt, axis=1) if region == "4j1b" else _top_mass(chosen)
                where = {"region": region, "process": process, "channel": channel}
                observable.fill(
                    observable=values, variation=variation, weight=np.ones(len(values)), **where
                )
                if variation != "nominal":
                    continue
                leading = ak.sort(chosen.pt, axis=1, ascending=False)
                for i in range(4):
                    for side, sign in (("up", 1), ("down", -1)):
                        observable.fill(
                            observable=values,
                            variation=f"btag_var_{i}_{side}",
                            weight=1 + sign * 0.075 / 50 * leading[:, i],
                            **where,
                        )

    def postprocess(self, accumulator: Any) -> Any:
        return accumulator

    def columns(self, metadata: Mapping[str, Any]) -> frozenset[str]:
        return TtbarAnalysis(self.config).columns(metadata)


def _good_lepton(leptons: ak.Array) -> ak.Array:
    return (
        (leptons.pt > 30)
        & (abs(leptons.eta) < np.float64(2.1))
        & (leptons.isTight == 1)
        & (leptons.sip3d < 4)
    )


def _top_mass(jets: ak.Array) -> ak.Array:
    triples = ak.combinations(jets, 3, fields=["a", "b", "c"])
    tagged = np.maximum(np.maximum(triples.a.btag, triples.b.btag), triples.c.btag)
    triples = triples[tagged >= np.float64(0.8)]
    total = triples.a + triples.b + triples.c
    return ak.flatten(total[ak.argmax(total.pt, axis=1, keepdims=True)].mass)
