"""Scale simulation to the luminosity of the data, by what was really processed.

The factor of a dataset is (sum of weights)^-1 × filter efficiency × k-factor × cross section ×
luminosity. Where a part of a dataset was processed, the sum of weights is that part of the generated
one which the processed events are of all its events; the luminosity, stream by stream, is the same
part of the full one.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from hist import Hist

from analysis.common.errors import NormalisationError, did_you_mean
from analysis.common.strict import Strict
from analysis.datasets import units
from analysis.datasets.sample import NOMINAL
from analysis.execution.ledger import DatasetRecord, Ledger
from analysis.histograms import CONTROL, MULTIJET, OBSERVABLE, Histograms, of_kind
from analysis.selection.description import described

APART = 1e-3
"""Relative difference of the cross sections of alternative and nominal samples that is said."""


class Rate(NamedTuple):
    """Cross section in pb, None if it is not known, and the factor on it."""

    cross_section: float | None = None
    k_factor: float = 1.0


class DatasetScale(Strict):
    """How one dataset was scaled."""

    process: str
    variation: str
    fraction: float
    """Part of the dataset's events that was processed."""
    sum_of_weights: float | None
    """Of the processed part; None for data and for event counts."""
    cross_section: float | None
    """pb."""
    k_factor: float
    factors: dict[str, float]
    """Channel -> factor on the weighted events."""
    remark: str = ""


class Normalisation(Strict):
    """How a run was scaled."""

    complete: bool
    missing: str = ""
    """What was not processed; empty if nothing."""
    luminosity: dict[str, float]
    """Channel -> 1/pb; empty if it is not known."""
    datasets: dict[str, DatasetScale]
    variations: dict[str, list[str]]
    """Process -> the variations that it has."""
    estimate: str = ""
    """What is estimated from data and not simulated."""

    @property
    def notes(self) -> list[str]:
        """What is said with every result: that the run is incomplete, and the remarks."""
        incomplete = [] if self.complete else [f"incomplete: {self.missing}"]
        return [*incomplete, *self.remarks]

    @property
    def remarks(self) -> list[str]:
        """One line for each dataset that is not scaled in the usual way, for alternatives that are
        scaled to another cross section than nominal, and for an estimate.
        """
        unusual = [f"{name}: {s.remark}" for name, s in self.datasets.items() if s.remark]
        unusual += self._apart()
        return [*unusual, self.estimate] if self.estimate else unusual

    @property
    def cross_sections_pb(self) -> dict[str, float | None]:
        """Process -> what its nominal datasets were scaled to: the sum of cross section × k-factor.

        None where that of one is not known, and for a process without nominal datasets.
        """
        return {process: self._scaled_to(process, NOMINAL) for process in self.variations}

    def _scaled_to(self, process: str, variation: str) -> float | None:
        parts = [
            None if scale.cross_section is None else scale.cross_section * scale.k_factor
            for scale in self.datasets.values()
            if (scale.process, scale.variation) == (process, variation)
        ]
        known = [part for part in parts if part is not None]
        return sum(known) if known and len(known) == len(parts) else None

    def _apart(self) -> Iterator[str]:
        for process, variation in dict.fromkeys(
            (scale.process, scale.variation) for scale in self.datasets.values()
        ):
            nominal, varied = (self._scaled_to(process, name) for name in (NOMINAL, variation))
            if nominal and varied and abs(varied / nominal - 1) > APART:
                yield (
                    f"{process}: {variation} is scaled to {varied:.6g} pb, nominal to {nominal:.6g} pb"
                )


def scale_factor(
    *,
    sum_of_weights: float,
    cross_section_pb: float,
    luminosity_ipb: float,
    filter_efficiency: float = 1.0,
    k_factor: float = 1.0,
) -> float:
    """Factor from weighted events to expected events.

    Raises NormalisationError for a sum of weights that is not positive.
    """
    if not sum_of_weights > 0:
        msg = f"the sum of weights must be positive, got {sum_of_weights}"
        raise NormalisationError(msg)
    return filter_efficiency * k_factor * cross_section_pb * luminosity_ipb / sum_of_weights


def normalisation(
    ledger: Ledger,
    histograms: Histograms,
    *,
    luminosity_ipb: float | str | None = None,
    cross_sections_pb: Mapping[str, float | str] | None = None,
    allow_incomplete: bool = False,
) -> Normalisation:
    """The factors for a run.

    `luminosity_ipb` (of all the data in the catalogue) and `cross_sections_pb` (by dataset or
    process), numbers or texts with a unit, take the place of the ledger's. A cross section that is given
    is the one to scale to: the k-factor of the ledger goes with the cross section there, and is not
    applied to it. Raises IncompleteError for a run that is not complete, unless that is allowed;
    NormalisationError where something is needed and not known, and for a number that is none.
    """
    if not allow_incomplete:
        ledger.require_complete()
    given = {
        name: _number(value, units.cross_section_pb, name)
        for name, value in (cross_sections_pb or {}).items()
    }
    cross_sections = _cross_sections(ledger, given)
    full = ledger.luminosity
    if luminosity_ipb is not None:
        full = _number(luminosity_ipb, units.luminosity_ipb, "luminosity")
    needs_luminosity = any(rate.cross_section is not None for rate in cross_sections.values())
    if needs_luminosity and full is None:
        msg = "the catalogue has no luminosity to scale the simulation to: give one"
        raise NormalisationError(msg)
    luminosity = {} if full is None else processed_luminosity(ledger, full)
    channels = list(described(ledger.analysis).channels)
    return Normalisation(
        complete=ledger.complete,
        missing="" if ledger.complete else ledger.what_is_missing(),
        luminosity=luminosity,
        datasets={
            name: _dataset_scale(
                name, record, cross_sections.get(name, Rate()), luminosity, channels
            )
            for name, record in ledger.datasets.items()
        },
        variations=_variations(ledger, histograms),
    )


def _number(value: float | str, parse: Callable[[float | str], float], what: str) -> float:
    try:
        return parse(value)
    except (ValueError, TypeError) as error:
        msg = f"{what}: {error}"
        raise NormalisationError(msg) from error


def processed_luminosity(ledger: Ledger, full_ipb: float) -> dict[str, float]:
    """Luminosity in 1/pb of the processed data of each channel.

    Without any data it is the full one, and where none of the events of a stream are left (in a skim);
    a channel whose stream is not in the run has none.
    """
    channels = described(ledger.analysis).channels
    data = [record for record in ledger.datasets.values() if record.kind == "collision"]
    if not data:
        return dict.fromkeys(channels, full_ipb)
    luminosity = {}
    for channel, info in channels.items():
        streams = [record for record in data if record.channel in (None, info.stream)]
        total = sum(record.events_in_catalogue for record in streams)
        processed = sum(record.events_processed for record in streams)
        part = processed / total if total else float(bool(streams))
        luminosity[channel] = full_ipb * part
    return luminosity


def apply(histograms: Histograms, scaling: Normalisation) -> Histograms:
    """Scaled histograms, datasets of a process added up: `observable`, `observable/{region}`,
    `control/{name}`, `multijet/{name}`.
    """
    merged = {}
    for kind in (OBSERVABLE, CONTROL, MULTIJET):
        for name, by_dataset in of_kind(histograms, kind).items():
            scaled = [
                scale_by_channel(histogram, scaling.datasets[dataset].factors)
                for dataset, histogram in by_dataset.items()
            ]
            merged[name] = reduce(operator.add, scaled)
    return merged


def scale_by_channel(histogram: Hist, factors: Mapping[str, float]) -> Hist:
    """The histogram, with the contents of each category of its axis `channel` scaled."""
    names = [axis.name for axis in histogram.axes]
    shape = [1] * len(names)
    shape[names.index("channel")] = len(histogram.axes["channel"])
    factor = np.array([factors[name] for name in histogram.axes["channel"]]).reshape(shape)
    scaled = histogram.copy()
    view = scaled.view(flow=True)
    view["value"] *= factor
    view["variance"] *= factor**2
    return scaled


def summed(histogram: Hist) -> Hist:
    """The histogram without its channel axis; `observable` then has the tutorial's axes."""
    return histogram[{"channel": sum}]


def _dataset_scale(
    name: str,
    record: DatasetRecord,
    rate: Rate,
    luminosity: dict[str, float],
    channels: list[str],
) -> DatasetScale:
    unscaled = dict.fromkeys(channels, 1.0)
    common: dict[str, Any] = {
        "process": record.process,
        "variation": record.variation,
        "fraction": record.fraction,
        "cross_section": rate.cross_section,
        "k_factor": rate.k_factor,
    }
    if record.events_in_catalogue and not record.events_processed:
        msg = f"nothing of dataset {name!r} was processed: leave it out or make it readable"
        raise NormalisationError(msg)
    if record.kind == "collision":
        return DatasetScale(**common, sum_of_weights=None, factors=unscaled)
    if rate.cross_section is None:
        remark = "cross section not known: event counts, not scaled"
        return DatasetScale(**common, sum_of_weights=None, factors=unscaled, remark=remark)
    remark = ""
    if record.sum_of_weights is None:
        sum_of_weights = record.sum_of_weights_processed
        remark = "sum of weights not known: taken from the events in the files"
    else:
        sum_of_weights = record.sum_of_weights * record.fraction
    factors = {
        channel: scale_factor(
            sum_of_weights=sum_of_weights,
            cross_section_pb=rate.cross_section,
            luminosity_ipb=luminosity_ipb,
            filter_efficiency=record.filter_efficiency,
            k_factor=rate.k_factor,
        )
        for channel, luminosity_ipb in luminosity.items()
    }
    return DatasetScale(**common, sum_of_weights=sum_of_weights, factors=factors, remark=remark)


def _cross_sections(ledger: Ledger, given: Mapping[str, float]) -> dict[str, Rate]:
    """Dataset of simulation -> what to scale it to; what is `given` comes first."""
    simulation = {
        name: record for name, record in ledger.datasets.items() if record.kind != "collision"
    }
    processes = {record.process for record in simulation.values()}
    for name in given:
        if name in simulation:
            continue
        if name not in processes:
            valid = sorted(processes | simulation.keys())
            msg = f"cross section of an unknown dataset or process {name!r}: "
            raise NormalisationError(msg + did_you_mean(name, valid))
        parts = [part for part, record in simulation.items() if record.process == name]
        if len({simulation[part].variation for part in parts}) < len(parts):
            msg = f"{name!r} has several datasets, give the cross section of each: "
            raise NormalisationError(msg + ", ".join(parts))
    rates = {}
    for name, record in simulation.items():
        chosen = given.get(name, given.get(record.process))
        if chosen is None:
            rates[name] = Rate(record.cross_section, record.k_factor)
        else:
            rates[name] = Rate(chosen)
    return rates


def _variations(ledger: Ledger, histograms: Histograms) -> dict[str, list[str]]:
    """Process -> its variations, nominal first, in the order in which the datasets fill them."""
    found: dict[str, dict[str, None]] = {}
    for dataset, histogram in of_kind(histograms, OBSERVABLE)[OBSERVABLE].items():
        process = ledger.datasets[dataset].process
        found.setdefault(process, {}).update(dict.fromkeys(histogram.axes["variation"]))
    return {
        process: sorted(names, key=lambda name: name != NOMINAL) for process, names in found.items()
    }
