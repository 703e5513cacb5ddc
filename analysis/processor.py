"""TtbarAnalysis: from events to histograms. Reads like the selection table of the analysis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import combinations
from typing import Any, Self

import awkward as ak
import numpy as np
from coffea.processor import accumulate
from hist import Hist

from analysis import histograms
from analysis.common.errors import (
    ConfigError,
    DefinitionError,
    EventValueError,
    did_you_mean,
)
from analysis.common.names import one_or_more, source
from analysis.common.tables import html
from analysis.config import AnalysisConfig
from analysis.datasets.catalogue import Catalogue, metadata
from analysis.datasets.coverage import require_covered, require_preselected
from analysis.datasets.sample import SampleInfo
from analysis.execution.checkpoints.definition import definition
from analysis.execution.processor import CatalogueProcessor
from analysis.histograms import Numbered
from analysis.presets.lesson import LESSON
from analysis.selection import channels, corrections, isolation_plane, luminosity, objects
from analysis.selection.channels import Channel
from analysis.selection.control_plots import Control, enough_jets
from analysis.selection.description import ChannelInfo, Description, VariationInfo
from analysis.selection.kept import Kept, Selected, Selector
from analysis.selection.kernels import Bools
from analysis.selection.part import Part
from analysis.selection.preset import Preset
from analysis.selection.regions import Region
from analysis.selection.rehearsal import MadeUpEvents
from analysis.selection.selection import Selection
from analysis.selection.variations import Shift, Weight, Weights
from schemas import FORMATS, MissingBranchError

Output = dict[str, Any]

Cutflow = dict[str, dict[str, dict[str, float]]]
"""Channel -> step -> events and their weights."""

GENERATOR_WEIGHT = "generator.weight"

PARTS: dict[str, type[Part]] = {
    "channels": Channel, "regions": Region, "shifts": Shift, "weights": Weight, "corrections": Weight,
    "controls": Control,
}  # fmt: skip
"""Keyword of an analysis -> what it is a list of."""

SAMPLES = ({"process": "ttbar"}, {"process": "data"})
"""Metadata of what an analysis is checked with where there is no catalogue."""


class TtbarAnalysis(CatalogueProcessor):
    """The lepton+jets selection with all variations; weighted event counts, nothing is scaled.

    An analysis is a value: a configuration, and `channels`, `regions`, `shifts` (of objects),
    `weights` (variations), `corrections` (nominal weights) and `controls` (plots), each a list of
    values of that name. A part that is not given is that of `preset` under the configuration;
    `adding` adds to it. `model` is that of the fit as a TOML file of `--model` would have it, by default
    the preset's.

    `process` returns `{dataset: {"observable": Hist, "observables": {region: Hist}, "control": {name:
    Hist}, "multijet": {name: Hist}, "cutflow": ..., "counts": ...}}`: `observables` has the regions with
    a binning of their own. The events need the event model of `schemas.AGCSchema` and the metadata
    `process` and `variation` (and `channel` for a collision stream of one channel).

    Raises DefinitionError for two parts of one name, and for a part that is none.
    """

    config: AnalysisConfig
    reads_declared_only = True

    def __init__(
        self,
        config: AnalysisConfig | None = None,
        *,
        channels: Iterable[Channel] | None = None,
        regions: Iterable[Region] | None = None,
        shifts: Iterable[Shift] | None = None,
        weights: Iterable[Weight] | None = None,
        corrections: Iterable[Weight] | None = None,
        controls: Iterable[Control] | None = None,
        model: Mapping[str, Any] | None = None,
        preset: Preset = LESSON,
        name: str | None = None,
    ) -> None:
        self.config = preset.config if config is None else config
        self.name = name or preset.name
        self.is_named = name is not None
        self._preset = preset
        self.model: dict[str, Any] = dict(preset.model if model is None else model)
        given = (channels, regions, shifts, weights, corrections, controls)
        self._given = {
            part: None if values is None else _given(part, values)
            for part, values in zip(PARTS, given, strict=True)
        }
        self._added: dict[str, tuple[Any, ...]] = dict.fromkeys(PARTS, ())
        self._resolve()

    def _resolve(self) -> None:
        """Find the parts under the configuration."""
        files = self.config.data.model_dump(exclude_none=True)
        self._certified = luminosity.Certified(self.config.data) if files else None
        resolved = {}
        for part in PARTS:
            given = self._given[part]
            values = getattr(self._preset, part)(self.config) if given is None else given
            resolved[part] = (*values, *self._added[part])
            if part == "corrections":
                found = self.config.corrections.items()
                resolved[part] += tuple(corrections.weight(name, told) for name, told in found)
            _require_parts(part, resolved[part])
        self.channels: tuple[Channel, ...] = resolved["channels"]
        self.regions: tuple[Region, ...] = resolved["regions"]
        self.shifts: tuple[Shift, ...] = resolved["shifts"]
        self.weights: tuple[Weight, ...] = resolved["weights"]
        self.corrections: tuple[Weight, ...] = resolved["corrections"]
        self.controls: tuple[Control, ...] = resolved["controls"]
        for part in ("channels", "regions"):
            if not resolved[part]:
                msg = f"an analysis needs {part}: there are none"
                raise DefinitionError(msg)
        _require_once([(n, part.owner) for part in self._all_varied for n in part.variations])

    def _copy(self) -> Self:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def adding(self, **parts: Iterable[Any]) -> Self:
        """Add `channels`, `regions`, `shifts`, `weights`, `corrections` or `controls` to these.

        Raises DefinitionError for another word, and for a name that is there.
        """
        other = self._copy()
        other._added = dict(self._added)
        for part, values in parts.items():
            if part not in PARTS:
                msg = f"an analysis has no {part!r}: {did_you_mean(part, PARTS)}"
                raise DefinitionError(msg)
            other._added[part] = (*self._added[part], *_given(part, values))
        other._resolve()
        return other

    def called(self, name: str) -> Self:
        """Give the same analysis another name."""
        other = self._copy()
        other.name, other.is_named = name, True
        return other

    def with_config(self, config: AnalysisConfig) -> Self:
        """Give the same analysis under another configuration."""
        other = self._copy()
        other.config = config
        other._resolve()
        return other

    def of_channels(self, names: str | Iterable[str]) -> Self:
        """Keep some of the channels. Raises ConfigError for a name that is none, with the nearest."""
        chosen = one_or_more(names)
        known = [channel.name for channel in self.channels]
        for name in chosen:
            if name not in known:
                msg = f"channel {name!r}: {did_you_mean(name, known)}"
                raise ConfigError(msg)
        other = self._copy()
        other._given = {
            **self._given,
            "channels": tuple(channel for channel in self.channels if channel.name in chosen),
        }
        other._added = {**self._added, "channels": ()}
        other._resolve()
        return other

    def rows(self) -> list[list[str]]:
        """List the parts for a table: kind, name, what it is."""
        rows = [
            ["channel", c.name, f"{', '.join(c.leptons)}: {' or '.join(c.triggers)}"]
            for c in self.channels
        ]
        rows += [["region", r.name, f"{r.label or r.name}: {r.axis_label}"] for r in self.regions]
        rows += [["shift", s.name, f"pT of {s.of}: {_directions(s)}"] for s in self.shifts]
        for weight in self._all_weights:
            processes = ", ".join(sorted(weight.processes or ())) or "every simulated process"
            rows.append(["weight", weight.name, f"{_directions(weight)}, of {processes}"])
        rows += [["control plot", c.name, c.label or c.name] for c in self.controls]
        return rows

    def __repr__(self) -> str:
        names = {part: [value.name for value in getattr(self, part)] for part in PARTS}
        parts = ", ".join(f"{part}={found}" for part, found in names.items() if found)
        return f"TtbarAnalysis({self.name!r}, {parts}, {self.config!r})"

    def _repr_html_(self) -> str:
        return html(("", self.name, ""), self.rows())

    def process(self, events: ak.Array) -> Output:
        sample = SampleInfo.from_metadata(events.metadata)
        certified = self._certified_events(events, sample)
        kept = self._select(events, sample, certified)
        blocks = kept.blocks
        unshifted = blocks[0].selection.unshifted()
        factors = self._factors(unshifted, sample)
        weight = _product(factors, unshifted.shape[1])
        contained = self._contained(blocks)
        nominal = {name: masks[0][0] for name, masks in contained.items()}
        not_a_number: dict[str, int] = {}
        output: Output = {
            **self._observables(blocks, contained, sample, factors, not_a_number),
            "control": {},
            "multijet": {},
            "cutflow": self._cutflow(blocks[0], nominal, weight),
            "counts": self.counts(events),
            "overlaps": _overlaps(nominal),
            "not_a_number": not_a_number,
        }
        if sample.event_numbers:
            used = kept.of_chunk((unshifted.wanted & unshifted.enough_jets)[0], len(events))
            output["data"] = luminosity.counted(events, sample.channel, certified, used)
        if sample.is_nominal:  # no variation axis: alternative samples would add up with nominal
            names = self._channel_names
            for control in self.controls:
                output["control"][control.name], nans = control.histogram(
                    sample.process, unshifted, blocks[0].channel, names, weight
                )
                _count_nans(not_a_number, control.name, nans)
        if kept.loose is not None:
            output["multijet"] = isolation_plane.histograms(
                self.config,
                self.regions,
                sample.process,
                kept.loose,
                self._nominal_weight(kept.loose, sample),
            )
        return {events.metadata.get("dataset", sample.process): output}

    def counts(self, events: ak.Array) -> dict[str, float]:
        """Count the events of a chunk, and sum their generator weights; one each where there are none.

        Scale factors of histograms are not in the sum: it is of all generated events.
        """
        sample = SampleInfo.from_metadata(events.metadata)
        total = float(len(events))
        if self._has_generator_weights(sample):
            total = float(np.sum(np.asarray(events.generator.weight), dtype=np.float64))
        return {"events": len(events), "sum_of_weights": total}

    def used_events(self, events: ak.Array) -> tuple[Bools, Cutflow]:
        """Mask the events that `process` fills histograms with or counts as having enough jets.

        Give also the steps of the cutflow that have others.
        """
        sample = SampleInfo.from_metadata(events.metadata)
        kept = self._select(events, sample, self._certified_events(events, sample))
        selected = kept.blocks[0]
        unshifted = selected.selection.unshifted()
        weight = self._nominal_weight(unshifted, sample)
        used = (unshifted.wanted & unshifted.enough_jets)[0]
        for masks in self._contained(kept.blocks).values():
            for mask in masks:
                used = used | mask.any(axis=0)
        if sample.is_nominal:
            for control in self.controls:
                used = used | control.contains(unshifted)
        if kept.loose is not None:
            for region in self.regions:
                used = used | region.contains(kept.loose)[0]
        early = {
            channel: {
                "one lepton": _count(one_lepton, weight),
                "trigger": _count(triggered, weight),
            }
            for channel, one_lepton, triggered in zip(
                self._channel_names, selected.one_lepton, selected.triggered, strict=True
            )
        }
        return kept.of_chunk(used, len(events)), early

    def check(
        self, samples: Iterable[Mapping[str, Any]] = SAMPLES, files: str | None = None
    ) -> None:
        """Compute every function on a few made-up events of samples with these metadata.

        `files`: their format; that of the preset where there is none.
        Raises DefinitionError, with the part's name, for columns that do not exist and for a function that
        cannot be computed on any events. What depends on the values of events comes out when they are
        processed.
        """
        schema: Any = self.schema or FORMATS[files or self._preset.format]
        for part in self._all_parts:
            try:
                schema.branches(part.uses | getattr(part, "columns", frozenset()))
            except MissingBranchError as error:
                msg = f"{part.owner}, uses: {error}"
                raise DefinitionError(msg) from error
        seen = set()
        for told in samples:
            sample = SampleInfo.from_metadata(told)
            names = tuple(part.name for part in self._weights_of(sample))
            if (
                kind := (sample._replace(process="", variation=""), sample.is_nominal, names)
            ) in seen:
                continue
            seen.add(kind)
            events = MadeUpEvents(self.columns(told), schema.per_event, told)
            with np.errstate(all="ignore"), suppress(EventValueError):
                self.process(events)

    def require_events(self, catalogue: Catalogue) -> None:
        """Refuse a catalogue that this analysis would be wrong for.

        Raises what `check` raises; ConfigError for a pre-selection or skim that lacks events of this
        configuration and, with the nearest name, for a process that is not in the catalogue;
        CatalogueError for a dataset's variation that is also one of the analysis.
        """
        told = (metadata(dataset) for dataset in catalogue.datasets.values())
        self.check(told, catalogue.format)
        require_preselected(catalogue.preselection, self.config)
        require_covered(catalogue.skim, self.config)
        self._require_in_skim(catalogue)
        self._require_processes(list(catalogue.labels))
        self._require_sections(catalogue)
        catalogue.require_counts(weighted=self.config.generator_weights)
        filled = {}
        for dataset in catalogue.datasets.values():
            sample = SampleInfo(dataset.process, is_simulation=dataset.is_simulation)
            varied: list[Shift | Weight] = [*self._shifts_of(sample), *self._weights_of(sample)]
            filled[dataset.process] = [name for part in varied for name in part.variations]
        catalogue.require_distinct([region.name for region in self.regions], filled)

    def _require_sections(self, catalogue: Catalogue) -> None:
        """Raise ConfigError for data without the sections that the configuration's files are of."""
        if self._certified is None:
            return
        for name, dataset in catalogue.datasets.items():
            if not (dataset.is_simulation or dataset.event_numbers):
                msg = (
                    f"[data] of the configuration: the events of {name} have no run and luminosity section "
                    "(a catalogue says event_numbers where they have)"
                )
                raise ConfigError(msg)
        if self._certified.luminosities() is not None and catalogue.skim is not None:
            msg = (
                "data.luminosity_csv: a skim lacks the sections without a selected event: give the "
                f"luminosity, or process {catalogue.skim.source}"
            )
            raise ConfigError(msg)

    def _require_processes(self, known: list[str]) -> None:
        """Raise ConfigError, with the nearest name, for a process that is not `known`."""
        named = [
            (f"variations.scale_uncertainty.{process}", process)
            for process in self.config.variations.scale_uncertainty
        ]
        named += [
            (f"weight {part.name!r}, {process!r}", process)
            for part in self._all_weights
            for process in sorted(part.processes or ())
        ]
        for owner, process in named:
            if process not in known:
                msg = f"{owner}: unknown process, {did_you_mean(process, known)}"
                raise ConfigError(msg)

    def _require_in_skim(self, catalogue: Catalogue) -> None:
        """Raise ConfigError for a part that selects events, or reads columns, that the skim may lack."""
        skim = catalogue.skim
        if skim is None or not skim.parts:
            return
        selecting = self.selecting()
        if dropped := [w for w in skim.parts if w.startswith(Weight.kind) and w not in selecting]:
            msg = (
                f"the skim was made with {dropped[0]}, and weights its first steps so: make one with this "
                f"analysis, or process {skim.source}"
            )
            raise ConfigError(msg)
        for words, part in selecting.items():
            if (made := skim.parts.get(words)) != definition(part).digest:
                how = "without" if made is None else "with another"
                msg = (
                    f"the skim was made {how} {words} and may lack its events or weights: make one "
                    f"with this analysis, or process {skim.source}"
                )
                raise ConfigError(msg)
        for name, dataset in catalogue.datasets.items():
            kept = dataset.skim.columns if dataset.skim else []
            lacking = sorted(self.columns(metadata(dataset)).difference(kept)) if kept else []
            if lacking:
                msg = (
                    f"the skim of {name} is without {', '.join(lacking)}: make one with this analysis, "
                    f"or process {skim.source}"
                )
                raise ConfigError(msg)

    def selecting(self) -> dict[str, Any]:
        """Return what says which events are used, what is read of them, and what the cutflow of the
        others is weighted with, by words for it.
        """
        return {
            **{r.owner: (r.where, r.uses) for r in self.regions},
            **{c.owner: (c.lepton, c.triggers, c.stream, c.where, c.uses) for c in self.channels},
            **{s.owner: s for s in self.shifts},
            **{w.owner: (w.nominal, w.uses, w.processes) for w in self._all_weights if w.nominal},
            # Events with enough jets are in every skim.
            **{c.owner: (c.where, c.uses) for c in self.controls if c.where is not enough_jets},
        }

    def parts(self) -> Mapping[str, Any]:
        """Return the configuration, what its files have, and every kind of parts."""
        files = "" if self._certified is None else self._certified.digest
        return {
            "configuration": self.config,
            "its files": files,
            **{part: getattr(self, part) for part in PARTS},
        }

    def columns(self, metadata: Mapping[str, Any]) -> frozenset[str]:
        """Name the columns of the event model that `process` reads for a dataset with these metadata."""
        sample = SampleInfo.from_metadata(metadata)
        found = self._base_columns(sample)
        parts: list[Any] = [*self.channels, *self.regions]
        parts += [*self._shifts_of(sample), *self._weights_of(sample)]
        for part in parts:
            found |= part.uses
        if sample.is_nominal:
            for control in self.controls:
                found |= control.uses
        if self._has_multijet(sample):
            found |= isolation_plane.COLUMNS | self._plane_channel[0].columns
        return found

    def description(self, output: Mapping[str, Any]) -> dict[str, Any]:
        """Return the `Description` of the analysis and of what it counted, as JSON values."""
        counted = {
            key: accumulate([found.get(key, {}) for found in output.values()]) or {}
            for key in ("overlaps", "not_a_number")
        }
        data = {name: found["data"] for name, found in output.items() if "data" in found}
        streams = {channel.name: channel.stream for channel in self.channels}
        return Description(
            name=self.name,
            data=luminosity.summary(data, self._certified, streams),
            regions={region.name: region.info for region in self.regions},
            channels={
                channel.name: ChannelInfo(
                    label=channel.label or channel.name,
                    lepton=", ".join(channel.leptons),
                    stream=channel.stream,
                )
                for channel in self.channels
            },
            controls={control.name: control.label or control.name for control in self.controls},
            variations={
                name: VariationInfo(source=source(name), group=_group(part))
                for part in self._all_varied
                for name in part.variations
            },
            model=self.model,
            **counted,
        ).model_dump(mode="json")

    @property
    def _all_weights(self) -> tuple[Weight, ...]:
        return (*self.weights, *self.corrections)

    @property
    def _all_varied(self) -> tuple[Shift | Weight, ...]:
        return (*self.shifts, *self._all_weights)

    @property
    def _all_parts(self) -> Iterator[Part]:
        return (value for part in PARTS for value in getattr(self, part))

    @property
    def _channel_names(self) -> list[str]:
        return [channel.name for channel in self.channels]

    def _shifts_of(self, sample: SampleInfo) -> list[Shift]:
        """Shifts of a sample, those of jets first."""
        return sorted(self.shifts, key=lambda s: s.of != "jet") if sample.is_varied else []

    def _weights_of(self, sample: SampleInfo) -> list[Weight]:
        return [weight for weight in self._all_weights if weight.applies_to(sample)]

    @property
    def _plane_channel(self) -> tuple[Channel, ...]:
        """The muon channel, if the analysis has it: the plane is of its muons."""
        named = [c for c in self.channels if c.name == isolation_plane.CHANNEL]
        return tuple(c for c in named if c.leptons == ("muon",) and c.where is None)

    def _has_generator_weights(self, sample: SampleInfo) -> bool:
        return self.config.generator_weights and sample.generator_weights

    def _has_multijet(self, sample: SampleInfo) -> bool:
        """As the control histograms, the plane has no variation axis."""
        enabled = self.config.multijet.enabled and bool(self._plane_channel)
        return enabled and sample.is_nominal

    def _base_columns(self, sample: SampleInfo) -> frozenset[str]:
        """Columns of the object selection and of the triggers."""
        found = objects.lepton_columns(self.config) | objects.jet_columns(self.config.jet)
        if self._has_generator_weights(sample):
            found |= {GENERATOR_WEIGHT}
        if sample.event_numbers:
            found |= luminosity.COLUMNS
        if channels.needs_trigger(sample, self.config.trigger):
            found |= frozenset().union(*(channel.columns for channel in self.channels))
        return found

    def _select(self, events: ak.Array, sample: SampleInfo, certified: Bools) -> Kept:
        plane = self._plane_channel if self._has_multijet(sample) else ()
        columns, shifts = self._base_columns(sample), self._shifts_of(sample)
        selector = Selector(self.config, sample, self.channels, shifts, columns, plane)
        return selector.select(events, certified)

    def _certified_events(self, events: ak.Array, sample: SampleInfo) -> Bools:
        """Mask the events of certified luminosity sections: all of simulation."""
        if self._certified is None or not sample.event_numbers:
            return np.ones(len(events), np.bool_)
        return self._certified.mask(luminosity.sections_of(events))

    def _factors(self, unshifted: Selection, sample: SampleInfo) -> dict[str, Weights]:
        """Factors of the nominal weight by the name of their part; shape (events,)."""
        factors = {}
        if self._has_generator_weights(sample):
            factors[GENERATOR_WEIGHT] = unshifted.columns[GENERATOR_WEIGHT]
        for part in self._weights_of(sample):
            if part.nominal is not None:
                factors[part.name] = part.factor(part.nominal, unshifted)
        return factors

    def _nominal_weight(self, unshifted: Selection, sample: SampleInfo) -> Weights:
        """Weight of each event before any variation; shape (events,)."""
        return _product(self._factors(unshifted, sample), unshifted.shape[1])

    def _contained(self, blocks: Sequence[Selected]) -> dict[str, list[Bools]]:
        """Region -> mask of its events in each block; shape (shifts, events)."""
        return {
            region.name: [region.contains(block.selection) for block in blocks]
            for region in self.regions
        }

    def _observables(
        self,
        blocks: Sequence[Selected],
        contained: Mapping[str, list[Bools]],
        sample: SampleInfo,
        factors: Mapping[str, Weights],
        not_a_number: dict[str, int],
    ) -> Output:
        """Each region under all shifts with the nominal weights, and without a shift with those of
        each weight variation.
        """
        nominal = [masks[0][0] for masks in contained.values()]
        in_any = np.logical_or.reduce(nominal)[np.newaxis]
        varied = self._varied_weights(
            blocks[0].selection.unshifted().within(in_any), sample, factors
        )
        weight = _product(factors, in_any.shape[1])
        of_block = self._weights_of_blocks(blocks, weight, sample)
        names = [name for block in blocks for name in block.variations] + list(varied)
        weights = np.array(list(varied.values())).reshape(len(varied), len(weight))

        def fill(regions: Sequence[Region], booked: Hist) -> Hist:
            with Numbered(booked) as histogram:
                for number, region in enumerate(regions):
                    masks = contained[region.name]
                    nans = _fill(histogram, number, region, blocks, masks, of_block, weights)
                    _count_nans(not_a_number, region.name, nans)
            return booked

        def book(regions: Sequence[Region]) -> Hist:
            binning = regions[0].binning if regions and regions[0].binning else None
            return histograms.book_observable(
                binning or self.config.observable,
                [region.name for region in regions],
                sample.process,
                names,
                self._channel_names,
            )

        common = [region for region in self.regions if region.binning is None]
        own = [[region] for region in self.regions if region.binning is not None]
        return {
            "observable": fill(common, book(common)),
            "observables": {regions[0].name: fill(regions, book(regions)) for regions in own},
        }

    def _weights_of_blocks(
        self, blocks: Sequence[Selected], weight: Weights, sample: SampleInfo
    ) -> list[Weights]:
        """Nominal weight of the events of each block, shape (events,).

        It is that of the unshifted objects, but for events that have their leptons by the shift alone.
        """
        found = []
        for block in blocks:
            entered = block.selection.wanted[:1] & ~blocks[0].selection.wanted[:1]
            if entered.any():
                own = self._nominal_weight(block.selection.within(entered), sample)
                found.append(np.where(entered[0], own, weight))
            else:
                found.append(weight)
        return found

    def _varied_weights(
        self, selection: Selection, sample: SampleInfo, factors: Mapping[str, Weights]
    ) -> dict[str, Weights]:
        """Variation -> weight of each event under it; shape (events,)."""
        varied = {}
        for part in self._weights_of(sample) if sample.is_varied else []:
            others = {name: factor for name, factor in factors.items() if name != part.name}
            product = _product(others, selection.shape[1])
            for name, function in part.variations.items():
                varied[name] = product * part.factor(function, selection)
        return varied

    def _cutflow(
        self, selected: Selected, in_region: Mapping[str, Bools], weight: Weights
    ) -> Cutflow:
        """Channel -> step -> events and their weights; each step but the regions is part of the last."""
        enough = (selected.selection.wanted & selected.selection.enough_jets)[0]
        flow: Cutflow = {}
        for name, one_lepton, triggered in zip(
            self._channel_names, selected.one_lepton, selected.triggered, strict=True
        ):
            steps = {"one lepton": one_lepton, "trigger": triggered, "jets": triggered & enough}
            steps |= {region: triggered & mask for region, mask in in_region.items()}
            flow[name] = {step: _count(mask, weight) for step, mask in steps.items()}
        return flow


def _fill(
    histogram: Numbered,
    number: int,
    region: Region,
    blocks: Sequence[Selected],
    masks: Sequence[Bools],
    of_block: Sequence[Weights],
    weights: Any,
) -> int:
    """Fill a region; `of_block` are the nominal weights of each block, `weights` those of the weight
    variations, shape (variations, events).

    Return how many of the unshifted events' values are NaN.
    """
    n_variations, n_nans = 0, 0
    for block, mask, weight in zip(blocks, masks, of_block, strict=True):
        values = region.values(block.selection, mask)
        shift, rows = np.divmod(np.flatnonzero(mask), mask.shape[1])
        histogram.fill(
            observable=values,
            region=number,
            process=0,
            variation=shift + n_variations,
            channel=block.channel[rows],
            weight=weight[rows],
        )
        if n_variations == 0:
            rows = rows[shift == 0]
            unshifted, channel = values[: len(rows)], block.channel[rows]
            n_nans = int(np.sum(np.isnan(unshifted)))
        n_variations += len(mask)
    rows = np.flatnonzero(masks[0][0])
    n_weights = len(weights)
    histogram.fill(
        observable=np.tile(unshifted, n_weights),
        region=number,
        process=0,
        variation=np.repeat(np.arange(n_weights) + n_variations, len(rows)),
        channel=np.tile(channel, n_weights),
        weight=weights[:, rows].ravel(),
    )
    return n_nans


def _given(part: str, values: Any) -> tuple[Any, ...]:
    """Raise DefinitionError for what is no list."""
    if isinstance(values, Part) or not isinstance(values, Iterable):
        msg = f"{part}: {values!r}, expected a list of {PARTS[part].__name__}"
        raise DefinitionError(msg)
    return tuple(values)


def _require_parts(part: str, values: Sequence[Any]) -> None:
    """Raise DefinitionError for a part of another kind, and for two of one name."""
    for value in values:
        if not isinstance(value, PARTS[part]):
            msg = f"{part}: {value!r}, expected a {PARTS[part].__name__}"
            raise DefinitionError(msg)
    _require_once([(value.name, value.owner) for value in values])


def _require_once(named: Sequence[tuple[str, str]]) -> None:
    """Raise DefinitionError for a name that is there twice, given with its owner."""
    owners: dict[str, str] = {}
    for name, owner in named:
        if name in owners:
            msg = f"{owner}: the name {name!r} is there twice"
            if owners[name] != owner:
                msg += f", also in {owners[name]}"
            raise DefinitionError(msg)
        owners[name] = owner


def _directions(part: Shift | Weight) -> str:
    found = [name.removeprefix(f"{part.name}_") for name in part.variations]
    return " and ".join(found) or "nominal only"


def _group(part: Shift | Weight) -> str:
    return part.of if isinstance(part, Shift) else part.group or part.name


def _overlaps(in_region: Mapping[str, Bools]) -> dict[str, dict[str, int]]:
    """Region -> other region -> events in both; pairs without any are left out."""
    found: dict[str, dict[str, int]] = {}
    for (first, mask), (second, other) in combinations(in_region.items(), 2):
        if both := int(np.sum(mask & other)):
            found.setdefault(first, {})[second] = both
    return found


def _count_nans(counted: dict[str, int], name: str, nans: int) -> None:
    if nans:
        counted[name] = counted.get(name, 0) + nans


def _product(factors: Mapping[str, Weights], n_events: int) -> Weights:
    """Multiply the factors of each event; shape (events,)."""
    weight = np.ones(n_events)
    for factor in factors.values():
        weight = weight * factor
    return weight


def _count(mask: Bools, weight: Weights) -> dict[str, float]:
    return {"events": int(np.count_nonzero(mask)), "weighted": float(np.sum(weight[mask]))}
