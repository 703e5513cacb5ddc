"""Estimate the multijet background of the muon channel by ABCD in (isolation, m_T)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import hist
import numpy as np
from hist import Hist
from pydantic import Field

from analysis.common.errors import AbcdError
from analysis.common.strict import Strict
from analysis.config import AnalysisConfig
from analysis.datasets.processes import DATA
from analysis.datasets.sample import NOMINAL
from analysis.postprocess.abcd.method import (
    Closure,
    Independence,
    Sides,
    Toys,
    Yields,
    closure,
    count_plane,
    independence,
    predict_with_toys,
    remaining,
)
from analysis.postprocess.windows import Count, Window
from analysis.selection.isolation_plane import CHANNEL

MULTIJET = "qcd"

_SEED = 1
"""Seed of the pseudo-experiments: the same histograms give the same result."""


class RegionEstimate(Strict):
    """ABCD estimates of one region; those without a result are None, with the reason in `refusals`."""

    data: Closure | None = None
    """Estimate from data less simulated prompt leptons; A, so subtracted, is no independent check."""
    toys: Toys | None = None
    """The estimate of the data in pseudo-experiments."""
    validation: Closure | None = None
    """Estimate of the data's muons between isolated and control, from the other three regions."""
    simulation: Closure | None = None
    """Estimate of the simulated multijet events alone."""
    simulated_validation: Closure | None = None
    independence: Independence | None = None
    refusals: dict[str, str] = Field(default={})

    @property
    def usable(self) -> bool:
        """Whether the estimate of the data may be used: there, tested in simulation and allowed."""
        test = self.independence
        return self.data is not None and test is not None and test.allowed and test.tested


def sides(config: AnalysisConfig) -> tuple[Sides, Sides]:
    """Return the intervals of isolation and m_T."""
    cuts = config.multijet
    isolation = Sides(
        signal=Window(cuts.isolation.low, config.muon.max_isolation),
        control=Window(cuts.min_control_isolation, math.inf),
    )
    transverse_mass = Sides(
        signal=Window(cuts.min_transverse_mass, math.inf),
        control=Window(cuts.transverse_mass.low, cuts.min_transverse_mass),
    )
    return isolation, transverse_mass


def validation_sides(config: AnalysisConfig) -> tuple[Sides, Sides]:
    """Return the intervals of the validation: muons between isolated and control for isolated ones."""
    isolation, transverse_mass = sides(config)
    near = Window(isolation.signal.high, isolation.control.low)
    return Sides(near, isolation.control), transverse_mass


def require_edges(plane: Hist, config: AnalysisConfig) -> None:
    """Raise AbcdError, naming the settings, if the cuts make no regions of (isolation, m_T)."""
    cuts = config.multijet
    for x, y in (sides(config), validation_sides(config)):
        try:
            count_plane(plane, x, y)
        except AbcdError as error:
            msg = (
                f"muon.max_isolation ({config.muon.max_isolation:g}), multijet.min_control_isolation "
                f"({cuts.min_control_isolation:g}) and multijet.min_transverse_mass "
                f"({cuts.min_transverse_mass:g}) have to be edges of the bins of multijet.isolation and "
                f"multijet.transverse_mass: {error}"
            )
            raise AbcdError(msg) from error


def estimate(plane: Hist, region: str, config: AnalysisConfig) -> RegionEstimate:
    """Estimate one region from the normalised plane with all processes.

    Raises AbcdError for cuts that make no regions.
    """
    regions = sides(config)
    by_process = {
        name: plane[{"region": region, "process": name, "channel": 0}]
        for name in plane.axes["process"]
    }
    for part in by_process.values():
        require_edges(part, config)
    prompt = [name for name in by_process if name not in (DATA, MULTIJET)]
    found: dict[str, Strict] = {}
    refusals: dict[str, str] = {}

    def attempt(name: str, get: Callable[[], Strict]) -> None:
        try:
            found[name] = get()
        except AbcdError as error:
            refusals[name] = str(error)

    for suffix, (x, y) in (("", regions), ("validation", validation_sides(config))):
        yields = {name: count_plane(part, x, y) for name, part in by_process.items()}
        if DATA in yields:
            contamination = total([yields[name] for name in prompt])
            attempt(suffix or "data", partial(closure, yields[DATA], contamination))
            if not suffix:
                generator = np.random.default_rng(_SEED)
                attempt("toys", partial(predict_with_toys, yields[DATA], generator, contamination))
        if MULTIJET in yields:
            attempt(
                f"simulated_{suffix}" if suffix else "simulation",
                partial(closure, yields[MULTIJET]),
            )
    if MULTIJET in by_process:
        attempt("independence", partial(independence, by_process[MULTIJET], *regions))
    return RegionEstimate.model_validate({**found, "refusals": refusals})


def with_estimate(observable: Hist, plane: Hist, shape: Hist, config: AnalysisConfig) -> Hist:
    """Put the estimate in the place of simulated multijet events of the normalised observable.

    In the muon channel only. The shape is that of the muons that are not isolated, data less prompt
    leptons; B / D scales it to the isolated ones, at any m_T. It has no systematic variations: every
    one there is the same. Raises AbcdError, naming the region, where there is no estimate and where the
    simulation does not allow it.
    """
    processes, variations = (list(observable.axes[name]) for name in ("process", "variation"))
    muons = observable.axes["channel"].index(CHANNEL)
    rest = observable.copy()
    filled = [variations.index(NOMINAL)]
    if MULTIJET in processes:
        filled = list(range(len(variations)))
        for field in ("value", "variance"):
            rest.view(flow=True)[field][:, :, processes.index(MULTIJET), :, muons] = 0.0
    estimated = Hist(
        *(
            hist.axis.StrCategory([MULTIJET], name="process", label=axis.label, growth=True)
            if axis.name == "process"
            else axis
            for axis in observable.axes
        ),
        storage=observable.storage_type(),
    )
    for i, region in enumerate(observable.axes["region"]):
        tested = estimate(plane, region, config)
        if tested.independence is not None and not tested.independence.allowed:
            msg = (
                f"{region}: isolation and m_T of simulated multijet events depend on each other, "
                f"{tested.independence}: take the simulated ones"
            )
            raise AbcdError(msg)
        template = _template(plane, shape, region, config)
        for field in ("value", "variance"):
            view = estimated.view(flow=True)[field]
            for variation in filled:
                view[:, i, 0, variation, muons] = template[field]
    return rest + estimated


def note(plane: Hist, config: AnalysisConfig) -> str:
    """Say that multijet events are estimated, and what the simulation tells of it in each region."""
    estimates = {name: estimate(plane, name, config) for name in plane.axes["region"]}
    words = " ".join(line for line in verdicts(estimates) if "pseudo-experiments" not in line)
    return f"{MULTIJET}: estimated from data in the muon channel (ABCD). {words}"


def _template(plane: Hist, shape: Hist, region: str, config: AnalysisConfig) -> Any:
    """Compute the estimate in one region: a view of value and variance, flow included.

    Negative bins become zero and the others are scaled down for it: the sum is what is estimated.
    """
    parts = {
        name: count_plane(plane[{"region": region, "process": name, "channel": 0}], *sides(config))
        for name in plane.axes["process"]
    }
    difference = subtracted(shape[{"variation": 0}], region)
    if DATA not in parts or difference is None:
        msg = f"{region}: no data to estimate multijet events from"
        raise AbcdError(msg)
    known = total([part for name, part in parts.items() if name not in (DATA, MULTIJET)])
    try:
        b, _, d = remaining(parts[DATA], known)
    except AbcdError as error:
        msg = f"{region}: {error}"
        raise AbcdError(msg) from error
    relative = b.variance / b.value**2 + d.variance / d.value**2
    view = difference.view(flow=True)
    wanted = b.value / d.value * float(np.sum(view["value"]))
    values = np.maximum(view["value"], 0.0)
    scale = wanted / float(np.sum(values))
    view["value"] = scale * values
    view["variance"] = scale**2 * (view["variance"] + values**2 * relative)
    return view


def subtracted(plane: Hist, region: str) -> Hist | None:
    """Subtract prompt leptons from data, in a histogram by region and process.

    Without data, the simulated multijet events; None where there are none either.
    """
    processes = list(plane.axes["process"])
    chosen = DATA if DATA in processes else MULTIJET
    if chosen not in processes:
        return None
    result = plane[{"region": region, "process": chosen, "channel": 0}].copy()
    if chosen == DATA:
        for name in processes:
            if name not in (DATA, MULTIJET):
                result += -1 * plane[{"region": region, "process": name, "channel": 0}]
    return result


def total(parts: list[Yields]) -> Yields:
    """Add up yields and their variances, region by region."""
    return Yields(
        *(
            Count(*map(float, np.sum([part[i] for part in parts], axis=0)))
            if parts
            else Count(0, 0)
            for i in range(4)
        )
    )


def estimate_table(
    estimates: dict[str, RegionEstimate], data: str = DATA
) -> tuple[list[str], list[list[str]]]:
    """Build header and rows: predicted and found events of each region and test, and the pull.

    `data` is what the data are called.
    """
    rows = []
    for region, result in estimates.items():
        for name in ("data", "validation", "simulation", "simulated_validation"):
            test: Closure | None = getattr(result, name)
            words = [region, data if name == "data" else name.replace("_", " ")]
            if test is None:
                rows.append([*words, result.refusals.get(name, "not in this run"), "", ""])
                continue
            prediction = test.prediction
            rows.append(
                [
                    *words,
                    f"{prediction.background:.2f} ± {prediction.background_error:.2f}",
                    f"{test.found:.2f} ± {test.found_error:.2f}",
                    f"{test.pull:+.2f}",
                ]
            )
    return ["region", "of", "predicted", "found", "pull"], rows


def verdicts(estimates: dict[str, RegionEstimate], data: str = DATA) -> list[str]:
    """Write one line for each region: are the variables independent, may the estimate be used."""
    lines = []
    for region, result in estimates.items():
        if result.toys is not None:
            lines.append(f"{region}: {data}, pseudo-experiments: {result.toys}.")
        test = str(result.independence or result.refusals.get("independence", "not tested"))
        lines.append(f"{region}: {test}. {'Usable.' if result.usable else 'Not usable.'}")
    return lines
