"""Goodness of a fit in the bins that were fitted."""

from __future__ import annotations

import numpy as np
from scipy import stats

from analysis.common.strict import Strict
from analysis.postprocess.sidebands.shapes import Array

MIN_EXPECTED = 5.0
"""Bins are merged until this many events are expected in each, so that χ² is distributed as such."""


class Goodness(Strict):
    """Pearson's χ² over the fitted bins, merged so that each expects enough events."""

    chi2: float
    ndf: int
    p_value: float | None
    """None if there are no more bins than parameters."""

    def __str__(self) -> str:
        probability = "none" if self.p_value is None else f"{self.p_value:.2g}"
        return f"χ²/ndf = {self.chi2:.1f}/{self.ndf}, p = {probability}"


class FittedBins(Strict):
    """Fitted contents and the expectation of the fit; the bins need not touch each other."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    values: tuple[float, ...]
    variances: tuple[float, ...]
    expected: tuple[float, ...]

    @property
    def pulls(self) -> Array:
        """(value - expected) / expected standard deviation of each bin."""
        values, expected = np.array(self.values), np.array(self.expected)
        pulls: Array = (values - expected) / np.sqrt(expected_variance(self))
        return pulls


def f_test(simpler: Goodness, richer: Goodness) -> float:
    """Compute the probability that added parameters improve χ² this much by chance (F-test)."""
    added = simpler.ndf - richer.ndf
    if added < 1 or richer.ndf < 1 or richer.chi2 <= 0:
        return 1.0
    ratio = (simpler.chi2 - richer.chi2) / added / (richer.chi2 / richer.ndf)
    return float(stats.f.sf(max(ratio, 0.0), added, richer.ndf))


def expected_variance(bins: FittedBins) -> Array:
    """Compute the Poisson variance of the expectation, times the mean weight of the content.

    Where a bin is empty, the mean weight of all bins stands in (Bohm and Zech, arXiv:1309.1287).
    """
    values, variances = np.array(bins.values), np.array(bins.variances)
    mean = np.sum(variances) / np.sum(values)
    weight = np.divide(variances, values, out=np.full_like(values, mean), where=values > 0)
    variance: Array = np.maximum(np.array(bins.expected), 1e-12) * weight
    return variance


def goodness(bins: FittedBins, n_parameters: int) -> Goodness:
    """Compute χ² of a fit of `n_parameters` to the bins."""
    return _goodness(bins, n_parameters, _merged(_effective(bins)))


def improvement(simpler: tuple[FittedBins, Goodness], richer: tuple[FittedBins, Goodness]) -> float:
    """Compare two fits to the same bins by an F-test, in groups of bins that are the same for both.

    Each fit's own χ² is over groups by what that fit expects: with others the degrees of freedom
    differ by more, or less, than the parameters.
    """
    groups = _merged(np.minimum(*(_effective(bins) for bins, _ in (simpler, richer))))
    return f_test(
        *(
            _goodness(bins, len(_merged(_effective(bins))) - own.ndf, groups)
            for bins, own in (simpler, richer)
        )
    )


def _effective(bins: FittedBins) -> Array:
    """Compute the expected events in each bin, for weights those of the same relative error."""
    effective: Array = np.array(bins.expected) ** 2 / expected_variance(bins)
    return effective


def _goodness(bins: FittedBins, n_parameters: int, groups: list[slice]) -> Goodness:
    variances, expected = expected_variance(bins), np.array(bins.expected)
    chi2 = 0.0
    for group in groups:
        difference = np.sum(np.array(bins.values)[group]) - np.sum(expected[group])
        chi2 += float(difference**2 / np.sum(variances[group]))
    ndf = len(groups) - n_parameters
    p_value = float(stats.chi2.sf(chi2, ndf)) if ndf > 0 else None
    return Goodness(chi2=chi2, ndf=ndf, p_value=p_value)


def _merged(effective: Array) -> list[slice]:
    """Group neighbours until each group expects enough; a poor rest joins the last group."""
    groups, begin, content = [], 0, 0.0
    for i, entries in enumerate(effective):
        content += entries
        if content >= MIN_EXPECTED:
            groups.append(slice(begin, i + 1))
            begin, content = i + 1, 0.0
    if begin < len(effective):
        last = groups.pop() if groups else slice(0, 0)
        groups.append(slice(last.start, len(effective)))
    return groups
