"""The ABCD method as a likelihood: four counting channels of a HistFactory workspace (pyhf).

The background is n in D, n·τ_b in B, n·τ_c in C and n·τ_b·τ_c in A: normfactors of one sample
multiply. All are relative to the count's estimate, so that each is one where data and estimate agree.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyhf

from analysis.common.errors import AbcdError
from analysis.common.strict import Strict
from analysis.postprocess.abcd.method import NOTHING, Yields, predict
from analysis.postprocess.windows import Count

POI = "mu"
_FACTORS = {
    "A": ("n", "tau_b", "tau_c"),
    "B": ("n", "tau_b"),
    "C": ("n", "tau_c"),
    "D": ("n",),
}


class FittedBackground(Strict):
    """Background in A from a fit to B, C and D."""

    background: float
    background_error: float

    def __str__(self) -> str:
        return f"{self.background:.2f} ± {self.background_error:.2f} background events in A (fit)"


def workspace(
    observed: Yields, contamination: Yields = NOTHING, signal: Yields | None = None
) -> dict[str, Any]:
    """Build a HistFactory workspace (JSON schema 1.0.0) whose parameter of interest scales `signal`.

    Without a signal it is one event in A. Data have to be counts. Raises AbcdError as `predict`, for
    data that are weighted, and for contamination or signal that are negative or as uncertain as they
    are large.
    """
    for name, count in zip("ABCD", observed, strict=True):
        if not math.isclose(count.value, count.variance):
            msg = f"region {name} is weighted: a likelihood needs counts"
            raise AbcdError(msg)
    signals = signal or Yields(Count(1.0, 0.0), *NOTHING[1:])
    for what, yields in (("contamination", contamination), ("signal", signals)):
        for name, count in zip("ABCD", yields, strict=True):
            if count.value < 0:
                msg = f"the {what} in region {name} is negative ({count.value:g}): no likelihood has it"
                raise AbcdError(msg)
            if 0 < count.value <= math.sqrt(count.variance):
                # Factors are interpolated exponentially: one standard deviation down must be above 0.
                error = math.sqrt(count.variance)
                msg = (
                    f"the {what} in region {name}, {count.value:g} ± {error:g}, is too uncertain for a "
                    "likelihood: the formula takes it"
                )
                raise AbcdError(msg)
    estimate = predict(observed, contamination)
    left = [data.value - other.value for data, other in zip(observed, contamination, strict=True)]
    nominal = dict(zip("ABCD", [estimate.background, *left[1:]], strict=True))
    channels = [
        _channel(name, nominal[name], other, source)
        for name, other, source in zip("ABCD", contamination, signals, strict=True)
    ]
    observations = [
        {"name": name, "data": [count.value]} for name, count in zip("ABCD", observed, strict=True)
    ]
    return {
        "channels": channels,
        "observations": observations,
        "measurements": [{"name": "abcd", "config": {"poi": POI, "parameters": []}}],
        "version": "1.0.0",
    }


def fit_background(observed: Yields, contamination: Yields = NOTHING) -> FittedBackground:
    """Fit B, C and D alone, so blinded, with minuit, and extrapolate the background to A.

    Raises AbcdError as `workspace`.
    """
    whole = workspace(observed, contamination)
    nominal = predict(observed, contamination).background
    control = {
        **whole,
        "channels": [_without_signal(channel) for channel in whole["channels"][1:]],
        "observations": whole["observations"][1:],
        "measurements": [{"name": "abcd", "config": {"poi": "", "parameters": []}}],
    }
    parsed = pyhf.Workspace(control)
    model = parsed.model()
    previous = pyhf.get_backend()
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(tolerance=1e-4))
    try:
        fitted, correlations = pyhf.infer.mle.fit(
            parsed.data(model), model, return_uncertainties=True, return_correlations=True
        )
    finally:
        pyhf.set_backend(*previous)
    index = [model.config.par_map[name]["slice"].start for name in _FACTORS["A"]]
    values, errors = np.asarray(fitted)[index].T
    covariance = np.outer(errors, errors) * np.asarray(correlations)[np.ix_(index, index)]
    background = nominal * float(np.prod(values))
    relative = float((1 / values) @ covariance @ (1 / values))
    return FittedBackground(
        background=background, background_error=background * math.sqrt(relative)
    )


def _channel(name: str, nominal: float, contamination: Count, signal: Count) -> dict[str, Any]:
    factors = [{"name": factor, "type": "normfactor", "data": None} for factor in _FACTORS[name]]
    samples: list[dict[str, Any]] = [
        {"name": "background", "data": [nominal], "modifiers": factors}
    ]
    if contamination.value > 0:
        samples.append(_simulated("contamination", name, contamination, []))
    if signal.value > 0:
        poi = {"name": POI, "type": "normfactor", "data": None}
        samples.append(_simulated("signal", name, signal, [poi]))
    return {"name": name, "samples": samples}


def _simulated(
    sample: str, channel: str, count: Count, modifiers: list[dict[str, Any]]
) -> dict[str, Any]:
    """Build a sample from simulation, with its statistical error if it has one."""
    if count.variance > 0:
        error = {
            "name": f"stat_{sample}_{channel}",
            "type": "normsys",
            "data": {"lo": 1 - _relative(count), "hi": 1 + _relative(count)},
        }
        modifiers = [*modifiers, error]
    return {"name": sample, "data": [count.value], "modifiers": modifiers}


def _relative(count: Count) -> float:
    return math.sqrt(count.variance) / count.value


def _without_signal(channel: dict[str, Any]) -> dict[str, Any]:
    return {
        **channel,
        "samples": [sample for sample in channel["samples"] if sample["name"] != "signal"],
    }
