"""The measurement as files: `measurement.json`, and tables in Markdown and LaTeX."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from analysis.common.errors import OutputError
from analysis.common.files import write_json, write_text
from analysis.common.folders import FIT, MADE_OF
from analysis.common.tables import Row, latex, markdown, measured, signed
from analysis.inference.fit import Yields
from analysis.inference.measurement import Measurement
from analysis.results import FIT_TABLES, load_stored

Table = tuple[str, Row, list[Row]]
"""Title, header, rows."""


def write(measurement: Measurement, folder: Path, made_of: str = "") -> list[Path]:
    """Write `measurement.json` and the tables; return the files.

    `made_of`: digest of the scaled histograms that were fitted; empty for those of a file.
    """
    paths = [folder / FIT, *(folder / name for name in FIT_TABLES)]
    tables = _tables(measurement)
    write_text(paths[1], _markdown(measurement, tables))
    write_text(paths[2], "\n".join(latex(*table) for table in tables))
    write_json(paths[0], {MADE_OF: made_of} | measurement.model_dump(mode="json"))
    return paths


def load(folder: Path) -> Measurement:
    """What `write` left. Raises OutputError if there is none of this version."""
    return load_stored(folder, FIT, Measurement, "fit")


def beside(workspace: Path, spec: Mapping[str, Any]) -> Measurement | None:
    """What a fit left in the folder of its workspace; None if there is none of the same observations."""
    try:
        found = load(workspace.parent)
    except OutputError:
        return None
    fitted = {yields.channel: yields.data for yields in found.fit.yields}
    there = {o.get("name"): o.get("data") for o in spec.get("observations", [])}
    return found if fitted == there else None


def summary(measurement: Measurement) -> Table:
    """The cross section, the strength, its error and how well the model fits."""
    section, fit = measurement.cross_section, measurement.fit
    up, down = fit.error_up, fit.error_down
    minos = "-" if up is None or down is None else f"+{up:.4f} -{down:.4f}"
    p_value = fit.goodness.p_value
    shown = "-" if p_value is None else f"{p_value:.3g}"
    rows: list[Row] = [
        (measurement.quantity, str(section)),
        *_visible(measurement),
        (f"{measurement.quantity} at strength 1", f"{section.reference:.2f} pb"),
        (fit.poi, f"{fit.value:.4f} ± {fit.error:.4f}"),
        *(
            (p.name, f"{p.value:.4f} ± {p.error:.4f}")
            for p in fit.parameters
            if p.pull is None and p.error > 0 and p.name != fit.poi
        ),
        ("MINOS", minos),
        ("χ² / degrees of freedom", f"{fit.goodness.chi2:.1f} / {fit.goodness.degrees_of_freedom}"),
        ("p-value", shown),
    ]
    toys = measurement.goodness_by_toys
    if toys is not None:
        found = f"{toys.p_value:.3g} ± {toys.p_value_error:.1g}"
        rows.append((f"p-value, {toys.toys} toys", found))
    if fit.significance is not None:
        rows.append(("significance", f"{fit.significance:.1f} standard deviations"))
    return f"Measurement ({measurement.observed})", ("", "value"), rows


def _visible(measurement: Measurement) -> list[Row]:
    """The visible cross section, its part of the full one, and what the extrapolation adds to the error."""
    seen, full = measurement.visible, measurement.cross_section
    if seen is None:
        return []
    return [
        (f"visible {measurement.quantity}", str(seen)),
        ("selected part, by simulation", f"{seen.reference / full.reference:.2%}"),
        (
            f"extrapolation in the error of {measurement.quantity}",
            f"{measurement.extrapolation_pb:.1f} pb",
        ),
    ]


def uncertainties(measurement: Measurement) -> Table:
    """The parts of the cross section's error, in pb and of the cross section."""
    sigma, groups = measurement.cross_section.value, measurement.groups_pb
    rows: list[Row] = [
        (
            f"- {name}" if name in groups else name,
            measured(part),
            f"{part / sigma:.1%}" if sigma > 0 else "-",
        )
        for name, part in measurement.uncertainties_pb.items()
    ]
    return f"Uncertainties of {measurement.quantity}", ("source", "pb", "part of σ"), rows


def compatibility(measurement: Measurement) -> Table:
    """Cross sections of parts of the channels: alone, and beside each other with all else in common."""
    reference = measurement.cross_section.reference
    rows: list[Row] = []
    for split in measurement.compatibility:
        verdict = (f"{split.chi2:.1f} / {split.degrees_of_freedom}", f"{split.p_value:.2g}")
        for part in split.parts:
            alone = "-"
            if part.alone is not None and part.alone_error is not None:
                alone = measured(reference * part.alone, reference * part.alone_error)
            together = measured(reference * part.value, reference * part.error)
            rows.append((split.name, part.name, alone, together, *verdict))
            verdict = ("", "")
    header = ("by", "part", "alone, pb", "together, pb", "χ² / ndf", "p")
    return f"Compatibility of {measurement.quantity}", header, rows


def definition(measurement: Measurement) -> str:
    """What the parts are, in words, and how far the groups are from adding up."""
    groups = measurement.groups_pb.values()
    text = (
        "Statistical: the error with all constrained parameters held at the best fit. A group, or the "
        "luminosity: in quadrature, what the total loses when its parameters are held there. Systematic: "
        "the rest of the total, so that the three give it in quadrature."
    )
    if len(groups) < 2:
        return text
    return (
        f"{text} The groups are correlated: in quadrature they are {math.hypot(*groups):.1f} pb, not "
        f"{measurement.cross_section.systematic:.1f} pb."
    )


def _tables(measurement: Measurement) -> list[Table]:
    tables = [summary(measurement), uncertainties(measurement), _parameters(measurement)]
    if measurement.ranking:
        tables.append(_ranking(measurement))
    if measurement.compatibility:
        tables.append(compatibility(measurement))
    others = chain.from_iterable(measurement.elsewhere.values())
    return tables + [_yields(yields) for yields in (*measurement.fit.yields, *others)]


def _parameters(measurement: Measurement) -> Table:
    header = ("parameter", "value", "error", "pull", "constraint")
    rows: list[Row] = [
        (p.name, f"{p.value:.3f}", f"{p.error:.3f}", _number(p.pull), _number(p.constraint))
        for p in measurement.fit.parameters
    ]
    return "Parameters", header, rows


def _ranking(measurement: Measurement) -> Table:
    header = ("parameter", "post-fit up", "post-fit down", "pre-fit up", "pre-fit down")
    rows: list[Row] = [
        (i.name, *map(signed, (i.postfit_up, i.postfit_down, i.prefit_up, i.prefit_down)))
        for i in measurement.ranking
    ]
    return f"Impact on {measurement.fit.poi}", header, rows


def _yields(yields: Yields) -> Table:
    rows: list[Row] = [
        (name, measured(sum(before)), measured(sum(after)))
        for name, before, after in zip(yields.samples, yields.prefit, yields.postfit, strict=True)
    ]
    before, after = (sum(map(sum, part)) for part in (yields.prefit, yields.postfit))
    rows += [
        (
            "prediction",
            measured(before, yields.prefit_total_error),
            measured(after, yields.postfit_total_error),
        ),
        ("observed", f"{sum(yields.data):.1f}", f"{sum(yields.data):.1f}"),
    ]
    return f"Yields in {yields.channel}", ("process", "pre-fit", "post-fit"), rows


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _markdown(measurement: Measurement, tables: Sequence[Table]) -> str:
    parts = [f"## {title}\n\n{markdown(header, rows)}" for title, header, rows in tables]
    for title, lines in (
        ("How the error is divided", [definition(measurement)]),
        ("Remarks", measurement.remarks),
        ("Findings", [str(finding) for finding in measurement.findings]),
        ("Templates", measurement.notes),
    ):
        if lines:
            parts.append(f"## {title}\n\n" + "\n".join(f"- {line}" for line in lines) + "\n")
    return "\n".join(parts)
