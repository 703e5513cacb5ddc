"""The HistFactory workspace of the measurement, made of templates; standard pyhf JSON.

Signal and backgrounds have a normalisation (`normsys`) and a shape (`histosys`) apart for every
variation, so that each can be pruned, and the normalisation extrapolates without becoming negative.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from cabinetry.smooth import smooth_353qh_twice
from numpy.typing import NDArray

from analysis.common.errors import WorkspaceError, did_you_mean
from analysis.common.files import read_text
from analysis.common.strict import parse_json
from analysis.datasets.sample import NOMINAL
from analysis.inference import two_point
from analysis.inference.config import (
    ACCEPTANCE,
    ALTERNATIVES,
    InferenceConfig,
    Observed,
    Variation,
)
from analysis.inference.structure import require_structure
from analysis.inference.templates import Template, Templates
from analysis.inference.validator import NO_DIFFERENCE

Array = NDArray[np.float64]
Spec = dict[str, Any]
Place = tuple[str, str]
"""Region and process."""

FRACTION = "luminosity fraction"
SMOOTHED = 3
"""Fewer bins are not smoothed."""
SMALLEST = 0.01
"""A mirrored normalisation is never below this part of nominal."""


class Pair(NamedTuple):
    """Nominal, and the directions of a variation; `down` is None where it is not there."""

    nominal: Template
    up: Template
    down: Template | None

    @property
    def told_apart(self) -> tuple[Template, Template]:
        """The two samples whose difference the variation is."""
        return self.up, self.nominal if self.down is None else self.down

    @property
    def is_same(self) -> bool:
        """Whether there are two directions, and they are the same."""
        return self.down is not None and np.allclose(
            self.up.values, self.down.values, rtol=NO_DIFFERENCE, atol=0
        )

    @property
    def differs(self) -> bool:
        """Whether there are two directions, and they are not the same."""
        return self.down is not None and not self.is_same


class Built(NamedTuple):
    """A workspace, and what is to be known about how it came about."""

    spec: Spec
    notes: list[str]


def build(
    templates: Templates,
    config: InferenceConfig,
    observed: Observed | None = None,
    rates: Mapping[tuple[str, Place], Pair] | None = None,
) -> Built:
    """A workspace of all regions, fitted to what `observed`, or else the configuration, says.

    `rates` are those that regions have in common, by default those of these templates. Raises WorkspaceError where templates that it needs are missing, and for another word than those of
    `Observed`.
    """
    observed = observed or config.observed
    if observed not in get_args(Observed):
        msg = f"observed {observed!r}: {did_you_mean(observed, get_args(Observed))}"
        raise WorkspaceError(msg)
    notes = list(templates.notes)
    notes += _absent(templates, config)
    common = common_rates(templates, config, notes) if rates is None else rates
    mistaken = set(_same_everywhere(templates, config))
    channels, observations = [], []
    for region in templates.regions:
        if templates.nominal(region, config.signal) is None:
            msg = f"region {region} has no events of the signal {config.signal}"
            raise WorkspaceError(msg)
        samples = [
            _sample(templates, config, region, process, common, mistaken, notes)
            for process in templates.processes
            if templates.nominal(region, process) is not None
        ]
        channels.append({"name": region, "samples": samples})
        values = _observed(templates, config, region, observed)
        observations.append({"name": region, "data": values.tolist()})
    parameters = [{"name": config.poi, "inits": [1.0], "bounds": [[0.0, 10.0]]}]
    if config.luminosity_fraction == "free":
        parameters.append(_free_fraction(channels, observations))
    measurement = {"name": "ttbar", "config": {"poi": config.poi, "parameters": parameters}}
    return Built(
        {
            "channels": channels,
            "observations": observations,
            "measurements": [measurement],
            "version": "1.0.0",
        },
        notes,
    )


def load(path: Path) -> Spec:
    """A workspace file. Raises WorkspaceError if it cannot be read or is no JSON object."""
    try:
        spec = parse_json(read_text(path))
    except OSError as error:
        msg = f"workspace {path}: {error.strerror or error}"
        raise WorkspaceError(msg) from error
    except ValueError as error:
        msg = f"workspace {path}: not JSON: {error}"
        raise WorkspaceError(msg) from error
    if not isinstance(spec, dict) or "channels" not in spec:
        keys = ", ".join(spec) if isinstance(spec, dict) else type(spec).__name__
        msg = f"workspace {path}: no pyhf workspace: it has no 'channels', there is {keys or 'nothing'}"
        raise WorkspaceError(msg)
    try:
        require_structure(spec)
    except WorkspaceError as error:
        msg = f"workspace {path}: {error}"
        raise WorkspaceError(msg) from error
    return spec


def _absent(templates: Templates, config: InferenceConfig) -> Iterator[str]:
    """One line for each variation of the configuration that no process has, and one for all those
    that are missing in the same places and direction.
    """
    without: dict[tuple[tuple[Place, ...], str], list[str]] = {}
    for name, variation in config.systematics.items():
        places = list(_places(templates, variation))
        no_up = tuple(p for p in places if (*p, variation.up) not in templates.by_key)
        if len(no_up) == len(places):
            yield f"{name}: no histogram {variation.up!r}, the model has no such parameter"
            continue
        if no_up:
            without.setdefault((no_up, "left out there"), []).append(variation.up)
        if variation.down is None:
            continue
        no_down = tuple(
            p for p in places if p not in no_up and (*p, variation.down) not in templates.by_key
        )
        if no_down:
            instead = "up is mirrored" if config.one_sided == "mirror" else "nominal is taken"
            without.setdefault((no_down, instead), []).append(variation.down)
    everywhere = tuple(_places(templates, Variation(up="any")))
    for (missing, instead), names in without.items():
        where = "everywhere" if missing == everywhere else _listed(missing)
        yield f"{where}: no {', '.join(map(repr, names))}, {instead}"


def _places(templates: Templates, variation: Variation) -> Iterator[Place]:
    """Where a variation is expected."""
    for region in templates.regions:
        for process in templates.processes:
            expected = not variation.processes or process in variation.processes
            if expected and templates.nominal(region, process) is not None:
                yield region, process


def _listed(places: tuple[Place, ...]) -> str:
    regions: dict[str, list[str]] = {}
    for region, process in places:
        regions.setdefault(process, []).append(region)
    return "; ".join(f"{process} in {', '.join(names)}" for process, names in regions.items())


def common_rates(
    templates: Templates, config: InferenceConfig, notes: list[str]
) -> dict[tuple[str, Place], Pair]:
    """Add up the regions of each independent variation whose rates the samples do not tell apart: all of
    them, else the channels of each.

    Returns, by variation, region and process, nominal and varied templates, each of one bin.
    """
    groups = [templates.regions]
    for base in config.regions:
        groups.append([region for region in templates.regions if config.place(region)[0] == base])
    common: dict[tuple[str, Place], Pair] = {}
    for name, variation in config.systematics.items():
        if not variation.independent or variation.correlated != "everywhere":
            continue
        for process in dict.fromkeys(process for _, process in _places(templates, variation)):
            for group in groups:
                pairs = {
                    (region, process): pair
                    for region in group
                    if (name, (region, process)) not in common
                    and (pair := _pair(templates, (region, process), variation)) is not None
                }
                downs = [pair.down for pair in pairs.values() if pair.down is not None]
                if len(pairs) < 2 or len(downs) not in (0, len(pairs)):
                    continue
                p_value = two_point.rates_p_value([pair.told_apart for pair in pairs.values()])
                if p_value > config.significance:
                    one = Pair(
                        _total(pair.nominal for pair in pairs.values()),
                        _total(pair.up for pair in pairs.values()),
                        _total(downs) if downs else None,
                    )
                    common |= {(name, place): one for place in pairs}
                    where = "all regions" if group is templates.regions else ", ".join(group)
                    notes.append(
                        f"{process} / {name}: one rate in {where}, as the samples do not tell them "
                        f"apart (p = {p_value:.2g})"
                    )
    return common


def _same_everywhere(templates: Templates, config: InferenceConfig) -> Iterator[str]:
    """Name the variations whose directions differ nowhere: a mistake, which the validator calls an error."""
    for name, variation in config.systematics.items():
        pairs = [_pair(templates, place, variation) for place in _places(templates, variation)]
        if all(pair.is_same for pair in pairs if pair is not None and pair.down is not None):
            yield name


def _is_of_few_events(pair: Pair, config: InferenceConfig) -> bool:
    """Whether both directions are the same, as of a few events that move in either, and hardly nominal's."""
    return pair.is_same and two_point.alike(pair.up, pair.nominal, config.significance)


def _total(templates: Iterable[Template]) -> Template:
    found = list(templates)
    return Template(*(np.array([sum(float(np.sum(t[i])) for t in found)]) for i in (0, 1)))


def staterror(region: str) -> str:
    """Name the parameters of the simulation's statistics in a fitted region."""
    return f"staterror_{region}"


def _sample(
    templates: Templates,
    config: InferenceConfig,
    region: str,
    process: str,
    common: Mapping[tuple[str, Place], Pair],
    mistaken: Container[str],
    notes: list[str],
) -> Spec:
    nominal = templates.by_key[region, process, NOMINAL]
    modifiers: list[Spec] = [
        {
            "name": staterror(region),
            "type": "staterror",
            "data": np.sqrt(nominal.variances).tolist(),
        }
    ]
    if process == config.signal:
        modifiers.append({"name": config.poi, "type": "normfactor", "data": None})
    if config.luminosity_fraction == "free":
        modifiers.append({"name": FRACTION, "type": "normfactor", "data": None})
    else:
        modifiers.append(_rate("Luminosity", config.luminosity_uncertainty))
    for name, rate in config.rates.items():
        if process in rate.processes and config.place(region)[0] in (
            rate.regions or config.regions
        ):
            modifiers.append(_rate(config.parameter(name, rate.correlated, region), rate.relative))
    for name, variation in config.systematics.items():
        if not variation.processes or process in variation.processes:
            pair = _pair(templates, (region, process), variation)
            place = f"{region} / {process} / {name}"
            if pair is not None and name not in mistaken and _is_of_few_events(pair, config):
                notes.append(f"{place}: up and down are the same few events, left out there")
            elif pair is not None:
                rates = common.get((name, (region, process)), pair)
                parameter = config.parameter(name, variation.correlated, region)
                modifiers += _modifiers(parameter, variation, pair, rates, config, place, notes)
    return {"name": process, "data": nominal.values.tolist(), "modifiers": modifiers}


def _rate(name: str, relative: float | Literal["free"]) -> Spec:
    if relative == "free":
        return {"name": name, "type": "normfactor", "data": None}
    return {"name": name, "type": "normsys", "data": {"hi": 1 + relative, "lo": 1 - relative}}


def _pair(templates: Templates, place: Place, variation: Variation) -> Pair | None:
    """Return the templates of a variation, None where it is not."""
    nominal = templates.nominal(*place)
    up = templates.by_key.get((*place, variation.up))
    if nominal is None or up is None:
        return None
    down = templates.by_key.get((*place, variation.down)) if variation.down else None
    return Pair(nominal, up, down)


def _modifiers(
    name: str,
    variation: Variation,
    pair: Pair,
    rates: Pair,
    config: InferenceConfig,
    place: str,
    notes: list[str],
) -> Iterator[Spec]:
    """Normalisation, of the templates `rates`, and shape of a variation, each if it is above its threshold."""
    nominal = pair.nominal.values
    factors, shapes = _factors(rates, config), _shapes(pair, config)
    same_side = (factors[0] - 1) * (factors[1] - 1) > 0
    if same_side:
        notes.append(
            f"{place}: up and down on the same side ({factors[0]:.4g}, {factors[1]:.4g}), "
            "half their difference taken for the normalisation"
        )
    # What is the same in both directions is left to the validator, which calls it an error.
    symmetric = config.two_sided == "symmetric" and pair.differs
    if same_side or symmetric:
        factors = _symmetric_factors(factors)
    if symmetric:
        half = (shapes[0] - shapes[1]) / 2
        shapes = np.maximum(nominal + half, 0.0), np.maximum(nominal - half, 0.0)
    if pair.differs and np.allclose(*shapes, rtol=NO_DIFFERENCE, atol=0):
        # A few events, of which the same bins remain: their rates differ alone.
        shapes = (nominal, nominal)
    largest = max(abs(factor - 1) for factor in factors)
    if variation.acceptance == "none":
        notes.append(f"{place}: normalisation left out ({largest:.2g}), as the model says")
    elif largest > max(config.pruning, NO_DIFFERENCE):
        data: Spec = {"hi": factors[0], "lo": factors[1]}
        end = ACCEPTANCE if variation.acceptance == "apart" else ""
        yield {"name": f"{name}{end}", "type": "normsys", "data": data}
    else:
        notes.append(f"{place}: normalisation pruned ({largest:.2g})")
    p_value = two_point.shapes_p_value(*pair.told_apart) if variation.independent else 0.0
    filled = nominal > 0
    change = max(float(np.max(np.abs(s[filled] / nominal[filled] - 1))) for s in shapes)
    if change <= config.pruning:
        notes.append(f"{place}: shape pruned ({change:.2g})")
    elif p_value > config.significance:
        notes.append(f"{place}: shape left out, as the samples do not tell it (p = {p_value:.2g})")
    else:
        data = {"hi_data": shapes[0].tolist(), "lo_data": shapes[1].tolist()}
        yield {"name": name, "type": "histosys", "data": data}


def _symmetric_factors(factors: tuple[float, float]) -> tuple[float, float]:
    up = float(np.sqrt(factors[0] / factors[1]))
    return up, 1 / up


def _factors(pair: Pair, config: InferenceConfig) -> tuple[float, float]:
    """Compute the factors of the normalisation, up and down."""
    nominal = np.sum(pair.nominal.values)
    up = float(np.sum(pair.up.values) / nominal)
    if pair.down is not None:
        return up, float(np.sum(pair.down.values) / nominal)
    return up, max(2 - up, SMALLEST) if config.one_sided == "mirror" else 1.0


def _shapes(pair: Pair, config: InferenceConfig) -> tuple[Array, Array]:
    """Compute the shapes with the nominal number of events, up and down."""
    nominal = pair.nominal.values
    up = _shape(nominal, pair.up.values, config)
    if pair.down is not None:
        return up, _shape(nominal, pair.down.values, config)
    if config.one_sided == "flat":
        return up, nominal
    mirrored = np.maximum(2 * nominal - up, 0.0)
    return up, mirrored * (np.sum(nominal) / np.sum(mirrored))


def _shape(nominal: Array, varied: Array, config: InferenceConfig) -> Array:
    # Where nominal has no events a factor on it has no effect, and so the variation has none.
    shape = np.where(nominal > 0, varied, 0.0)
    if config.smoothing and nominal.size >= SMOOTHED:
        filled = nominal > 0
        ratio = np.ones_like(nominal)
        np.divide(shape, nominal, out=ratio, where=filled)
        shape = np.maximum(nominal * smooth_353qh_twice(ratio), 0.0)
    if np.sum(shape) <= 0:
        return nominal
    return shape * float(np.sum(nominal) / np.sum(shape))


def _observed(
    templates: Templates, config: InferenceConfig, region: str, observed: Observed
) -> Array:
    if observed == "data":
        return templates.data(region)
    is_pseudo = observed == "pseudodata"
    if is_pseudo and region in templates.pseudodata:
        return templates.pseudodata[region]
    wanted = config.pseudodata_backgrounds if is_pseudo else None
    total = np.zeros(config.binning_of(region).bins)
    for process in templates.processes:
        nominal = templates.nominal(region, process)
        if nominal is None or (wanted is not None and process not in (config.signal, *wanted)):
            continue
        alternative = is_pseudo and process == config.signal
        total += _pseudo_signal(templates, region, process) if alternative else nominal.values
    return total


def _pseudo_signal(templates: Templates, region: str, process: str) -> Array:
    """Mean of the matrix element and parton shower alternatives, as in the Grand Challenge."""
    found = []
    for variation in ALTERNATIVES:
        template = templates.by_key.get((region, process, variation))
        if template is None:
            msg = f"pseudo-data need the variation {variation!r} of {process} in {region}"
            raise WorkspaceError(msg)
        found.append(template.values)
    mean: Array = np.mean(found, axis=0)
    return mean


def _free_fraction(channels: list[Spec], observations: list[Spec]) -> Spec:
    """The parameter of the luminosity fraction, beginning at data over prediction."""
    predicted = sum(sum(s["data"]) for channel in channels for s in channel["samples"])
    start = sum(sum(o["data"]) for o in observations) / predicted
    return {"name": FRACTION, "inits": [start], "bounds": [[start / 100, start * 100]]}
