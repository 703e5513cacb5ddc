"""The yardstick of NanoAOD: the Analysis Grand Challenge's v2 selection with coffea and awkward alone.

It does what the Grand Challenge's processor does, in the same order: events of coffea's `NanoAODSchema`, the
whole selection anew for each variation, also where only weights vary, and histograms filled by name. Its
weights are computed in place of being looked up, and events are not scaled.
"""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
from coffea.processor import ProcessorABC
from hist import Hist

SCALE, RESOLUTION, TAG = 1.03, 0.05, 0.5
B_TAG_SLOPE, W_SCALE = 0.075 / 50, 0.025
REGIONS = ("4j1b", "4j2b")


class AgcYardstick(ProcessorABC):
    """Observables of both regions under all variations of a nominal sample, by name of the region."""

    def process(self, events: ak.Array) -> dict[str, Hist]:
        process = events.metadata["process"]
        shifts = ["nominal", "pt_scale_up", "pt_res_up"]
        weights = [f"btag_var_{i}" for i in range(4)]
        if process == "wjets":
            weights.append("scale_var")
        booked = {
            region: Hist.new.Reg(25, 50, 550, name="observable")
            .StrCat([], name="process", growth=True)
            .StrCat([], name="variation", growth=True)
            .Weight()
            for region in REGIONS
        }
        counts = ak.num(events.Jet.pt)
        draws = np.random.default_rng(1).normal(1.0, RESOLUTION, int(ak.sum(counts)))
        factors = {"pt_scale_up": SCALE, "pt_res_up": ak.unflatten(draws, counts)}
        for variation in [*shifts, *weights]:
            self._one_variation(events, process, variation, factors, booked)
        return booked

    def _one_variation(
        self,
        events: ak.Array,
        process: str,
        variation: str,
        factors: dict[str, Any],
        booked: dict[str, Hist],
    ) -> None:
        electrons, muons, jets = events.Electron, events.Muon, events.Jet
        if variation in factors:
            jets = ak.with_field(jets, jets.pt * factors[variation], "pt")
        electrons = electrons[
            (electrons.pt > 30)
            & (np.abs(electrons.eta) < 2.1)
            & (electrons.cutBased == 4)
            & (electrons.sip3d < 4)
        ]
        muons = muons[
            (muons.pt > 30)
            & (np.abs(muons.eta) < 2.1)
            & muons.tightId
            & (muons.sip3d < 4)
            & (muons.pfRelIso04_all < 0.15)
        ]
        jets = jets[(jets.pt > 30) & (np.abs(jets.eta) < 2.4) & jets.isTightLeptonVeto]
        one_lepton = ak.num(electrons) + ak.num(muons) == 1
        tags = ak.sum(jets.btagCSVV2 > TAG, axis=1)
        enough = one_lepton & (ak.num(jets) >= 4)
        for region, chosen in (("4j1b", enough & (tags == 1)), ("4j2b", enough & (tags >= 2))):
            kept = jets[chosen]
            values = ak.sum(kept.pt, axis=-1) if region == "4j1b" else _trijet_mass(kept)
            fill = booked[region].fill
            if variation.startswith("btag_var"):
                slope = B_TAG_SLOPE * kept.pt[:, int(variation[-1])]
                for direction, weight in (("up", 1 + slope), ("down", 1 - slope)):
                    fill(
                        observable=values,
                        process=process,
                        variation=f"{variation}_{direction}",
                        weight=weight,
                    )
            elif variation == "scale_var":
                for direction, weight in (("up", 1 + W_SCALE), ("down", 1 - W_SCALE)):
                    fill(
                        observable=values,
                        process=process,
                        variation=f"{variation}_{direction}",
                        weight=np.full(len(values), weight),
                    )
            else:
                fill(observable=values, process=process, variation=variation)

    def postprocess(self, accumulator: Any) -> Any:
        return accumulator


def _trijet_mass(jets: ak.Array) -> ak.Array:
    trijets = ak.combinations(jets, 3, fields=["a", "b", "c"])
    tag = np.maximum(np.maximum(trijets.a.btagCSVV2, trijets.b.btagCSVV2), trijets.c.btagCSVV2)
    trijets = trijets[tag > TAG]
    total = trijets.a + trijets.b + trijets.c
    return ak.flatten(total[ak.argmax(total.pt, axis=1, keepdims=True)].mass)
