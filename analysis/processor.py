"""TtbarAnalysis: from events to histograms. Reads like the selection table of the analysis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
from coffea.processor import ProcessorABC
from hist import Hist

from analysis import channels, control, histograms, multijet, objects, systematics
from analysis.channels import Channels
from analysis.config import AnalysisConfig
from analysis.metadata import CHANNELS, SampleInfo
from analysis.objects import JetReader, Jets
from analysis.reconstruction import Ints, JetSums, jet_sums, leading_pt
from analysis.regions import REGIONS
from analysis.systematics import Selected, Weights

Output = dict[str, Any]


class _Shifted(NamedTuple):
    """The selection under one jet shift."""

    jets: Jets
    sums: JetSums
    passing: Channels
    """Events of each channel with enough good jets."""


class TtbarAnalysis(ProcessorABC):
    """The lepton+jets selection with all variations; weighted event counts, nothing is scaled.

    `process` returns `{dataset: {"observable": Hist, "control": {name: Hist},
    "multijet": {name: Hist}, "cutflow": ..., "counts": ...}}`. The events need the event model of `schemas.AGCSchema` and the metadata
    `process` and `variation` (and `channel` for a collision stream of one channel).
    """

    def __init__(self, config: AnalysisConfig | None = None) -> None:
        self.config = config or AnalysisConfig()

    def process(self, events: ak.Array) -> Output:
        config = self.config
        sample = SampleInfo.from_metadata(events.metadata)
        weight = systematics.nominal_weight(events, sample, config.variations)
        leptons = objects.select_leptons(events, config.electron, config.muon)
        one_lepton = channels.one_lepton(leptons)
        triggered = channels.triggered(one_lepton, events, sample, config.trigger)

        observable = histograms.book_observable(
            config.observable,
            list(REGIONS),
            sample.process,
            systematics.variations(sample, config.variations),
            list(CHANNELS),
        )
        jets = JetReader(events, config.jet, leptons)
        unshifted = self._select(jets.shifted(systematics.UNSHIFTED_PT), triggered)
        self._fill_unshifted(observable, unshifted, events, sample, weight)
        for variation, column in systematics.jet_shifts(sample, config.variations).items():
            shifted = self._select(jets.shifted(column), triggered)
            for region, channel, index, values in _in_regions(shifted):
                _fill(observable, values, weight[index], region, sample, variation, channel)

        output: Output = {
            "observable": observable,
            "control": {},
            "multijet": {},
            "cutflow": _cutflow(one_lepton, triggered, unshifted, weight),
            # POET ntuples have no generator weights: every event counts one, whatever scale
            # factors it is weighted with in the histograms.
            "counts": {"events": len(events), "sum_of_weights": float(len(events))},
        }
        if self._has_control(sample):
            output["control"] = control.histograms(
                config.control, sample.process, events, leptons, *unshifted, weight
            )
        if self._has_multijet(sample):
            output["multijet"] = multijet.histograms(
                config, sample, events, leptons, unshifted.jets, weight
            )
        return {events.metadata.get("dataset", sample.process): output}

    def postprocess(self, accumulator: Output) -> Output:
        """Nothing: normalisation needs to know what was read, and is a stage of its own."""
        return accumulator

    def columns(self, metadata: Mapping[str, Any]) -> frozenset[str]:
        """The columns of the event model that `process` reads for a dataset with these metadata."""
        sample = SampleInfo.from_metadata(metadata)
        config = self.config
        return (
            objects.lepton_columns(config.jet)
            | objects.JET_COLUMNS
            | channels.columns(sample, config.trigger)
            | systematics.columns(sample, config.variations)
            | (control.COLUMNS if self._has_control(sample) else frozenset())
            | (multijet.COLUMNS if self._has_multijet(sample) else frozenset())
        )

    def _has_control(self, sample: SampleInfo) -> bool:
        """Control histograms have no variation axis: alternative samples would add up with nominal."""
        return self.config.control.enabled and sample.is_nominal

    def _has_multijet(self, sample: SampleInfo) -> bool:
        """As the control histograms, it has no variation axis."""
        return self.config.multijet.enabled and sample.is_nominal

    def _select(self, jets: Jets, triggered: Channels) -> _Shifted:
        candidates = np.logical_or.reduce(list(triggered.values()))
        sums = jet_sums(jets.offsets, candidates, jets.pt, jets.good, jets.btagged)
        enough = sums.n_jets >= self.config.regions.min_jets
        return _Shifted(jets, sums, {name: mask & enough for name, mask in triggered.items()})

    def _fill_unshifted(
        self,
        observable: Hist,
        unshifted: _Shifted,
        events: ak.Array,
        sample: SampleInfo,
        weight: Weights,
    ) -> None:
        """Fill with the nominal weights, and the same values with those of each weight variation."""
        table = systematics.weight_variations(sample, self.config.variations)
        n_leading = self.config.variations.btag_jets if table else 0
        jets = unshifted.jets
        for region, channel, index, values in _in_regions(unshifted):
            _fill(observable, values, weight[index], region, sample, sample.variation, channel)
            leading = leading_pt(jets.offsets, index, jets.pt, jets.good, n_leading)
            selected = Selected(events, index, weight[index], leading)
            for variation, varied in table.items():
                _fill(observable, values, varied(selected), region, sample, variation, channel)


def _in_regions(shifted: _Shifted) -> Iterator[tuple[str, str, Ints, Weights]]:
    """Region, channel, index array of the events in both, their observable in GeV."""
    for name, region in REGIONS.items():
        contained = region.contains(shifted.sums)
        for channel, mask in shifted.passing.items():
            index = np.flatnonzero(mask & contained)
            yield name, channel, index, region.observable(shifted.jets, shifted.sums, index)


def _fill(
    observable: Hist,
    values: Weights,
    weights: Weights,
    region: str,
    sample: SampleInfo,
    variation: str,
    channel: str,
) -> None:
    observable.fill(
        observable=values,
        region=region,
        process=sample.process,
        variation=variation,
        channel=channel,
        weight=weights,
    )


def _cutflow(
    one_lepton: Channels, triggered: Channels, unshifted: _Shifted, weight: Weights
) -> dict[str, dict[str, dict[str, float]]]:
    """Channel -> step -> events and their weights; each step but the regions is part of the last."""
    flow: dict[str, dict[str, dict[str, float]]] = {}
    for channel, passing in unshifted.passing.items():
        steps = {
            "one lepton": one_lepton[channel],
            "trigger": triggered[channel],
            "jets": passing,
        }
        for name, region in REGIONS.items():
            steps[name] = passing & region.contains(unshifted.sums)
        flow[channel] = {
            step: {"events": int(np.sum(mask)), "weighted": float(np.sum(weight[mask]))}
            for step, mask in steps.items()
        }
    return flow
