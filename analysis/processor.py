"""TtbarAnalysis: from events to histograms. Reads like the selection table of the analysis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
from hist import Hist

from analysis import histograms
from analysis.config import AnalysisConfig
from analysis.datasets.catalogue import Catalogue
from analysis.datasets.coverage import require_covered, require_preselected
from analysis.datasets.sample import CHANNELS, SampleInfo
from analysis.execution.processor import CatalogueProcessor
from analysis.histograms import Numbered
from analysis.selection import channels, objects
from analysis.selection import control_plots as control
from analysis.selection import isolation_plane as multijet
from analysis.selection import variations as systematics
from analysis.selection.channels import Channels
from analysis.selection.kernels import Bools, Ints, JetSums, leading_pt
from analysis.selection.objects import Jets, Leptons
from analysis.selection.regions import REGIONS
from analysis.selection.variations import Selected, Weights

Output = dict[str, Any]

Cutflow = dict[str, dict[str, dict[str, float]]]
"""Channel -> step -> events and their weights."""


class _Selected(NamedTuple):
    """The selection under every jet shift, the unshifted jets first."""

    leptons: Leptons
    one_lepton: Channels
    triggered: Channels
    jets: Jets
    sums: JetSums
    channel: Ints
    """Of each event, by number."""
    passing: Bools
    """Events of a channel with enough good jets; shape (shifts, events)."""


class TtbarAnalysis(CatalogueProcessor):
    """The lepton+jets selection with all variations; weighted event counts, nothing is scaled.

    `process` returns `{dataset: {"observable": Hist, "control": {name: Hist}, "multijet": {name: Hist},
    "cutflow": ..., "counts": ...}}`. The events need the event model of `schemas.AGCSchema` and the
    metadata `process` and `variation` (and `channel` for a collision stream of one channel).
    """

    config: AnalysisConfig

    def __init__(self, config: AnalysisConfig | None = None) -> None:
        self.config = config or AnalysisConfig()

    def process(self, events: ak.Array) -> Output:
        config = self.config
        sample = SampleInfo.from_metadata(events.metadata)
        weight = systematics.nominal_weight(events, sample, config.variations)
        selected = self._select(events, sample)
        unshifted = selected.jets.first_shift()
        channel = np.where(selected.passing[0], selected.channel, channels.NO_CHANNEL)

        output: Output = {
            "observable": self._observable(selected, events, sample, weight),
            "control": {},
            "multijet": {},
            "cutflow": _cutflow(selected, weight),
            # POET ntuples have no generator weights: every event counts one, whatever scale
            # factors it is weighted with in the histograms.
            "counts": {"events": len(events), "sum_of_weights": float(len(events))},
        }
        if self._has_control(sample):
            output["control"] = control.histograms(
                config.control,
                sample.process,
                events,
                selected.leptons,
                unshifted,
                selected.sums,
                channel,
                weight,
            )
        if self._has_multijet(sample):
            output["multijet"] = multijet.histograms(
                config, sample, events, selected.leptons, unshifted, weight
            )
        return {events.metadata.get("dataset", sample.process): output}

    def used_events(self, events: ak.Array) -> tuple[Bools, Cutflow]:
        """Mask of the events that `process` fills histograms with or counts as having enough jets,
        and the steps of the cutflow that have others.
        """
        sample = SampleInfo.from_metadata(events.metadata)
        weight = systematics.nominal_weight(events, sample, self.config.variations)
        selected = self._select(events, sample)
        used = selected.passing[0].copy()
        for region in REGIONS.values():
            used |= (selected.passing & region.contains(selected.sums)).any(axis=0)
        if self._has_multijet(sample):
            used |= multijet.used_events(
                self.config, sample, events, selected.leptons, selected.jets.first_shift()
            )
        steps = {"one lepton": selected.one_lepton, "trigger": selected.triggered}
        early = {
            channel: {step: _count(masks[channel], weight) for step, masks in steps.items()}
            for channel in CHANNELS
        }
        return used, early

    def require_events(self, catalogue: Catalogue) -> None:
        """Raise ConfigError for a pre-selection or skim that lacks events of this configuration."""
        require_preselected(catalogue.preselection, self.config)
        require_covered(catalogue.skim, self.config)

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

    def _select(self, events: ak.Array, sample: SampleInfo) -> _Selected:
        config = self.config
        leptons = objects.select_leptons(events, config.electron, config.muon)
        one_lepton = channels.one_lepton(leptons)
        triggered = channels.triggered(one_lepton, events, sample, config.trigger)
        shifts = systematics.jet_shifts(sample, config.variations)
        columns = [systematics.UNSHIFTED_PT, *shifts.values()]
        jets = objects.read_jets(events, config.jet, leptons, columns)
        channel = channels.numbers(triggered)
        candidates = channel != channels.NO_CHANNEL
        sums = jets.sums(candidates)
        passing = candidates & (sums.n_jets >= config.regions.min_jets)
        return _Selected(leptons, one_lepton, triggered, jets, sums, channel, passing)

    def _observable(
        self, selected: _Selected, events: ak.Array, sample: SampleInfo, weight: Weights
    ) -> Hist:
        """Each region under all jet shifts with the nominal weights, and without a shift with those of
        each weight variation.
        """
        config = self.config
        observable = histograms.book_observable(
            config.observable,
            list(REGIONS),
            sample.process,
            systematics.variations(sample, config.variations),
            list(CHANNELS),
        )
        with Numbered(observable) as histogram:
            for number, region in enumerate(REGIONS.values()):
                contained = selected.passing & region.contains(selected.sums)
                shift, rows = np.nonzero(contained)
                values = region.observable(selected.jets, selected.sums, contained)
                histogram.fill(
                    observable=values,
                    region=number,
                    process=0,
                    variation=shift,
                    channel=selected.channel[rows],
                    weight=weight[rows],
                )
                rows = rows[shift == 0]
                weights = self._varied_weights(selected.jets, events, sample, rows, weight[rows])
                n_shifts, n_weights = len(contained), len(weights)
                histogram.fill(
                    observable=np.tile(values[: len(rows)], n_weights),
                    region=number,
                    process=0,
                    variation=np.repeat(np.arange(n_weights) + n_shifts, len(rows)),
                    channel=np.tile(selected.channel[rows], n_weights),
                    weight=weights.ravel(),
                )
        return observable

    def _varied_weights(
        self, jets: Jets, events: ak.Array, sample: SampleInfo, rows: Ints, weight: Weights
    ) -> Weights:
        """Of the events of an index array, with their nominal weights; shape (variations, events)."""
        table = systematics.weight_variations(sample, self.config.variations)
        n_leading = self.config.variations.btag_jets if table else 0
        leading = leading_pt(
            jets.offsets, rows, jets.pts[0], jets.acceptable, jets.min_pt, n_leading
        )
        selected = Selected(events, rows, weight, leading)
        varied = [variation(selected) for variation in table.values()]
        return np.array(varied).reshape(len(table), len(rows))


def _cutflow(selected: _Selected, weight: Weights) -> Cutflow:
    """Channel -> step -> events and their weights; each step but the regions is part of the last."""
    flow: Cutflow = {}
    in_region = {
        name: region.contains(selected.sums)[0] & selected.passing[0]
        for name, region in REGIONS.items()
    }
    for channel in CHANNELS:
        steps = {
            "one lepton": selected.one_lepton[channel],
            "trigger": selected.triggered[channel],
            "jets": selected.triggered[channel] & selected.passing[0],
        }
        for name, mask in in_region.items():
            steps[name] = selected.triggered[channel] & mask
        flow[channel] = {step: _count(mask, weight) for step, mask in steps.items()}
    return flow


def _count(mask: Bools, weight: Weights) -> dict[str, float]:
    return {"events": int(np.sum(mask)), "weighted": float(np.sum(weight[mask]))}
