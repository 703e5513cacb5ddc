"""Reinterpretation: a signal of somebody else's added to the model; its strength, its upper limit."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

import numpy as np
import scipy.optimize
import uproot
from pydantic import Field, PositiveFloat
from scipy.stats import norm

from analysis.common.errors import FitError, WorkspaceError
from analysis.common.strict import Strict
from analysis.config import Binning
from analysis.inference.compiled import LEAST_RATE
from analysis.inference.fit import minimum_and_interval, poi_error, significance
from analysis.inference.likelihood import Array, Likelihood, Mask
from analysis.inference.profile import Optimum, covariance
from analysis.inference.templates import Template, contents, rebinned
from analysis.inference.toys import ToyLimit, Toys, limit_by_toys
from analysis.inference.validator import STRENGTH_RULE, require_valid, validate
from analysis.postprocess.normalisation import scale_factor

SIGNAL = "new signal"
STRENGTH = "signal_strength"
STATISTICS = "signal_staterror"
BANDS = (-2.0, -1.0, 0.0, 1.0, 2.0)
POINTS = 41
"""Strengths of the curve."""
FEW_EVENTS = 10.0
"""Events below which asymptotic limits are too strong: by 8 to 14 % where there are 0 to 3."""
_MOST = 10.0
"""Bound of the strength: a signal of this many times all events, observed and predicted."""
_LEAST = 0.9
"""The same below: the part of the prediction that a negative signal may take away in a bin."""
DIFFERENT = 0.03
"""Relative difference of the limits by asymptotic formulae and by toys that is said."""
_UNSEEN = 0.99
"""Part of a parameter's prior error that is left where the main data say nothing of it."""
_BESIDE = (0.5, 1.0, 1.5, 2.0)
"""Powers of 1 - level that asymptotic CLs is where there are toys: on either side of each limit."""
_PRECISE = 1e-4
"""Relative, of a limit."""
_ROUNDING = 1e-6
"""Relative, of sums of weights."""
_OF_ANY_SAMPLE = ("normsys", "normfactor")
"""Types of modifiers that are the same for every sample."""


class SignalRate(Strict):
    """What scales a signal's weighted events to expected ones."""

    sum_of_weights: PositiveFloat
    cross_section_pb: PositiveFloat
    luminosity_ipb: PositiveFloat
    filter_efficiency: Annotated[float, Field(gt=0, le=1)] = 1.0
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
    significance: float
    """Standard deviations of the signal: √q0; 0 where the best strength is negative."""
    level: float
    """Confidence level."""
    observed: float
    expected: list[float | None]
    """Without signal: -2, -1, 0, 1, 2 standard deviations; None where there is no limit, as the signal's
    own error allows that it is nothing."""
    cross_section_pb: float
    events: dict[str, float]
    """Region -> events of the signal at strength 1."""
    curve: Curve
    remarks: list[str]
    """What makes the limit doubtful."""
    toys: ToyLimit | None = None
    """The limits by toys, where those were asked for."""


def read_signal(
    path: Path,
    spec: Mapping[str, Any],
    binning: Binning | None = None,
    binnings: Mapping[str, Binning] | None = None,
    *,
    overflow: bool = False,
) -> dict[str, Template]:
    """Weighted events of a signal: the histograms of a ROOT file that are named as channels.

    Where the `binning` of the model is known, in its bins, or those of a channel's own, the first and last
    with what lies beyond them for `overflow`. Raises WorkspaceError
    for a file that cannot be read or has no such histogram, and for one without errors or the edges of the
    model's bins.
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
    signal = {}
    for name, histogram in histograms.items():
        called = f"signal {path}, {name}"
        bins = None if binning is None else (binnings or {}).get(name, binning)
        signal[name] = (
            contents(called, histogram)
            if bins is None
            else rebinned(called, histogram, bins, overflow=overflow)
        )
    return signal


def with_signal(
    spec: Mapping[str, Any], signal: Mapping[str, Template], rate: SignalRate
) -> dict[str, Any]:
    """The workspace with the scaled signal as a sample, its strength the parameter of interest.

    `signal` holds weighted events by channel. The signal has the luminosity uncertainty of the
    model, and its own statistical one; the former parameter of interest is fitted with the rest.
    Its negative bins are zero. Raises WorkspaceError for a channel that the model does not have, other
    bins, or no events.
    """
    made = copy.deepcopy(dict(spec))
    channels = {channel["name"]: channel for channel in made["channels"]}
    unknown = sorted(set(signal) - set(channels))
    if unknown or not signal:
        msg = f"signal in channels {', '.join(unknown) or 'none'}: there are {', '.join(channels)}"
        raise WorkspaceError(msg)
    taken = {
        modifier["name"]
        for channel in channels.values()
        for sample in channel["samples"]
        for modifier in sample["modifiers"]
    }
    for name, template in signal.items():
        channels[name]["samples"].append(_sample(channels[name], template, rate.factor, taken))
    config = made["measurements"][0]["config"]
    config["poi"] = _new(STRENGTH, taken)
    config.setdefault("parameters", []).append(
        {"name": config["poi"], "inits": [0.0], "bounds": [_bounds(spec, signal, rate.factor)]}
    )
    return made


def upper_limit(
    spec: Mapping[str, Any],
    signal: Mapping[str, Template],
    rate: SignalRate,
    level: float = 0.95,
    *,
    force: bool = False,
    toys: Toys | None = None,
) -> Limit:
    """Best fit strength, and observed and expected CLs limit; with `toys`, by those too.

    Asymptotic, with the test statistic q̃μ and the background-only Asimov data (Cowan, Cranmer,
    Gross, Vitells, arXiv:1007.1727). Raises WorkspaceError as `with_signal`, and for errors that the
    check of the workspace finds, unless it is `force`d; FitError where a fit does not converge.
    """
    if not force:
        # The strength of the signal takes the place of that of the model, which may be fixed.
        require_valid([finding for finding in validate(spec) if finding.rule != STRENGTH_RULE])
    best, error = _best(Likelihood(with_signal(spec, signal, rate)))
    poi, strength = best.likelihood.poi, float(best.values[best.likelihood.poi])
    background = best.conditional(poi, 0.0)
    tested = Statistic(best, best.twice_nll if strength > 0 else background.twice_nll)
    asimov = Statistic.of_expected(best.likelihood, background.values)

    def observed(strength: float) -> float:
        return _observed(tested(strength), asimov(strength))

    def expected(shift: float, strength: float) -> float:
        return _expected(asimov(strength), shift)

    most = float(best.likelihood.bounds[1][poi])

    def crossing(band: float | None, cls: float) -> float | None:
        if band is None:
            return _crossing(observed, max(strength, 0.0), error, cls, most)
        return _crossing(partial(expected, band), 0.0, error, cls, most)

    first = crossing(None, 1 - level)
    if first is None:
        msg = (
            f"CLs does not fall to {1 - level:.3g} up to a strength of {most:.4g}: the errors of the "
            "signal or of the model allow that any signal is not seen"
        )
        raise FitError(msg)
    bands = [crossing(band, 1 - level) for band in BANDS]
    by_toys = None if toys is None else _by_toys(tested, crossing, level, toys)
    known = [first, *(x for x in bands if x is not None)]
    strengths = np.linspace(0.0, 1.5 * max(known), POINTS).tolist()
    return Limit(
        strength=strength,
        strength_error=error,
        significance=significance(best) or 0.0,
        level=level,
        observed=first,
        expected=bands,
        cross_section_pb=rate.cross_section_pb,
        events={
            name: rate.factor * float(np.sum(np.maximum(template.values, 0.0)))
            for name, template in signal.items()
        },
        curve=Curve(
            strengths=strengths,
            observed=[math.exp(observed(x)) for x in strengths],
            expected=[[math.exp(expected(band, x)) for x in strengths] for band in BANDS],
        ),
        remarks=[
            *_of_signal(spec, signal, rate.sum_of_weights),
            *_remarks(best.likelihood, background.values, first, by_toys),
        ],
        toys=by_toys,
    )


def _by_toys(
    tested: Statistic,
    crossing: Callable[[float | None, float], float | None],
    level: float,
    toys: Toys,
) -> ToyLimit:
    """Toys at strengths where the asymptotic CLs, observed and of each band, is near 1 - `level`."""
    near = {
        band: [x for power in _BESIDE if (x := crossing(band, (1 - level) ** power)) is not None]
        for band in (None, *BANDS)
    }
    strengths = sorted({strength for some in near.values() for strength in some})
    best = tested.best
    truths = {x: best.conditional(best.likelihood.poi, x).values for x in (0.0, *strengths)}
    observed = {strength: tested(strength) for strength in strengths}
    held = _unseen(best.likelihood, truths[0.0])
    return limit_by_toys(best.likelihood, truths, observed, near, held, level, toys)


def _unseen(likelihood: Likelihood, background: Array) -> Mask:
    """Find the auxiliary data of parameters that main data say nothing of, and of constant ones.

    The strength can do what they do, as all can in a single bin. If the auxiliary data of toys fluctuated,
    they would order toys of the same main data, and an uncertainty that hardly counts would move the limit of
    few events by 7 %. Where main data do tell a parameter, its prior says too little of it to draw it from.
    """
    known, values = likelihood.constraints, background.copy()
    values[known.parameters] = likelihood.measured[known.parameters]
    left = Statistic.of_expected(likelihood, values).best.errors[known.parameters]
    gaussian = known.widths > 0
    counted = values[known.parameters] / np.where(gaussian, 1.0, known.rates)
    prior = np.sqrt(np.where(gaussian, known.widths**2, counted))
    unseen: Mask = left > _UNSEEN * prior
    return unseen | likelihood.constant[known.parameters]


class Statistic(NamedTuple):
    """q̃μ: -2 ln of the likelihood ratio to the best strength that is not negative; 0 below that."""

    best: Optimum
    lowest: float
    """-2 ln L at the best strength that is not negative."""

    @classmethod
    def of_expected(cls, likelihood: Likelihood, background: Array) -> Self:
        """Compute the Asimov data at the parameters `background`, where the strength is 0."""
        asimov = likelihood.with_data(likelihood.model.expected_data(background))
        matrix, determined = covariance(asimov, background)
        lowest = asimov.value(background)
        best = Optimum(
            likelihood=asimov,
            values=background,
            twice_nll=lowest,
            covariance=matrix,
            determined=determined,
        )
        return cls(best, lowest)

    def __call__(self, strength: float) -> float:
        poi = self.best.likelihood.poi
        if strength <= self.best.values[poi]:
            return 0.0
        return max(self.best.conditional(poi, strength).twice_nll - self.lowest, 0.0)


def _best(likelihood: Likelihood) -> tuple[Optimum, float]:
    """The best fit of the strength, and its error.

    The strength may be negative. Where the fit then comes to its bound, where a bin is nearly without
    events, it is the best one that is not.
    """
    optimum, up, down = minimum_and_interval(likelihood)
    poi = likelihood.poi
    low = float(likelihood.bounds[0][poi])
    if low < 0 and optimum.values[poi] < 0.99 * low:
        return _best(likelihood.bounded_below(poi, 0.0))
    return optimum, poi_error(optimum, up, down)


def _observed(q: float, asimov: float) -> float:
    """ln CLs, of p_{s+b} / (1 - p_b) by eqs. 65 and 66 of arXiv:1007.1727."""
    root, root_asimov = math.sqrt(q), math.sqrt(asimov)
    distance = root - root_asimov
    if q > asimov > 0:
        distance = (q - asimov) / (2 * root_asimov)
    return float(norm.logsf(distance + root_asimov) - norm.logsf(distance))


def _expected(asimov: float, shift: float) -> float:
    """ln CLs where the background fluctuates by `shift` standard deviations."""
    return float(norm.logsf(math.sqrt(asimov) - shift) - norm.logcdf(shift))


def _crossing(
    curve: Callable[[float], float], best: float, error: float, cls: float, most: float
) -> float | None:
    """The strength where ln CLs falls to that of `cls`: bracketed from `best`, in steps from `error` on.

    None if it does not up to the strength `most`.
    """
    target = math.log(cls)
    inner, step = best, error
    while inner < most:
        outer = min(inner + step, most)
        if curve(outer) < target:
            found = scipy.optimize.brentq(lambda x: curve(x) - target, inner, outer, rtol=_PRECISE)
            return float(found)
        inner, step = outer, 2 * step
    return None


def _of_signal(
    spec: Mapping[str, Any], signal: Mapping[str, Template], sum_of_weights: float
) -> Iterator[str]:
    """What of the signal is not as one would expect, one line each."""
    without = [channel["name"] for channel in spec["channels"] if channel["name"] not in signal]
    if without:
        yield f"no histogram of the signal in {', '.join(without)}: it has no events there"
    for name, template in signal.items():
        negative = ", ".join(map(str, np.flatnonzero(template.values < 0)))
        if negative:
            yield f"signal in {name}: negative bins {negative} set to zero"
        if (found := float(np.sum(template.values))) > sum_of_weights * (1 + _ROUNDING):
            yield (
                f"signal in {name}: {found:.6g} weighted events are more than {sum_of_weights:.6g}, the "
                "sum of weights of all generated ones"
            )


def _remarks(
    likelihood: Likelihood, background: Array, observed: float, toys: ToyLimit | None
) -> Iterator[str]:
    if toys is not None:
        change = observed / toys.observed - 1
        if abs(change) > max(DIFFERENT, 2 * toys.observed_error / toys.observed):
            yield f"the asymptotic limit is {change:+.0%} from that of toys: quote the latter"
        return
    one = background.copy()
    one[likelihood.poi] = 1.0
    rates = likelihood.expected(background)
    weights = (likelihood.expected(one) - rates) / np.maximum(rates, LEAST_RATE)
    events = min(
        float(np.sum(weights * x)) ** 2 / max(float(np.sum(weights**2 * x)), LEAST_RATE)
        for x in (rates, likelihood.main)
    )
    if events < FEW_EVENTS:
        yield (
            f"few events where the signal is, about {events:.2g}: below {FEW_EVENTS:.0f} asymptotic "
            "limits are too strong, by about a tenth; --toys 10000 gives those of toys"
        )


def _bounds(spec: Mapping[str, Any], signal: Mapping[str, Template], factor: float) -> list[float]:
    """Give the range of the strength: from a bin that is nearly without events to more signal than can be."""
    totals = {
        channel["name"]: np.sum([s["data"] for s in channel["samples"]], axis=0)
        for channel in spec["channels"]
    }
    seen = sum(sum(observation["data"]) for observation in spec["observations"])
    most = _MOST * (1 + seen + sum(map(float, map(np.sum, totals.values()))))
    events = {n: factor * np.maximum(template.values, 0.0) for n, template in signal.items()}
    whole = sum(float(np.sum(values)) for values in events.values())
    if not whole > 0:
        msg = "the signal has no events in the model's bins"
        raise WorkspaceError(msg)
    parts = [
        float(np.min(totals[name][values > 0] / values[values > 0], initial=np.inf))
        for name, values in events.items()
    ]
    return [-_LEAST * min(parts), most / whole]


def _new(name: str, taken: Iterable[str]) -> str:
    """The name, or where it is taken one like it."""
    others = set(taken)
    while name in others:
        name += " (new)"
    return name


def _sample(
    channel: Mapping[str, Any], template: Template, factor: float, taken: set[str]
) -> dict[str, Any]:
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
    own = _new(f"{STATISTICS}_{channel['name']}", taken)
    modifiers: list[dict[str, Any]] = [
        {"name": _new(STRENGTH, taken), "type": "normfactor", "data": None},
        {"name": own, "type": "staterror", "data": errors.tolist()},
        *copy.deepcopy(_luminosity(channel)),
    ]
    name = _new(SIGNAL, {sample["name"] for sample in channel["samples"]})
    events = factor * np.maximum(template.values, 0.0)
    return {"name": name, "data": events.tolist(), "modifiers": modifiers}


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
