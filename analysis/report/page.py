"""The page: sections and charts in one HTML file that needs nothing else."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import vl_convert
from markupsafe import Markup

from analysis.common.files import write_text
from analysis.common.tables import text_columns
from analysis.report.charts import GROUPS, plain
from analysis.report.loaded import Run, load
from analysis.report.sections import Section, sections
from analysis.report.summary import luminosity, observed, status
from analysis.results import REPORT

TITLE = "tt̄ → lepton + jets"

LONGEST_TABLE = 14
"""Rows of a table that is shown without being asked for."""

_TEMPLATES = resources.files("analysis.report") / "page"


def write(folder: Path) -> Path:
    """Write the report of a results folder into it; return the file.

    Raises OutputError if it is no results folder or cannot be written to.
    """
    path = folder / REPORT
    write_text(path, render(load(folder)))
    return path


def render(run: Run) -> str:
    """The page as text."""
    parts = sections(run)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["words"] = text_columns
    template = environment.from_string(_file("report.html"))
    return template.render(
        title=f"{TITLE}, {run.ledger.figure_label}",
        label=run.ledger.figure_label,
        complete=not run.ledger.missing,
        started=run.ledger.started,
        status=status(run),
        facts=_facts(run),
        sections=parts,
        longest=LONGEST_TABLE,
        groups=GROUPS,
        specs=_embedded(_specs(parts)),
        style=Markup(_file("report.css")),
        script=Markup(_file("report.js")),
        library=Markup(_library()),
    )


def _facts(run: Run) -> dict[str, str]:
    """What a reader wants to see first: name -> value."""
    facts = {}
    if run.measurement is not None:
        facts[f"{run.measurement.quantity}, {observed(run)}"] = str(run.measurement.cross_section)
    facts["Events processed"] = f"{run.ledger.events_processed:,}"
    if known := luminosity(run):
        facts["Luminosity"] = known
    fits = {} if run.top_peak is None else run.top_peak.fits
    for name, fit in fits.items():
        if fit.peak is not None:
            position = fit.peak.parameters["position"]
            label = plain(run.labels.get(name, name)).lower()
            facts[f"Top peak, {label}"] = f"{position.value:.1f} ± {position.error:.1f} GeV"
    return facts


def _specs(parts: list[Section]) -> dict[str, Any]:
    return {chart.name: chart.specs for section in parts for chart in section.charts}


def _embedded(value: Any) -> Markup:
    """JSON for a script element: no `<` can end it."""
    return Markup(json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))


def _file(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


@cache
def _library() -> str:
    """Vega, Vega-Lite and vega-embed as one script."""
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle.replace("</script", "<\\/script")
