"""Templates: the histograms of a run, or of a file, in the bins of the model.

Rules for what histograms may hold: a negative bin is set to zero and said; a process without any
events in a region is left out there and said; a variation that is not there, or is empty where
nominal is not, is left out and said, and never becomes a template.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import uproot
from hist import Hist, axis, storage
from numpy.typing import NDArray

from analysis.common.errors import WorkspaceError, did_you_mean
from analysis.config import Binning
from analysis.datasets.nanoaod import CROSS_SECTIONS
from analysis.datasets.processes import DATA
from analysis.datasets.sample import NOMINAL
from analysis.histograms import NOTE, SCALED_TO
from analysis.inference.config import InferenceConfig
from analysis.inference.names import Key, named
from analysis.postprocess import agc_json, windows
from analysis.postprocess.normalisation import INCOMPLETE, Normalised, region_of_channel

Array = NDArray[np.float64]

DEAD = 1e-3
"""A variation with less than this part of the nominal events is no variation."""
_EDGE = 1e-3
"""Part of a bin of the model by which edges may differ."""


class Template(NamedTuple):
    """Events and their variances; shape (bins,)."""

    values: Array
    variances: Array


class Templates(NamedTuple):
    """All templates in the model's bins."""

    regions: list[str]
    processes: list[str]
    """Simulated ones, the signal first."""
    by_key: dict[Key, Template]
    notes: list[str]
    """What was mended or left out, one line each."""
    cross_section_pb: float
    """What the signal was scaled to."""
    pseudodata: Mapping[str, Array] = MappingProxyType({})
    """Region -> pseudo-data of a file that has its own."""

    def nominal(self, region: str, process: str) -> Template | None:
        return self.by_key.get((region, process, NOMINAL))

    def require_complete(self, source: str) -> None:
        """Raise WorkspaceError for templates of a run that lacks datasets or events."""
        lacking = [n.removeprefix(INCOMPLETE) for n in self.notes if n.startswith(INCOMPLETE)]
        if lacking:
            msg = (
                f"{source}: {'; '.join(lacking)}: process all of it, or fit with --allow-incomplete"
            )
            raise WorkspaceError(msg)

    def data(self, region: str) -> Array:
        """Return the events of the data in a region. Raises WorkspaceError if there are none."""
        found = self.nominal(region, DATA)
        if found is None:
            msg = (
                f"no data in region {region}: there are {', '.join(self.processes)}; "
                "'--observed asimov' needs none"
            )
            raise WorkspaceError(msg)
        return found.values


def from_results(
    results: Normalised, config: InferenceConfig, instead: Mapping[str, str] = MappingProxyType({})
) -> Templates:
    """Make templates of the normalised histograms, channels added up or apart as the model says.

    `instead` names a region of the model, and another one whose histograms are taken in its place: of that alone
    there are templates then.

    Raises WorkspaceError for a binning that does not fit, values that are no numbers, negative data,
    where the signal or a region is missing, for regions that share events, names of the model that are
    not there, variations that it does not name, and for a signal that was not scaled to what the model
    states, or to nothing that is known.
    """
    _require_apart(results.description.overlaps, config.regions)
    observables, taken = (
        results.regions,
        dict(instead or zip(config.regions, config.regions, strict=True)),
    )
    if config.channels == "apart":
        observables = results.regions_by_channel
        taken = {
            region_of_channel(region, channel): region_of_channel(of, channel)
            for region, of in taken.items()
            for channel in results.description.channels
        }
    if instead:
        observables = {region: observables[of] for region, of in taken.items()}
    scaling, apart = results.normalisation, config.of_acceptance
    histograms = {
        (region, process, variation): observable[{"process": process, "variation": variation}]
        * (scaling.to_nominal(process, variation) if variation in apart else 1.0)
        for region, observable in observables.items()
        for process, variations in scaling.variations.items()
        for variation in variations
    }
    made = _templates(
        histograms, config, list(taken), scaling.cross_sections_pb, "the normalised run",
        InferenceConfig.of_run(results.description.model),
    )  # fmt: skip
    return made._replace(notes=[*scaling.notes, *made.notes])


def from_root(path: Path, config: InferenceConfig) -> Templates:
    """Read templates from a ROOT file with histograms `{region}_{process}` and `.._{variation}`.

    Processes are those that the file of a run lists, the package's, the model's, and others that have
    a variation of the model: what has none may be a sum or pseudo-data. Other histograms are left out
    and said. Raises WorkspaceError as `from_results`, and for a file that is not there or holds none.
    """
    try:
        with uproot.open(path) as file:
            kinds = file.classnames(recursive=False, cycle=False)
            scaled_to = json.loads(str(file[SCALED_TO])) if SCALED_TO in kinds else None
            names = [name for name, kind in kinds.items() if kind.startswith("TH1")]
            said = str(file[NOTE]).splitlines() if kinds.get(NOTE) == "TObjString" else []
            keys, notes = named(names, config, scaled_to or ())
            histograms = {key: file[name].to_hist() for name, key in keys.items()}
    except (OSError, ValueError, uproot.exceptions.KeyInFileError) as error:
        msg = f"histograms {path}: cannot be read: {error}"
        raise WorkspaceError(msg.splitlines()[0]) from error
    if not histograms:
        msg = (
            f"{path} has no histogram named REGION_PROCESS: there are {', '.join(names) or 'none'}"
        )
        raise WorkspaceError(msg)
    made = _templates(histograms, config, config.regions, scaled_to, str(path))
    return made._replace(notes=said + notes + made.notes)


def from_json(path: Path, config: InferenceConfig) -> Templates:
    """Read templates from a JSON file of histograms, as the Analysis Grand Challenge writes them.

    Processes are found as in a ROOT file. Variances that the file does not have are contents × weight, as
    of events of one weight; what the signal was scaled to is then the Grand Challenge's. Raises
    WorkspaceError as `from_results`, and for nominal contents that are no multiples of a weight;
    OutputError for another file.
    """
    contents = agc_json.load(path)
    given = {
        region: contents.pop(name)
        for region in config.regions
        if (name := f"{region}_{agc_json.PSEUDODATA}") in contents
    }
    keys, notes = named(contents, config)
    found = {key: contents[name] for name, key in keys.items()}
    weights = _weights(found)
    lacking = [
        name
        for name, (_, process, variation) in keys.items()
        if contents[name].variances is None and (process, variation) not in weights
        if variation == NOMINAL
    ]
    if lacking:
        msg = (
            f"{path}: {lacking[0]} has no variances, and its contents are no multiples of one weight, "
            "from which they would follow: 'run.py export' writes them"
        )
        raise WorkspaceError(msg)
    stated = [
        content.cross_section_pb
        for (_, process, variation), content in found.items()
        if (process, variation) == (config.signal, NOMINAL)
    ]
    known = next(filter(None, stated), None)
    if known is None and config.signal_cross_section_pb is None:
        known = CROSS_SECTIONS.get(config.signal)
    histograms = {
        key: _histogram(content, weights.get(key[1:], weights.get((key[1], NOMINAL), 1.0)))
        for key, content in found.items()
    }
    scaled_to = None if known is None else {config.signal: known}
    made = _templates(histograms, config, config.regions, scaled_to, str(path))
    pseudodata = {
        region: rebinned(
            f"pseudo-data of {region}", _histogram(content), config.binning_of(region)
        ).values
        for region, content in given.items()
    }
    return made._replace(notes=notes + made.notes, pseudodata=pseudodata)


def _weights(contents: Mapping[Key, agc_json.Content]) -> dict[tuple[str, str], float]:
    """Process and variation -> the weight of its events, where they have one in all regions."""
    samples: dict[tuple[str, str], list[Array]] = {}
    for (_, process, variation), content in contents.items():
        samples.setdefault((process, variation), []).append(content.contents)
    found = {sample: agc_json.unit(np.concatenate(parts)) for sample, parts in samples.items()}
    return {sample: weight for sample, weight in found.items() if weight is not None}


def _histogram(content: agc_json.Content, weight: float = 1.0) -> Hist:
    histogram = Hist(axis.Variable(content.edges), storage=storage.Weight())
    view = histogram.view(flow=True)
    view["value"] = content.contents
    view["variance"] = weight * content.contents if content.variances is None else content.variances
    return histogram


def _require_apart(overlaps: Mapping[str, Mapping[str, int]], regions: Sequence[str]) -> None:
    for first, others in overlaps.items():
        for second, events in others.items():
            if first in regions and second in regions:
                msg = (
                    f"regions {first} and {second} have {events} events in common, which would be fitted "
                    "twice: leave one out ('regions' of the model)"
                )
                raise WorkspaceError(msg)


def _templates(
    histograms: Mapping[Key, Hist],
    config: InferenceConfig,
    regions: Sequence[str],
    scaled_to: Mapping[str, float | None] | None,
    source: str,
    own: InferenceConfig | None = None,
) -> Templates:
    """`regions` are those of the model, or of its channels; `scaled_to` is what the processes were scaled
    to, None where the source does not say it; `own` is the model of the analysis.
    """
    there = dict.fromkeys(region for region, _, _ in histograms)
    for region in regions:
        if region not in there:
            msg = f"no histogram of region {region!r}: {did_you_mean(region, there)}"
            raise WorkspaceError(msg)
    notes = [f"region {name}: not in the model" for name in there if name not in regions]
    histograms = {key: h for key, h in histograms.items() if key[0] in regions}
    simulated = dict.fromkeys(p for _, p, v in histograms if p != DATA and v == NOMINAL)
    if config.signal not in simulated:
        msg = f"no nominal histogram of the signal {config.signal!r}: "
        raise WorkspaceError(msg + did_you_mean(config.signal, simulated))
    known_regions = [*there, *config.regions]
    config.require_names(
        known_regions,
        simulated,
        (v for _, p, v in histograms if p != DATA and v != NOMINAL),
        own,
    )
    known = None if scaled_to is None else scaled_to.get(config.signal)
    if scaled_to is not None and known is None:
        msg = (
            f"the cross section of {config.signal} is not known in {source}, which is not scaled to "
            f"it: run 'normalise' with --cross-section {config.signal}=X"
        )
        raise WorkspaceError(msg)
    fraction = 1.0 if config.luminosity_fraction == "free" else config.luminosity_fraction
    by_key: dict[Key, Template] = {}
    binnings = {region: config.binning_of(region) for region in regions}
    for key, histogram in histograms.items():
        is_data = key[1] == DATA
        name = f"histogram {_name(key)}"
        template = rebinned(
            name, histogram, binnings[key[0]], errors=not is_data, overflow=config.overflow
        )
        factor = 1.0 if is_data else fraction
        scaled = Template(factor * template.values, factor**2 * template.variances)
        by_key[key] = _mended(key, scaled, notes)
    notes += _dropped(by_key)
    processes = sorted(simulated, key=lambda process: process != config.signal)
    reference = config.reference_pb(known, source)
    return Templates(list(regions), processes, by_key, notes, reference)


def contents(name: str, histogram: Hist, *, errors: bool = True) -> Template:
    """Take the contents of a histogram, which messages call `name`, in its own bins.

    Of counts, the variances are the events. Raises WorkspaceError for values that are no numbers and,
    unless the `errors` do not count, for weights without the sums of their squares.
    """
    try:
        found = windows.contents(histogram, WorkspaceError) if errors else None
    except WorkspaceError as error:
        msg = f"{name}: {error}"
        raise WorkspaceError(msg) from error
    values, variances = found or (histogram.values(), np.abs(histogram.values()))
    bad = np.flatnonzero(~(np.isfinite(values) & np.isfinite(variances)))
    if bad.size:
        msg = f"{name}: values that are no numbers in bins {', '.join(map(str, bad))}"
        raise WorkspaceError(msg)
    return Template(values, variances)


def rebinned(
    name: str,
    histogram: Hist,
    binning: Binning,
    *,
    errors: bool = True,
    overflow: bool = False,
) -> Template:
    """Add up a histogram, which messages call `name`, in the bins of the model, with what lies beyond them
    in the first and last ones for `overflow`.

    Raises WorkspaceError if an edge of the model is none of the histogram, and as `contents`.
    """
    edges = histogram.axes[0].edges
    width = (binning.high - binning.low) / binning.bins
    wanted = np.linspace(binning.low, binning.high, binning.bins + 1)
    places = [int(np.argmin(np.abs(edges - edge))) for edge in wanted]
    wrong = wanted[np.abs(edges[places] - wanted) > _EDGE * width]
    if wrong.size:
        msg = (
            f"{name}: {wrong[0]:g} GeV is no edge of its bins ({edges.size - 1} from {edges[0]:g} to "
            f"{edges[-1]:g} GeV), the model has {binning.bins} of {width:g} GeV from "
            f"{binning.low:g} to {binning.high:g} GeV"
        )
        raise WorkspaceError(msg)
    if overflow:
        content = contents(name, _with_ends(histogram), errors=errors)
        return Template(*(np.add.reduceat(a, [0, *places[1:-1]]) for a in content))
    content = contents(name, histogram, errors=errors)
    return Template(*(np.add.reduceat(a[: places[-1]], places[:-1]) for a in content))


def _with_ends(histogram: Hist) -> Hist:
    """Add what is beyond the ends of the axis to the first and the last bin."""
    found = histogram.copy()
    traits, view = found.axes[0].traits, found.view(flow=True)
    if traits.underflow:
        view[1:2] += view[:1]
    if traits.overflow:
        view[-2:-1] += view[-1:]
    return found


def _mended(key: Key, template: Template, notes: list[str]) -> Template:
    negative = template.values < 0
    if np.any(negative):
        bins = ", ".join(map(str, np.flatnonzero(negative)))
        if key[1] == DATA:
            events = ", ".join(f"{x:g}" for x in template.values[negative])
            msg = f"{_name(key)}: negative events in bins {bins} ({events}): no counts"
            raise WorkspaceError(msg)
        notes.append(f"{_name(key)}: negative bins {bins} set to zero")
    return Template(np.where(negative, 0.0, template.values), template.variances)


def _dropped(by_key: dict[Key, Template]) -> Iterator[str]:
    """Take out what has no events; one line for each."""
    for key in list(by_key):
        region, process, variation = key
        nominal = by_key.get((region, process, NOMINAL))
        total = 0.0 if nominal is None else float(np.sum(nominal.values))
        if process == DATA and variation == NOMINAL:
            continue
        if variation == NOMINAL and total <= 0:
            by_key.pop(key)
            yield f"{_name(key)}: no events, left out"
        elif variation != NOMINAL and np.sum(by_key[key].values) <= DEAD * total:
            by_key.pop(key)
            if total > 0:
                yield f"{_name(key)}: empty where nominal is not, left out"


def _name(key: Key) -> str:
    region, process, variation = key
    return f"{region} {process}" if variation == NOMINAL else f"{region} {process} {variation}"
