"""Variations that are samples of their own: what of them differs from nominal by more than fluctuation.

The fit takes a template that differs from nominal by the fluctuation of two samples for a prediction of
the data, and constrains its parameter by that: to 0.3 of its prior where the samples are as large as the
data. A difference counts where a χ² of both samples' statistical errors finds it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from analysis.inference.templates import Template

EVENTS = 5.0
"""Neighbouring bins are added up until each sample has as many, of effective events."""
_EXACT = 1e-9
"""Relative error of a bin that has none: of a template that is no sample."""


def shapes_p_value(one: Template, other: Template) -> float:
    """Compute the probability that two samples of one shape differ by as much; 1 for a single bin."""
    totals = float(np.sum(one.values)), float(np.sum(other.values))
    if min(totals) <= 0:
        return 1.0
    both = _merged(_with_errors(one), _with_errors(other))
    ratio = totals[0] / totals[1]
    differences = both[0].values - ratio * both[1].values
    variances = both[0].variances + ratio**2 * both[1].variances
    return _p_value(float(np.sum(differences**2 / variances)), differences.size - 1)


def rates_p_value(pairs: Sequence[tuple[Template, Template]]) -> float:
    """Compute the probability that samples with one ratio of rates in all regions differ by as much."""
    rates = [_rate(template) for pair in pairs for template in pair]
    if min(value for value, _ in rates) <= 0:
        return 1.0
    logarithms = np.log(
        [one[0] / other[0] for one, other in zip(rates[::2], rates[1::2], strict=True)]
    )
    relative = np.array([variance / value**2 for value, variance in rates])
    variances = relative[::2] + relative[1::2]
    mean = np.average(logarithms, weights=1 / variances)
    return _p_value(float(np.sum((logarithms - mean) ** 2 / variances)), logarithms.size - 1)


def alike(one: Template, other: Template, significance: float) -> bool:
    """Whether rates and shapes of two samples differ by no more than their fluctuation."""
    (first, variance), (second, other_variance) = _rate(one), _rate(other)
    rates = float(stats.chi2.sf((first - second) ** 2 / (variance + other_variance), 1))
    return min(rates, shapes_p_value(one, other)) > significance


def _p_value(chi2: float, degrees: int) -> float:
    return float(stats.chi2.sf(chi2, degrees)) if degrees else 1.0


def _rate(template: Template) -> tuple[float, float]:
    return float(np.sum(template.values)), float(np.sum(_with_errors(template).variances))


def _with_errors(template: Template) -> Template:
    values, variances = template
    return Template(values, np.where(variances > 0, variances, (_EXACT * values) ** 2))


def _merged(one: Template, other: Template) -> tuple[Template, Template]:
    """Add up neighbouring bins until both samples have enough events in each."""
    starts, begin = [], 0
    for end in range(1, one.values.size + 1):
        if min(_effective(t, slice(begin, end)) for t in (one, other)) >= EVENTS:
            starts.append(begin)
            begin = end
    starts = starts or [0]  # What is left at the end goes to the last one.
    return tuple(Template(*(np.add.reduceat(a, starts) for a in t)) for t in (one, other))  # type: ignore[return-value]


def _effective(template: Template, bins: slice) -> float:
    """Count the unweighted events that would have the same relative error."""
    values, variances = (
        float(np.sum(template.values[bins])),
        float(np.sum(template.variances[bins])),
    )
    return max(values, 0.0) ** 2 / variances if variances > 0 else 0.0
