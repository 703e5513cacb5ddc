"""Whether parts of what is fitted agree: a strength for each part, with all other parameters in common."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats

from analysis.common.errors import FitError
from analysis.common.strict import Strict
from analysis.inference.fit import BestFit
from analysis.inference.likelihood import Likelihood
from analysis.inference.minimise import minimum
from analysis.inference.profile import covariance

Ways = Mapping[str, Mapping[str, Sequence[str]]]
"""Way to divide the channels of a workspace -> part -> its channels."""
OTHERS = "others"
"""Channels that are in no part."""


class Part(Strict):
    """A part of the channels; errors are one standard deviation."""

    name: str
    value: float
    """Strength in a fit of all channels in which each part has its own."""
    error: float
    alone: float | None
    """Strength in a fit of these channels alone; None where there is none."""
    alone_error: float | None


class Split(Strict):
    """The parts of one way to divide the channels."""

    name: str
    parts: list[Part]
    chi2: float
    """-2 ln L of one strength less that of a strength for each part."""
    degrees_of_freedom: int
    p_value: float
    """Asymptotic; uncertainties that parts have in common are common."""


def splits(spec: Mapping[str, Any], best: BestFit, ways: Ways) -> list[Split]:
    """Divide the channels of a fitted workspace in different ways; what does not converge is left out."""
    found = (_split(spec, best, name, parts) for name, parts in ways.items())
    return [split for split in found if split is not None]


def _split(
    spec: Mapping[str, Any], best: BestFit, name: str, parts: Mapping[str, Sequence[str]]
) -> Split | None:
    every = [channel["name"] for channel in spec["channels"]]
    chosen = {part: [c for c in every if c in channels] for part, channels in parts.items()}
    chosen[OTHERS] = [c for c in every if not any(c in channels for channels in chosen.values())]
    chosen = {part: channels for part, channels in chosen.items() if channels}
    if len(chosen) < 2:
        return None
    poi = best.result.poi
    own = {part: f"{poi}, {part}" for part in chosen}
    try:
        strengths, height = _strengths(_divided(spec, poi, chosen, own), best, own.values())
    except FitError:
        return None
    found = [
        Part(name=part, value=value, error=error, **_alone(_only(spec, channels), best))
        for (part, channels), (value, error) in zip(chosen.items(), strengths, strict=True)
    ]
    chi2, freedom = max(best.result.twice_nll - height, 0.0), len(chosen) - 1
    p_value = float(scipy.stats.chi2.sf(chi2, freedom))
    return Split(name=name, parts=found, chi2=chi2, degrees_of_freedom=freedom, p_value=p_value)


def _alone(spec: Mapping[str, Any], best: BestFit) -> dict[str, float | None]:
    """Fit some of the channels."""
    try:
        ((value, error),), _ = _strengths(spec, best, [best.result.poi])
    except FitError:
        return {"alone": None, "alone_error": None}
    return {"alone": value, "alone_error": error}


def _strengths(
    spec: Mapping[str, Any], best: BestFit, names: Iterable[str]
) -> tuple[list[tuple[float, float]], float]:
    """Fit the strengths, from the best fit of all; return each with its error, and -2 ln L.

    Raises FitError where the fit does not converge, or a strength is not determined.
    """
    likelihood = Likelihood(spec)
    known = dict(zip(best.likelihood.names, best.values, strict=True))
    strength = float(known[best.result.poi])
    start = np.array([
        known.get(name, strength if name in names else initial)
        for name, initial in zip(likelihood.names, likelihood.initial, strict=True)
    ])  # fmt: skip
    found = minimum(likelihood, start)
    matrix, determined = covariance(likelihood, found.values)
    places = [likelihood.names.index(name) for name in names]
    if not determined or not all(matrix[place, place] > 0 for place in places):
        msg = f"the data do not determine {' and '.join(names)}"
        raise FitError(msg)
    values = [(float(found.values[i]), float(np.sqrt(matrix[i, i]))) for i in places]
    return values, found.twice_nll


def _divided(
    spec: Mapping[str, Any],
    poi: str,
    parts: Mapping[str, Sequence[str]],
    own: Mapping[str, str],
) -> dict[str, Any]:
    """Give each part a strength of its own."""
    divided = copy.deepcopy(dict(spec))
    name_of = {channel: own[part] for part, channels in parts.items() for channel in channels}
    for channel in divided["channels"]:
        for sample in channel["samples"]:
            for modifier in sample["modifiers"]:
                if modifier["name"] == poi:
                    modifier["name"] = name_of[channel["name"]]
    config = divided["measurements"][0]["config"]
    config["poi"] = next(iter(own.values()))
    config["parameters"] = [
        {**parameter, "name": name}
        for parameter in config.get("parameters", [])
        for name in (own.values() if parameter["name"] == poi else [parameter["name"]])
    ]
    return divided


def _only(spec: Mapping[str, Any], channels: Sequence[str]) -> dict[str, Any]:
    """Keep some channels, and what is said of parameters that are there."""
    kept = [channel for channel in spec["channels"] if channel["name"] in channels]
    names = {m["name"] for channel in kept for s in channel["samples"] for m in s["modifiers"]}
    measurement = copy.deepcopy(spec["measurements"][0])
    config = measurement["config"]
    config["parameters"] = [p for p in config.get("parameters", []) if p["name"] in names]
    data = [o for o in spec["observations"] if o["name"] in channels]
    return {**spec, "channels": kept, "observations": data, "measurements": [measurement]}
