"""Scale simulation to the luminosity of the data, by what was really processed.

The factor of a dataset is (sum of weights)^-1 × filter efficiency × k-factor × cross section ×
luminosity. Where a part of a dataset was processed, the sum of weights is that part of the generated
one which the processed events are of all its events; the luminosity, stream by stream, is the same
part of the full one.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from hist import Hist
from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveFloat, ValidationError

from analysis.common.errors import NormalisationError, OutputError, did_you_mean
from analysis.common.strict import Strict, faults
from analysis.config import AnalysisConfig
from analysis.datasets import units
from analysis.datasets.processes import DATA, PROCESS_LABELS
from analysis.datasets.sample import NOMINAL
from analysis.execution.ledger import DatasetRecord, Ledger
from analysis.histograms import (
    CONTROL,
    MULTIJET,
    OBSERVABLE,
    OWN,
    Histograms,
    by_region,
    of_kind,
)
from analysis.postprocess.abcd import multijet
from analysis.selection.description import Description, RegionInfo, described
from analysis.selection.isolation_plane import PLANE

INCOMPLETE = "incomplete: "
"""Beginning of a note on what a run lacks."""

APART = 1e-3
"""Relative difference of the cross sections of alternative and nominal samples that is said."""


class Scaling(Strict):
    """How to scale a run where it is not to be scaled as its catalogue says.

    Numbers may be texts with a unit: `Scaling(luminosity_ipb="140.1 /fb")`. Cross sections and k-factors
    go by dataset or process. A given cross section is the one to scale to: the catalogue's k-factor
    belongs to the catalogue's cross section and is not applied to it.
    """

    luminosity_ipb: Annotated[float, BeforeValidator(units.luminosity_ipb)] | None = None
    """1/pb, of all the data in the catalogue."""
    cross_sections_pb: dict[str, Annotated[float, BeforeValidator(units.cross_section_pb)]] = Field(
        default_factory=dict
    )
    k_factors: dict[str, PositiveFloat] = Field(default_factory=dict)
    allow_incomplete: bool = False
    """Scale by what was processed where files failed."""
    qcd: Literal["simulation", "abcd"] = "simulation"
    """Source of the multijet events of the muon channel: simulation, or an estimate from the data."""


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
    """Sum of weights of the processed part; None for data and for event counts."""
    cross_section: float | None
    """pb."""
    k_factor: float
    factors: dict[str, float]
    """Channel -> factor on the weighted events."""
    remark: str = ""


class Normalisation(Strict):
    """How a run was scaled."""

    missing: list[str]
    """A line for each process that lacks datasets, and for events that were not processed."""
    luminosity: dict[str, float]
    """Channel -> 1/pb; empty if it is not known."""
    datasets: dict[str, DatasetScale]
    variations: dict[str, list[str]]
    """Process -> the variations that it has."""
    estimate: str = ""
    """What is estimated from data and not simulated."""
    not_a_number: dict[str, NonNegativeInt] = Field(default_factory=dict)
    """Region or control plot -> values that were NaN, and so are in the overflow."""
    unscaled: str = ""
    """Digest of the file of unscaled histograms; empty for a normalisation that was not written."""
    scaled: str = ""
    """Digest of the file of scaled histograms."""

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing

    @property
    def notes(self) -> list[str]:
        """Lines to be said with every result: what is missing, and the remarks."""
        return [*(f"{INCOMPLETE}{line}" for line in self.missing), *self.remarks]

    @property
    def remarks(self) -> list[str]:
        """One line for each dataset that is not scaled in the usual way, for alternatives that are
        scaled to another cross section than nominal, and for an estimate.
        """
        unusual = [f"{name}: {s.remark}" for name, s in self.datasets.items() if s.remark]
        unusual += self._apart()
        unusual += [
            f"{name}: {n} values are not a number (NaN), counted beyond the end of the axis"
            for name, n in self.not_a_number.items()
        ]
        parts = [f"{name} {s.fraction:.3g}" for name, s in self.datasets.items() if s.fraction < 1]
        if parts:
            unusual.append(f"part of the events that were processed: {', '.join(parts)}")
        return [*unusual, self.estimate] if self.estimate else unusual

    @property
    def cross_sections_pb(self) -> dict[str, float | None]:
        """Process -> what its nominal datasets were scaled to: the sum of cross section × k-factor.

        None where that of one is not known, and for a process without nominal datasets.
        """
        return {process: self._scaled_to(process, NOMINAL) for process in self.variations}

    def to_nominal(self, process: str, variation: str) -> float:
        """Factor from what a variation was scaled to, to what nominal was; 1 where one is not known."""
        nominal, varied = (self._scaled_to(process, name) for name in (NOMINAL, variation))
        return nominal / varied if nominal and varied else 1.0

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
            if abs(self.to_nominal(process, variation) - 1) > APART:
                yield (
                    f"{process}: {variation} is scaled to {varied:.6g} pb, nominal to {nominal:.6g} pb"
                )


class Normalised(NamedTuple):
    """Scaled histograms, and how they were scaled."""

    histograms: Histograms
    normalisation: Normalisation
    ledger: Ledger

    @property
    def config(self) -> AnalysisConfig:
        """Configuration of the run. Raises OutputError if another version configured it."""
        return run_config(self.ledger)

    @property
    def description(self) -> Description:
        """Names and labels of the analysis. Raises OutputError if it is one of another version."""
        return described(self.ledger.analysis)

    @property
    def _by_region(self) -> dict[str, Hist]:
        """Observable of each region, in the order of the analysis; those of the common axis are one histogram."""
        found = by_region(self.histograms)
        return {region: found[region] for region in self.description.regions if region in found}

    @property
    def regions(self) -> dict[str, Hist]:
        """Region -> (observable, process, variation), all channels added up."""
        return {region: summed(observable) for region, observable in self._by_region.items()}

    @property
    def regions_by_channel(self) -> dict[str, Hist]:
        """Region of a channel -> (observable, process, variation); `4j1b_muon`, ..."""
        return {
            region_of_channel(region, channel): observable[{"channel": channel}]
            for region, observable in self._by_region.items()
            for channel in observable.axes["channel"]
        }

    @property
    def region_infos(self) -> dict[str, RegionInfo]:
        """Region, and region of a channel -> how it is called."""
        found = self.description
        return {
            **found.regions,
            **{
                region_of_channel(region, channel): RegionInfo(
                    axis_label=info.axis_label,
                    label=f"{found.channels[channel].label}, {info.label}",
                )
                for region, info in found.regions.items()
                for channel in found.channels
            },
        }

    @property
    def labels(self) -> dict[str, str]:
        """Labels of data and of the processes with a nominal prediction. In histograms, which have a
        place for every process and variation, a process of alternative samples alone is nominally zero.
        """
        variations = self.normalisation.variations
        return {
            name: label
            for name, label in self.ledger.labels.items()
            if NOMINAL in variations.get(name, [])
        }


def region_of_channel(region: str, channel: str) -> str:
    """Name the events of a region that are in one channel."""
    return f"{region}_{channel}"


def run_config(ledger: Ledger) -> AnalysisConfig:
    """Read the configuration of a run. Raises OutputError if another version configured it."""
    try:
        return AnalysisConfig.model_validate(ledger.config)
    except ValidationError as error:
        fault = faults(error, AnalysisConfig)[0]
        msg = f"the run was configured for another version ({fault}): run 'process' again"
        raise OutputError(msg) from error


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
    ledger: Ledger, histograms: Histograms, scaling: Scaling | None = None
) -> Normalisation:
    """Compute the factors for a run.

    Raises IncompleteError for a run that is not complete, unless `scaling` allows it, and
    NormalisationError where a number is needed and not known, for data that cannot be used, and for histograms of
    other datasets than the ledger's.
    """
    scaling = scaling or Scaling()
    filled = of_kind(histograms, OBSERVABLE).get(OBSERVABLE, {})
    read = {name for name, record in ledger.datasets.items() if record.events_processed}
    if other := sorted((filled.keys() - ledger.datasets.keys()) | (read - filled.keys())):
        msg = f"the histograms are not of the ledger's run: {', '.join(other)} only in one of them"
        raise NormalisationError(msg)
    if not scaling.allow_incomplete:
        ledger.require_complete()
    data = described(ledger.analysis).data
    if data.faults:
        raise NormalisationError("\n".join(data.faults))
    rates = _rates(ledger, scaling)
    luminosity = data.luminosity if scaling.luminosity_ipb is None else {}
    full = ledger.luminosity if scaling.luminosity_ipb is None else scaling.luminosity_ipb
    if not luminosity and full is not None:
        luminosity = processed_luminosity(ledger, full)
    if not luminosity and any(rate.cross_section is not None for rate in rates.values()):
        msg = "the catalogue has no luminosity to scale the simulation to: give one"
        raise NormalisationError(msg)
    channels = list(described(ledger.analysis).channels)
    return Normalisation(
        missing=ledger.missing,
        luminosity=luminosity,
        datasets={
            name: _dataset_scale(name, record, rates.get(name, Rate()), luminosity, channels)
            for name, record in ledger.datasets.items()
        },
        variations=_variations(ledger, histograms),
        not_a_number=described(ledger.analysis).not_a_number,
    )


def processed_luminosity(ledger: Ledger, full_ipb: float) -> dict[str, float]:
    """Compute the luminosity in 1/pb of the processed data of each channel, by numbers of events.

    Without any data it is the full one, and where a stream never had events; a channel whose stream is
    not in the run has none.
    """
    channels = described(ledger.analysis).channels
    data = [record for record in ledger.datasets.values() if record.kind == "collision"]
    if not data:
        return dict.fromkeys(channels, full_ipb)
    luminosity = {}
    for channel, info in channels.items():
        streams = [record for record in data if record.channel in (None, info.stream)]
        left_out = [
            dataset.events
            for dataset in ledger.left_out.values()
            if dataset.process == DATA and dataset.channel in (None, info.stream)
        ]
        total = sum(record.events_in_source for record in streams) + sum(left_out)
        processed = sum(record.source_events_processed for record in streams)
        part = processed / total if total else float(bool(streams))
        luminosity[channel] = full_ipb * part
    return luminosity


def apply(histograms: Histograms, scaling: Normalisation) -> Histograms:
    """Scale the histograms and add up the datasets of a process: `observable`, `observable/{region}`,
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
    """Scale the contents of each category of the axis `channel` of a histogram."""
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
    """Add up the channels of a histogram; `observable` then has the tutorial's axes."""
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
    if not sum_of_weights > 0:
        msg = f"{name}: the sum of weights must be positive, got {sum_of_weights:g}"
        raise NormalisationError(msg)
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


def _rates(ledger: Ledger, scaling: Scaling) -> dict[str, Rate]:
    """Find what to scale each dataset of simulation to; what `scaling` gives comes first."""
    simulation = {
        name: record for name, record in ledger.datasets.items() if record.kind != "collision"
    }
    _require_meaning("cross section", scaling.cross_sections_pb, simulation)
    _require_meaning("k-factor", scaling.k_factors, simulation, of_parts=True)
    rates = {}
    for name, record in simulation.items():
        cross_section, k_factor = (
            given.get(name, given.get(record.process))
            for given in (scaling.cross_sections_pb, scaling.k_factors)
        )
        if k_factor is None:
            k_factor = record.k_factor if cross_section is None else 1.0
        rates[name] = Rate(
            record.cross_section if cross_section is None else cross_section, k_factor
        )
    return rates


def _require_meaning(
    what: str,
    given: Mapping[str, float],
    simulation: Mapping[str, DatasetRecord],
    *,
    of_parts: bool = False,
) -> None:
    """Raise NormalisationError for a name of no dataset or process of simulation, and, unless the
    number holds for each part of a process, for a process with several datasets.
    """
    processes = {record.process for record in simulation.values()}
    for name in given.keys() - simulation.keys():
        if name not in processes:
            hint = did_you_mean(name, sorted(processes | simulation.keys()))
            msg = f"{what} of an unknown dataset or process {name!r}: {hint}"
            raise NormalisationError(msg)
        parts = [part for part, record in simulation.items() if record.process == name]
        if not of_parts and len({simulation[part].variation for part in parts}) < len(parts):
            msg = (
                f"{name!r} has several datasets, which are added up, give the {what} of each: "
                f"{', '.join(parts)}"
            )
            raise NormalisationError(msg)


def _variations(ledger: Ledger, histograms: Histograms) -> dict[str, list[str]]:
    """List the variations of each process, nominal first, in the order in which datasets fill them."""
    found: dict[str, dict[str, None]] = {}
    for dataset, histogram in of_kind(histograms, OBSERVABLE)[OBSERVABLE].items():
        process = ledger.datasets[dataset].process
        found.setdefault(process, {}).update(dict.fromkeys(histogram.axes["variation"]))
    return {
        process: sorted(names, key=lambda name: name != NOMINAL) for process, names in found.items()
    }


def normalised(unscaled: Histograms, ledger: Ledger, scaling: Scaling) -> Normalised:
    """Scale the histograms of a run as its ledger, or `scaling`, says.

    Raises what `normalisation` raises and, for the multijet events from the data, AbcdError where a region
    has no estimate, or one that the simulation does not allow.
    """
    found = normalisation(ledger, unscaled, scaling)
    simulated = Normalised(apply(unscaled, found), found, ledger)
    return _with_multijet(simulated) if scaling.qcd == "abcd" else simulated


def plane_of(run: Normalised) -> Hist:
    """Find the (isolation, m_T) plane of a run. Raise OutputError without one."""
    return _of_multijet(run, PLANE)


def _of_multijet(run: Normalised, name: str) -> Hist:
    found = run.histograms.get(f"{MULTIJET}{name}")
    if found is None:
        msg = (
            "the run has no (isolation, m_T) plane: it needs a channel 'muon' of all good muons, "
            "multijet.enabled and a nominal sample"
        )
        raise OutputError(msg)
    return found


def _with_multijet(simulated: Normalised) -> Normalised:
    """Put the multijet events of the muon channel, estimated from the data, in place of simulated ones."""
    scaled, found, ledger = simulated
    plane = plane_of(simulated)
    observables = {
        name: multijet.with_estimate(
            observable, plane, _of_multijet(simulated, name), simulated.config
        )
        for name, observable in scaled.items()
        if (name == OBSERVABLE or name.startswith(OWN)) and len(observable.axes["region"])
    }
    qcd = {multijet.MULTIJET: found.variations.get(multijet.MULTIJET, [NOMINAL])}
    found = found.model_copy(
        update={
            "variations": found.variations | qcd,
            "estimate": multijet.note(plane, simulated.config),
        }
    )
    return Normalised(scaled | observables, found, labelled(ledger, found))


def labelled(ledger: Ledger, found: Normalisation) -> Ledger:
    """Give a label to a process that is estimated and not in the run's catalogue."""
    labels = {name: PROCESS_LABELS[name] for name in found.variations if name not in ledger.labels}
    return ledger.model_copy(update={"labels": ledger.labels | labels}) if labels else ledger
