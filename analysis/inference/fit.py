"""Best fit of a workspace: parameters, correlations, goodness of fit, yields before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import iminuit
import numpy as np
import pyhf
import scipy.stats
from cabinetry import model_utils
from cabinetry.fit import FitResults
from numpy.typing import NDArray

from analysis.common.errors import FitError
from analysis.common.strict import Strict
from analysis.inference.likelihood import SAME_HEIGHT, Likelihood

Array = NDArray[np.float64]


class Parameter(Strict):
    """A parameter at the best fit; errors are one standard deviation (HESSE)."""

    name: str
    value: float
    error: float
    """0 for one that is held constant."""
    pull: float | None
    """(value - nominal) / prior error; None for a parameter without prior."""
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
    """Of the sum of all samples."""
    prefit_total_error: float
    """Of the sum of all samples and bins."""
    postfit: list[list[float]]
    postfit_error: list[float]
    postfit_total_error: float


class Minimum(Strict):
    """A minimum of the likelihood besides the lowest one."""

    value: float
    """Of the parameter of interest."""
    twice_delta_nll: float


class FitResult(Strict):
    """The best fit of the parameter of interest `poi` and of all others."""

    poi: str
    value: float
    error: float
    """HESSE."""
    error_up: float | None
    """MINOS; None where it finds no crossing."""
    error_down: float | None
    """MINOS, positive."""
    error_check: float
    """By central differences of -2 ln L without the rounding of `error`; the two should agree."""
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


class BestFit(NamedTuple):
    """The record, and what further fits begin from."""

    result: FitResult
    likelihood: Likelihood
    values: Array
    """Shape (parameters,)."""
    covariance: Array
    """Shape (parameters, parameters); 0 for constant ones."""
    others: Sequence[Array] = ()
    """All parameters at the other minima, each as `values`."""

    @property
    def errors(self) -> Array:
        errors: Array = np.sqrt(np.diag(self.covariance))
        return errors


def fit(spec: Mapping[str, Any]) -> BestFit:
    """Fit a pyhf workspace to its observations.

    Raises WorkspaceError for what is no workspace; FitError if the minimum or its covariance matrix
    is not valid, so that there never is a number of a fit that failed.
    """
    likelihood = Likelihood(spec)
    # pyhf's own function, so that the numbers are those of cabinetry; its rounding can spoil HESSE.
    minuit = likelihood.minimum(function=likelihood.value_of_pyhf)
    lowest, *others = likelihood.minima(np.array(minuit.values))
    if minuit.fval - lowest.fval > SAME_HEIGHT:
        start = np.array(lowest.values)
        minuit = likelihood.minimum(start, function=likelihood.value_of_pyhf)
    minuit.hesse()
    covariance = _covariance(minuit)
    values, errors = np.array(minuit.values), np.sqrt(np.diag(covariance))
    poi = likelihood.names[likelihood.poi]
    lowest.hesse()
    up, down = minos(lowest, poi)
    fitted = FitResults(
        values, errors, likelihood.names, _correlation(covariance), float(minuit.fval)
    )
    result = FitResult(
        poi=poi,
        value=float(values[likelihood.poi]),
        error=float(errors[likelihood.poi]),
        error_up=up,
        error_down=down,
        error_check=_check(likelihood, lowest, errors),
        other_minima=[
            Minimum(value=other.values[poi], twice_delta_nll=other.fval - lowest.fval)
            for other in others
        ],
        parameters=_parameters(likelihood, values, errors),
        correlation=fitted.corr_mat.tolist(),
        twice_nll=float(minuit.fval),
        goodness=_goodness(likelihood, float(minuit.fval)),
        yields=_yields(likelihood, fitted),
    )
    return BestFit(result, likelihood, values, covariance, [np.array(m.values) for m in others])


def _covariance(minuit: iminuit.Minuit) -> Array:
    if not minuit.accurate or minuit.fmin.has_made_posdef_covar:
        msg = (
            "the fit has no valid covariance matrix (HESSE failed): is a parameter without effect?"
        )
        raise FitError(msg)
    covariance: Array = np.array(minuit.covariance)
    held = np.array(minuit.fixed)
    covariance[held, :] = covariance[:, held] = 0.0
    return covariance


def _check(likelihood: Likelihood, lowest: iminuit.Minuit, errors: Array) -> float:
    """The error of the parameter of interest by central differences; HESSE's where there are none."""
    poi = likelihood.poi
    covariance = likelihood.covariance(np.array(lowest.values), errors)
    return float(lowest.errors[poi] if covariance is None else np.sqrt(covariance[poi, poi]))


def minos(minuit: iminuit.Minuit, name: str) -> tuple[float | None, float | None]:
    """Distances to where -2 ln L is higher by 1, up and down; None where there is no crossing."""
    minuit.minos(name)
    errors = minuit.merrors[name]
    # At a bound of the parameter there is no crossing, and the distance to the bound is the error.
    up = float(errors.upper) if errors.upper_valid or errors.at_upper_limit else None
    down = float(-errors.lower) if errors.lower_valid or errors.at_lower_limit else None
    return up, down


def _correlation(covariance: Array) -> Array:
    errors = np.sqrt(np.diag(covariance))
    scale = np.outer(errors, errors)
    correlation: Array = np.zeros_like(covariance)
    np.divide(covariance, scale, out=correlation, where=scale > 0)
    np.fill_diagonal(correlation, 1.0)
    return correlation


def _parameters(likelihood: Likelihood, values: Array, errors: Array) -> list[Parameter]:
    nominal = model_utils.asimov_parameters(likelihood.model)
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
    model, main, auxiliary = likelihood.model, likelihood.main, likelihood.auxiliary
    best = pyhf.tensorlib.astensor(model_utils.asimov_parameters(model))
    constraint = float(model.constraint_logpdf(auxiliary, best)) if auxiliary.size else 0.0
    poisson = float(np.sum(pyhf.tensorlib.poisson_dist(main).log_prob(main)))
    chi2 = max(twice_nll + 2 * (poisson + constraint), 0.0)
    dof = main.size - model_utils.unconstrained_parameter_count(model)
    p_value = float(scipy.stats.chi2.sf(chi2, dof)) if dof > 0 else None
    return Goodness(chi2=chi2, degrees_of_freedom=dof, p_value=p_value)


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
