"""Best fit of a workspace: parameters, correlations, goodness of fit, yields before and after."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats
from cabinetry import model_utils
from cabinetry.fit import FitResults

from analysis.common.errors import FitError
from analysis.common.strict import Strict
from analysis.inference.likelihood import Array, Likelihood
from analysis.inference.profile import LowerMinimum, Optimum, lowest

AT_END = 1e-4
"""Part of a parameter's range at either end of it in which the fit is said to have come there."""
UNSTABLE = 0.02
"""Relative difference of two computations of an error that matters."""
_RESTARTS = 5


class Parameter(Strict):
    """A parameter at the best fit; errors are one standard deviation."""

    name: str
    value: float
    error: float
    """0 for one that is held constant."""
    pull: float | None
    """(value - measured) / prior error; None for a parameter without prior."""
    constraint: float | None
    """error / prior error; None for a parameter without prior."""


class Goodness(Strict):
    """Likelihood ratio to the saturated model, asymptotically χ² (R. D. Cousins, 2013)."""

    chi2: float
    degrees_of_freedom: int
    """Bins less free parameters."""
    p_value: float | None
    """None without degrees of freedom."""


class Yields(Strict):
    """Events of one channel: lists of one entry a bin."""

    channel: str
    data: list[float]
    samples: list[str]
    prefit: list[list[float]]
    """A list a sample."""
    prefit_error: list[float]
    """Uncertainty of the sum of all samples, by bin."""
    prefit_total_error: float
    """Uncertainty of the sum of all samples and bins."""
    postfit: list[list[float]]
    postfit_error: list[float]
    postfit_total_error: float


class Minimum(Strict):
    """A minimum of the likelihood besides the lowest one."""

    value: float
    """Fitted value of the parameter of interest."""
    twice_delta_nll: float


class FitResult(Strict):
    """The best fit of the parameter of interest `poi` and of all others."""

    poi: str
    value: float
    error: float
    """The covariance's where the profile's curvature agrees, else that; at a bound, the end of the interval."""
    error_up: float | None
    """Distance to where -2 ln L of the profile is higher by 1 (as MINOS), or to a bound before; None where
    conditional fits fail."""
    error_down: float | None
    """The same below, positive."""
    error_check: float
    """The covariance's."""
    significance: float | None
    """Of a strength above 0: √(-2 Δ ln L) there, in standard deviations; None where 0 is out of bounds."""
    other_minima: list[Minimum]
    parameters: list[Parameter]
    correlation: list[list[float]]
    """In the order of `parameters`."""
    twice_nll: float
    goodness: Goodness
    yields: list[Yields]

    def __getitem__(self, name: str) -> Parameter:
        """Raises KeyError, with the names there are."""
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        msg = f"no parameter {name!r}: there are {', '.join(p.name for p in self.parameters)}"
        raise KeyError(msg)


@dataclass(frozen=True, kw_only=True)
class BestFit(Optimum):
    """The record, and what further fits begin from."""

    result: FitResult


def fit(spec: Mapping[str, Any]) -> BestFit:
    """Fit a pyhf workspace to its observations.

    Raises WorkspaceError for what is no workspace; FitError if no minimum is found, or the data say
    nothing of the parameter of interest, so that there never is a number of a fit that failed.
    """
    optimum, up, down = minimum_and_interval(Likelihood(spec))
    likelihood, poi = optimum.likelihood, optimum.likelihood.poi
    values, height = optimum.values, optimum.twice_nll
    error = poi_error(optimum, up, down)
    errors = optimum.errors
    errors[poi] = error
    correlation = _correlation(optimum.covariance)
    fitted = FitResults(values, errors, likelihood.names, correlation, height)
    result = FitResult(
        poi=likelihood.names[poi],
        value=float(values[poi]),
        error=error,
        error_up=up,
        error_down=down,
        error_check=float(optimum.errors[poi]),
        significance=significance(optimum),
        other_minima=[
            Minimum(value=float(other[poi]), twice_delta_nll=likelihood.value(other) - height)
            for other in optimum.others
        ],
        parameters=_parameters(likelihood, values, errors),
        correlation=correlation.tolist(),
        twice_nll=height,
        goodness=_goodness(likelihood, height),
        yields=_yields(likelihood, fitted),
    )
    return BestFit(**vars(optimum), result=result)


def minimum_and_interval(
    likelihood: Likelihood,
) -> tuple[Optimum, float | None, float | None]:
    """The lowest minimum, and the ends of the interval of the parameter of interest, up and down.

    Raises FitError if there is none.
    """
    start = likelihood.initial
    for _ in range(_RESTARTS):
        optimum = lowest(likelihood, start)
        try:
            size = float(optimum.errors[likelihood.poi]) or 1.0
            return optimum, *optimum.interval(likelihood.poi, size)
        except LowerMinimum as lower:
            start = lower.found.values
    msg = "the fit did not converge: beside each minimum that is found there is a lower one"
    raise FitError(msg)


def significance(optimum: Optimum) -> float | None:
    """Standard deviations of a strength above 0, √q0 of arXiv:1007.1727; None where that is not known."""
    poi = optimum.likelihood.poi
    if optimum.values[poi] <= 0:
        return 0.0
    if optimum.likelihood.bounds[0][poi] > 0:
        return None
    try:
        without = optimum.conditional(poi, 0.0).twice_nll
    except FitError:
        return None
    return math.sqrt(max(without - optimum.twice_nll, 0.0))


def poi_error(optimum: Optimum, up: float | None, down: float | None) -> float:
    """The error of the parameter of interest: the covariance's, where the profile agrees, else its own.

    At a bound, and where other parameters do the same as it, that is the distance to where -2 ln L is
    higher by 1. Raises FitError where there is none within the bounds.
    """
    poi = optimum.likelihood.poi
    low, high = (float(bound[poi]) for bound in optimum.likelihood.bounds)
    value, by_covariance = float(optimum.values[poi]), float(optimum.errors[poi])
    at_end = min(value - low, high - value) < AT_END * (high - low)
    if optimum.determined and not at_end:
        by_profile = optimum.curvature_error(poi)
        if by_profile is None or math.isclose(by_covariance, by_profile, rel_tol=UNSTABLE):
            return by_covariance
        return by_profile
    ends = [end for end, most in ((up, high - value), (down, value - low)) if end and end < most]
    if not ends:
        msg = (
            f"the data do not determine {optimum.likelihood.names[poi]}: -2 ln L rises by less than 1 "
            f"between {low:g} and {high:g}; do other parameters do the same, or has it no effect?"
        )
        raise FitError(msg)
    return float(np.mean(ends))


def _correlation(covariance: Array) -> Array:
    errors = np.sqrt(np.diag(covariance))
    scale = np.outer(errors, errors)
    correlation: Array = np.zeros_like(covariance)
    np.divide(covariance, scale, out=correlation, where=scale > 0)
    np.fill_diagonal(correlation, 1.0)
    return correlation


def _parameters(likelihood: Likelihood, values: Array, errors: Array) -> list[Parameter]:
    nominal = likelihood.measured
    prior = model_utils.prefit_uncertainties(likelihood.model)
    return [
        Parameter(
            name=name,
            value=value,
            error=error,
            pull=float((value - centre) / width) if width > 0 else None,
            constraint=float(error / width) if width > 0 else None,
        )
        for name, value, error, centre, width in zip(
            likelihood.names, values.tolist(), errors.tolist(), nominal, prior, strict=True
        )
    ]


def _goodness(likelihood: Likelihood, twice_nll: float) -> Goodness:
    chi2 = max(twice_nll - likelihood.saturated, 0.0)
    dof = likelihood.main.size - model_utils.unconstrained_parameter_count(likelihood.model)
    p_value = float(scipy.stats.chi2.sf(chi2, dof)) if dof > 0 else None
    return Goodness(chi2=chi2, degrees_of_freedom=dof, p_value=p_value)


def yields_elsewhere(result: FitResult, spec: Mapping[str, Any]) -> list[Yields]:
    """Predict another workspace with the parameters, errors and correlations of a fit.

    Parameters that the fit does not have are those of the workspace, uncorrelated. Raises WorkspaceError for what
    is no workspace.
    """
    likelihood = Likelihood(spec)
    names = [parameter.name for parameter in result.parameters]
    values, errors = np.array([(p.value, p.error) for p in result.parameters]).T
    correlation = np.array(result.correlation)
    fitted = FitResults(values, errors, names, correlation, result.twice_nll)
    return _yields(likelihood, model_utils.match_fit_results(likelihood.model, fitted))


def _yields(likelihood: Likelihood, fitted: FitResults) -> list[Yields]:
    model = likelihood.model
    before, after = (model_utils.prediction(model, fit_results=r) for r in (None, fitted))
    return [
        Yields(
            channel=name,
            data=likelihood.main[model.config.channel_slices[name]].tolist(),
            samples=list(model.config.samples),
            prefit=before.model_yields[i],
            # cabinetry lists each sample, and the sum of them last.
            prefit_error=before.total_stdev_model_bins[i][-1],
            prefit_total_error=before.total_stdev_model_channels[i][-1],
            postfit=after.model_yields[i],
            postfit_error=after.total_stdev_model_bins[i][-1],
            postfit_total_error=after.total_stdev_model_channels[i][-1],
        )
        for i, name in enumerate(model.config.channels)
    ]
