"""The measurement: a checked workspace fitted, and what a physicist reports of it."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

from analysis.inference.fit import BestFit, FitResult, fit
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
from analysis.validation import Strict

logger = logging.getLogger(__name__)

UNSTABLE = 0.02
"""Relative difference of two computations of an error that is said."""


class CrossSection(Strict):
    """Strength × the cross section that the prediction was scaled to, in pb."""

    value: float
    error: float
    """HESSE; of the three parts together."""
    error_up: float | None
    """MINOS."""
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
    """Everything that the fit says; `results.json` is this record."""

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


def measure(
    spec: dict[str, Any],
    *,
    cross_section_pb: float,
    source: str = "",
    observed: str = "data",
    notes: Sequence[str] = (),
    processes: Sequence[str] | None = None,
    force: bool = False,
    with_ranking: bool = True,
) -> Measurement:
    """Check a workspace and fit it.

    Raises WorkspaceError for errors that the check finds, unless it is `force`d; FitError for a fit
    that does not converge.
    """
    findings = validate(spec, processes)
    if not force:
        require_valid(findings)
    for finding in findings:
        logger.warning("%s", finding)
    best = fit(spec)
    if best.result.error_up is None or best.result.error_down is None:
        logger.warning("MINOS found no error of %s: only HESSE's is given", best.result.poi)
    _check_error(best.result)
    parts = breakdown(best)
    return Measurement(
        source=source,
        observed=observed,
        cross_section=_cross_section(best, parts, cross_section_pb),
        fit=best.result,
        breakdown=parts,
        ranking=ranking(best) if with_ranking else [],
        scan=scan(best),
        findings=findings,
        notes=list(notes),
    )


def _check_error(result: FitResult) -> None:
    if not math.isclose(result.error, result.error_check, rel_tol=UNSTABLE):
        logger.warning(
            "the HESSE error of %s is not stable: %.4f by pyhf's likelihood, %.4f by the same one "
            "without its rounding; MINOS is what to trust",
            result.poi, result.error, result.error_check,
        )  # fmt: skip


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
