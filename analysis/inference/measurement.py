"""The measurement: a checked workspace fitted, and what a physicist reports of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import Field

from analysis.common.strict import Strict
from analysis.config import Binning
from analysis.inference.compatibility import Split, Ways, splits
from analysis.inference.config import TTBAR
from analysis.inference.fit import (
    AT_END,
    UNSTABLE,
    BestFit,
    FitResult,
    Yields,
    fit,
    yields_elsewhere,
)
from analysis.inference.impacts import (
    LUMINOSITY,
    STATISTICAL,
    SYSTEMATIC,
    Impact,
    Scan,
    breakdown,
    error_of,
    ranking,
    scan,
)
from analysis.inference.toys import ToyGoodness, Toys, goodness_by_toys
from analysis.inference.validator import Finding, require_valid, validate
from analysis.inference.visible import Visible, visible

POOR = 1e-4
"""Probability of the data under the model below which that is said."""
TENSION = 0.003
"""Probability of strengths of parts as different as these, below which that is said."""
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
        """Whole pb, or two digits of the error where that is below 10 pb."""
        digits = max(0, 1 - math.floor(math.log10(self.error))) if self.error > 0 else 0
        value, *parts = (
            f"{x:.{digits}f}"
            for x in (self.value, self.statistical, self.systematic, self.luminosity)
        )
        statistical, systematic, luminosity = parts
        return f"{value} ± {statistical} (stat) ± {systematic} (syst) ± {luminosity} (lumi) pb"


class Measurement(Strict):
    """Everything that the fit says; `measurement.json` is this record."""

    source: str
    """What was fitted."""
    observed: str
    signal: str
    """What the strength scales."""
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
    """Of every channel, in GeV; None where nobody knows it."""
    binnings: dict[str, Binning] = Field(default_factory=dict)
    """Channel -> its bins, where they are not those of `binning`."""
    overflow: bool = False
    """Whether the first and the last bin have what lies beyond them, too."""
    luminosity_ipb: dict[str, float] = Field(default_factory=dict)
    """Of what was observed, by lepton channel; empty where nobody knows it."""
    goodness_by_toys: ToyGoodness | None = None
    """Of as many toys as were asked for."""
    visible: CrossSection | None = None
    """Of what the selection takes; None where the model does not keep acceptance apart."""
    compatibility: list[Split] = Field(default_factory=list)
    """Strengths of parts of the channels, one way to divide them after the other."""
    elsewhere: dict[str, list[Yields]] = Field(default_factory=dict)
    """Region that is not fitted -> its channels, with the parameters of the fit."""

    @property
    def quantity(self) -> str:
        """What is measured, as tables and figures call it."""
        return f"σ({'tt̄' if self.signal == TTBAR else self.signal})"

    @property
    def extrapolation_pb(self) -> float:
        """What the error of the full cross section has, in quadrature, beyond that of the visible one."""
        if self.visible is None or not self.visible.value > 0:
            return 0.0
        full, seen = (s.error / s.value for s in (self.cross_section, self.visible))
        return self.cross_section.value * math.sqrt(max(full**2 - seen**2, 0.0))

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
    binnings: Mapping[str, Binning] | None = None,
    overflow: bool = False,
    luminosity_ipb: Mapping[str, float] | None = None,
    force: bool = False,
    with_ranking: bool = True,
    toys: Toys | None = None,
    ways: Ways | None = None,
    elsewhere: Mapping[str, Mapping[str, Any]] | None = None,
) -> Measurement:
    """Check a workspace, with the `processes` that every channel must have, and fit it.

    With `toys` its goodness is by those too. Parts of the channels, by some `ways` to divide them, are compared.
    Workspaces `elsewhere` are predicted with the fit's parameters.

    Raises WorkspaceError for errors that the check finds, unless it is `force`d; FitError for a fit
    that does not converge.
    """
    findings = validate(spec, processes)
    if not force:
        require_valid(findings)
    best = fit(spec)
    parts = breakdown(best)
    impacts = ranking(best) if with_ranking else []
    compatibility = splits(spec, best, ways or {})
    seen = visible(best, luminosity_ipb or {})
    return Measurement(
        source=source,
        observed=observed,
        signal=", ".join(_scaled(spec, best.result.poi)),
        cross_section=_cross_section(best, parts, cross_section_pb),
        visible=seen and _visible_cross_section(best, seen),
        fit=best.result,
        breakdown=parts,
        ranking=impacts,
        scan=scan(best),
        findings=findings,
        notes=list(notes),
        remarks=[
            *_remarks(best.result),
            *_at_their_ends(best),
            *_not_known(impacts),
            *_tensions(compatibility),
        ],
        binning=binning,
        binnings=dict(binnings or {}),
        overflow=overflow,
        luminosity_ipb=dict(luminosity_ipb or {}),
        goodness_by_toys=None
        if toys is None
        else goodness_by_toys(best.likelihood, best.values, best.result.goodness.chi2, toys),
        compatibility=compatibility,
        elsewhere={
            region: yields_elsewhere(best.result, other)
            for region, other in (elsewhere or {}).items()
        },
    )


def _scaled(spec: Mapping[str, Any], poi: str) -> list[str]:
    """The samples that a normalisation factor scales."""
    names = {
        sample["name"]: None
        for channel in spec["channels"]
        for sample in channel["samples"]
        if any(modifier["name"] == poi for modifier in sample["modifiers"])
    }
    return list(names)


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


def _tensions(compatibility: Sequence[Split]) -> Iterator[str]:
    """One line for each way to divide the channels whose parts do not agree."""
    for split in compatibility:
        if split.p_value < TENSION:
            parts = ", ".join(f"{p.name} {p.value:.3f} ± {p.error:.3f}" for p in split.parts)
            yield (
                f"tension between parts by {split.name} (p = {split.p_value:.2g}): strengths {parts}"
            )


def _visible_cross_section(best: BestFit, seen: Visible) -> CrossSection:
    parts = breakdown(best, seen.slopes)
    return CrossSection(
        value=seen.value,
        error=error_of(best.covariance, seen.slopes),
        error_up=None,
        error_down=None,
        statistical=parts[STATISTICAL],
        systematic=parts[SYSTEMATIC],
        luminosity=parts.get(LUMINOSITY, 0.0),
        reference=seen.reference,
    )


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
