"""Reinterpretation: a signal of somebody else's added to the model; its strength, its upper limit."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import uproot
from numpy.typing import NDArray
from pydantic import PositiveFloat
from scipy.stats import norm

from analysis.common.errors import FitError, WorkspaceError
from analysis.common.strict import Strict
from analysis.config import Binning
from analysis.inference.fit import BestFit, fit
from analysis.inference.impacts import conditional
from analysis.inference.templates import Template, contents, rebinned
from analysis.postprocess.normalisation import scale_factor

Array = NDArray[np.float64]

SIGNAL = "new signal"
STRENGTH = "signal_strength"
STATISTICS = "signal_staterror"
BANDS = (-2.0, -1.0, 0.0, 1.0, 2.0)
REACH = 10.0
"""Errors above the best fit up to which the limit is looked for."""
POINTS = 41
_OF_ANY_SAMPLE = ("normsys", "normfactor")
"""Types of modifiers that are the same for every sample."""


class SignalRate(Strict):
    """What scales a signal's weighted events to expected ones."""

    sum_of_weights: PositiveFloat
    cross_section_pb: PositiveFloat
    luminosity_ipb: PositiveFloat
    filter_efficiency: PositiveFloat = 1.0
    k_factor: PositiveFloat = 1.0

    @property
    def factor(self) -> float:
        return scale_factor(
            sum_of_weights=self.sum_of_weights,
            cross_section_pb=self.cross_section_pb,
            luminosity_ipb=self.luminosity_ipb,
            filter_efficiency=self.filter_efficiency,
            k_factor=self.k_factor,
        )


class Curve(Strict):
    """CLs at some strengths."""

    strengths: list[float]
    observed: list[float]
    expected: list[list[float]]
    """Without signal: a list for -2, -1, 0, 1, 2 standard deviations."""


class Limit(Strict):
    """Strengths in units of the signal's own cross section."""

    strength: float
    strength_error: float
    level: float
    """Of confidence."""
    observed: float
    expected: list[float]
    """Without signal: -2, -1, 0, 1, 2 standard deviations."""
    cross_section_pb: float
    events: dict[str, float]
    """Region -> events of the signal at strength 1."""
    curve: Curve


def read_signal(
    path: Path, spec: Mapping[str, Any], binning: Binning | None = None
) -> dict[str, Template]:
    """Weighted events of a signal: the histograms of a ROOT file that are named as channels.

    Where the `binning` of the model is known, in its bins. Raises WorkspaceError for a file that cannot
    be read or has no such histogram, and for one that has not the edges of the model's bins.
    """
    channels = [channel["name"] for channel in spec["channels"]]
    try:
        with uproot.open(path) as file:
            kinds = file.classnames(recursive=False, cycle=False)
            names = [name for name, kind in kinds.items() if kind.startswith("TH1")]
            histograms = {name: file[name].to_hist() for name in channels if name in names}
    except (OSError, ValueError) as error:
        msg = f"signal {path}: cannot be read: {error}"
        raise WorkspaceError(msg.splitlines()[0]) from error
    if not histograms:
        msg = (
            f"signal {path}: no histogram named as a channel ({', '.join(channels)}): "
            f"there are {', '.join(names) or 'none'}"
        )
        raise WorkspaceError(msg)
    if binning is not None:
        return {
            name: rebinned(f"signal {path}, {name}", histogram, binning)
            for name, histogram in histograms.items()
        }
    return {name: contents(histogram) for name, histogram in histograms.items()}


def with_signal(
    spec: Mapping[str, Any], signal: Mapping[str, Template], rate: SignalRate
) -> dict[str, Any]:
    """The workspace with the scaled signal as a sample, its strength the parameter of interest.

    `signal` holds weighted events by channel. The signal has the luminosity uncertainty of the
    model, and its own statistical one; the former parameter of interest is fitted with the rest.
    Raises WorkspaceError for a channel that the model does not have, other bins, or no events.
    """
    made = copy.deepcopy(dict(spec))
    channels = {channel["name"]: channel for channel in made["channels"]}
    unknown = sorted(set(signal) - set(channels))
    if unknown or not signal:
        msg = f"signal in channels {', '.join(unknown) or 'none'}: there are {', '.join(channels)}"
        raise WorkspaceError(msg)
    for name, template in signal.items():
        channels[name]["samples"].append(_sample(channels[name], template, rate.factor))
    if not any(np.sum(template.values) > 0 for template in signal.values()):
        msg = "the signal has no events in the model's bins"
        raise WorkspaceError(msg)
    made["measurements"][0]["config"]["poi"] = STRENGTH
    parameters = made["measurements"][0]["config"].setdefault("parameters", [])
    parameters.append({"name": STRENGTH, "inits": [0.0], "bounds": [[-1e6, 1e6]]})
    return made


def upper_limit(
    spec: Mapping[str, Any], signal: Mapping[str, Template], rate: SignalRate, level: float = 0.95
) -> Limit:
    """Best fit strength, and observed and expected CLs limit.

    Asymptotic, with the test statistic q̃μ and the background-only Asimov data (Cowan, Cranmer,
    Gross, Vitells, arXiv:1007.1727). `cabinetry.fit.limit` begins each of its fits from the initial
    values, from where those of a model with many parameters do not always converge; here they begin
    beside the best fit. Raises WorkspaceError as `with_signal`; FitError if a fit does not converge
    or the limit is further than ten errors away.
    """
    best = fit(with_signal(spec, signal, rate))
    result = best.result
    strengths = np.linspace(0.0, max(result.value, 0.0) + REACH * result.error, POINTS)
    observed_q = _test_statistic(best, strengths)
    asimov_q = _test_statistic(_background_only(best), strengths)
    observed = _observed_cls(observed_q, asimov_q)
    expected = [_expected_cls(asimov_q, shift) for shift in BANDS]
    return Limit(
        strength=result.value,
        strength_error=result.error,
        level=level,
        observed=_crossing(strengths, observed, 1 - level),
        expected=[_crossing(strengths, band, 1 - level) for band in expected],
        cross_section_pb=rate.cross_section_pb,
        events={
            name: rate.factor * float(np.sum(template.values)) for name, template in signal.items()
        },
        curve=Curve(
            strengths=strengths.tolist(),
            observed=observed.tolist(),
            expected=[band.tolist() for band in expected],
        ),
    )


def _test_statistic(best: BestFit, strengths: Array) -> Array:
    """q̃μ at each strength: -2 ln of the likelihood ratio to the best strength of [0, μ]."""
    heights = np.array([conditional(best, best.likelihood.poi, x)[1] for x in strengths])
    lowest = best.result.twice_nll if best.result.value > 0 else heights[0]
    q: Array = np.where(strengths < best.result.value, 0.0, np.maximum(heights - lowest, 0.0))
    return q


def _background_only(best: BestFit) -> BestFit:
    """The fit of Asimov data without signal, all else as the data have it; its strength is 0."""
    likelihood = best.likelihood
    values, _ = conditional(best, likelihood.poi, 0.0)
    asimov = likelihood.with_data(likelihood.model.expected_data(values))
    result = best.result.model_copy(update={"value": 0.0, "twice_nll": asimov.value(values)})
    return best._replace(result=result, likelihood=asimov, values=values)


def _observed_cls(q: Array, asimov: Array) -> Array:
    """Eqs. 65 and 66 of arXiv:1007.1727: CLs = p_{s+b} / (1 - p_b)."""
    root, root_asimov = np.sqrt(q), np.sqrt(asimov)
    beyond = (q - asimov) / np.where(root_asimov > 0, 2 * root_asimov, np.inf)
    distance = np.where(q <= asimov, root - root_asimov, beyond)
    ratio: Array = norm.sf(distance + root_asimov) / norm.sf(distance)
    return ratio


def _expected_cls(asimov: Array, shift: float) -> Array:
    """CLs where the background fluctuates by `shift` standard deviations."""
    ratio: Array = norm.sf(np.sqrt(asimov) - shift) / norm.cdf(shift)
    return ratio


def _crossing(strengths: Array, cls: Array, target: float) -> float:
    """Where CLs falls to the target, ln CLs interpolated between the points."""
    below = np.flatnonzero(cls < target)
    if not below.size or below[0] == 0:
        msg = f"no limit on the strength between {strengths[0]:.4g} and {strengths[-1]:.4g}"
        raise FitError(msg)
    end = int(below[0])
    pair = slice(end - 1, end + 1)
    logs = np.log(cls[pair])
    return float(np.interp(-np.log(target), -logs, strengths[pair]))


def _sample(channel: Mapping[str, Any], template: Template, factor: float) -> dict[str, Any]:
    first = channel["samples"][0]
    if template.values.size != len(first["data"]):
        msg = (
            f"signal in {channel['name']}: {template.values.size} bins, "
            f"the model has {len(first['data'])}"
        )
        raise WorkspaceError(msg)
    errors = factor * np.sqrt(template.variances)
    # Not the bins' common one: pyhf would take its size from the sum at strength 1, so that the limit
    # depended on the cross section that the signal is scaled to.
    own = {"name": f"{STATISTICS}_{channel['name']}", "type": "staterror", "data": errors.tolist()}
    modifiers: list[dict[str, Any]] = [
        {"name": STRENGTH, "type": "normfactor", "data": None},
        own,
        *copy.deepcopy(_luminosity(channel)),
    ]
    return {"name": SIGNAL, "data": (factor * template.values).tolist(), "modifiers": modifiers}


def _luminosity(channel: Mapping[str, Any]) -> list[Any]:
    """The modifiers that any of the samples has, once each: of those from data have none."""
    found = {
        modifier["name"]: modifier
        for sample in channel["samples"]
        for modifier in sample["modifiers"]
        if _is_luminosity(modifier)
    }
    return list(found.values())


def _is_luminosity(modifier: Mapping[str, Any]) -> bool:
    """As the type or the name says: `Luminosity`, `lumi_13TeV`; a fitted luminosity fraction too.

    None that has values for each bin: they are events of another sample.
    """
    named = modifier["name"].casefold().startswith("lumi")
    return bool(modifier["type"] == "lumi" or (named and modifier["type"] in _OF_ANY_SAMPLE))
