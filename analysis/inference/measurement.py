"""The measurement: a checked workspace fitted, and what a physicist reports of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from analysis.common.strict import Strict
from analysis.config import Binning
from analysis.inference.fit import AT_END, UNSTABLE, BestFit, FitResult, fit
from analysis.inference.impacts import (
    LUMINOSITY,
    STATISTICAL,
    SYSTEMATIC,
    Impact,
    Scan,
    breakdown,
    ranking,
    scan,
)
from analysis.inference.validator import Finding, require_valid, validate

POOR = 1e-4
"""Probability of the data under the model below which that is said."""
DEGENERATE = 0.9
"""Correlation of the strength with another free parameter that is said."""
TOTAL = "total"


class CrossSection(Strict):
    """Strength × the cross section that the prediction was scaled to, in pb."""

    value: float
    error: float
    """Uncertainty of the three parts together."""
    error_up: float | None
    """Ends of the interval where -2 ln L of the profile is higher by 1 (as MINOS)."""
    error_down: float | None
    statistical: float
    systematic: float
    luminosity: float
    reference: float
    """What the prediction was scaled to."""

    def __str__(self) -> str:
        return (
            f"{self.value:.0f} ± {self.statistical:.0f} (stat) ± {self.systematic:.0f} (syst) "
            f"± {self.luminosity:.0f} (lumi) pb"
        )


class Measurement(Strict):
    """Everything that the fit says; `measurement.json` is this record."""

    source: str
    """What was fitted."""
    observed: str
    cross_section: CrossSection
    fit: FitResult
    breakdown: dict[str, float]
    """Group -> part of the error of the strength."""
    ranking: list[Impact]
    scan: Scan
    findings: list[Finding]
    notes: list[str]
    """How the templates were mended and pruned."""
    remarks: list[str]
    """What makes the errors doubtful."""
    binning: Binning | None = None
    """Binning of every channel, in GeV; None where nobody knows it."""

    @property
    def groups_pb(self) -> dict[str, float]:
        """Group of constrained parameters -> its part of the cross section's error, largest first.

        Without luminosity; not in quadrature what `systematic` is, as the groups are correlated.
        """
        whole = (STATISTICAL, SYSTEMATIC, LUMINOSITY)
        parts = {name: x for name, x in self.breakdown.items() if name not in whole}
        reference = self.cross_section.reference
        return {name: reference * parts[name] for name in sorted(parts, key=lambda n: -parts[n])}

    @property
    def uncertainties_pb(self) -> dict[str, float]:
        """Source -> its part of the cross section's error: the three parts, the groups, the total."""
        section = self.cross_section
        return {
            STATISTICAL: section.statistical,
            LUMINOSITY: section.luminosity,
            SYSTEMATIC: section.systematic,
            **self.groups_pb,
            TOTAL: section.error,
        }


def measure(
    spec: dict[str, Any],
    *,
    cross_section_pb: float,
    source: str = "",
    observed: str = "data",
    notes: Sequence[str] = (),
    processes: Sequence[str] | None = None,
    binning: Binning | None = None,
    force: bool = False,
    with_ranking: bool = True,
) -> Measurement:
    """Check a workspace, with the `processes` that every channel must have, and fit it.

    Raises WorkspaceError for errors that the check finds, unless it is `force`d; FitError for a fit
    that does not converge.
    """
    findings = validate(spec, processes)
    if not force:
        require_valid(findings)
    best = fit(spec)
    parts = breakdown(best)
    impacts = ranking(best) if with_ranking else []
    return Measurement(
        source=source,
        observed=observed,
        cross_section=_cross_section(best, parts, cross_section_pb),
        fit=best.result,
        breakdown=parts,
        ranking=impacts,
        scan=scan(best),
        findings=findings,
        notes=list(notes),
        remarks=[*_remarks(best.result), *_at_their_ends(best), *_not_known(impacts)],
        binning=binning,
    )


def _remarks(result: FitResult) -> Iterator[str]:
    """What makes the errors doubtful."""
    poi = result.poi
    goodness = result.goodness
    if goodness.p_value is not None and goodness.p_value < POOR:
        yield (
            f"the model does not describe the data: χ² {goodness.chi2:.1f} for "
            f"{goodness.degrees_of_freedom} degrees of freedom (p = {goodness.p_value:.2g}); where data "
            "and simulation are not of one luminosity, --luminosity-fraction says so"
        )
    if result.error_up is None or result.error_down is None:
        yield f"no interval of {poi} on both sides: fits beside the best one did not converge"
    if not math.isclose(result.error, result.error_check, rel_tol=UNSTABLE):
        yield (
            f"the error of {poi} is that of its profile, {result.error:.4g}: by the covariance matrix "
            f"it would be {result.error_check:.4g}; the parts of the error are scaled with it"
        )
    for parameter, row in zip(result.parameters, result.correlation, strict=True):
        correlation = row[[p.name for p in result.parameters].index(poi)]
        free = parameter.pull is None and parameter.name != poi
        if free and abs(correlation) > DEGENERATE:
            yield (
                f"{poi} and {parameter.name} are hardly measured apart: correlation "
                f"{correlation:.3f}; a given {parameter.name} makes the error smaller"
            )
    for other in result.other_minima:
        yield (
            f"the likelihood has another minimum at {poi} = {other.value:.4f}, where -2 ln L is "
            f"higher by {other.twice_delta_nll:.2f}"
        )


def _at_their_ends(best: BestFit) -> Iterator[str]:
    """One line for all parameters that the fit moved to an end of their range."""
    likelihood = best.likelihood
    names = [
        name
        for name, value, (low, high), constant in zip(
            likelihood.names,
            best.values,
            zip(*likelihood.bounds, strict=True),
            likelihood.constant,
            strict=True,
        )
        if not constant and min(value - low, high - value) < AT_END * (high - low)
    ]
    if names:
        yield f"at an end of their range, so that the error is too small: {', '.join(names)}"


def _not_known(impacts: Sequence[Impact]) -> Iterator[str]:
    """One line for all impacts of which a fit did not converge."""
    names = [impact.name for impact in impacts if not impact.known]
    if names:
        yield f"impacts that are not known, as a fit of theirs did not converge: {', '.join(names)}"


def _cross_section(best: BestFit, parts: dict[str, float], reference: float) -> CrossSection:
    result = best.result
    return CrossSection(
        value=reference * result.value,
        error=reference * result.error,
        error_up=None if result.error_up is None else reference * result.error_up,
        error_down=None if result.error_down is None else reference * result.error_down,
        statistical=reference * parts[STATISTICAL],
        systematic=reference * parts[SYSTEMATIC],
        luminosity=reference * parts.get(LUMINOSITY, 0.0),
        reference=reference,
    )
