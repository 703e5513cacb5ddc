"""Parts of Vega-Lite specifications.

Text and lines are `currentColor`, so that they follow the page from light to dark.
"""

from __future__ import annotations

import math
from typing import Any

Spec = dict[str, Any]
"""A Vega-Lite specification, or a part of one."""

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"

MAIN_HEIGHT, RATIO_HEIGHT, PULL_HEIGHT, ROW_HEIGHT = 280, 110, 80, 22
"""Pixels."""

GREY = "#808080"
INK: Spec = {"value": "currentColor"}
PAPER: Spec = {"value": "var(--page, white)"}


def quantity(field: str, **more: Any) -> Spec:
    """A channel that shows a number."""
    return {"field": field, "type": "quantitative", **more}


def tip(field: str, title: str, form: str = "") -> Spec:
    """A line of what is shown on pointing at a mark; `form` as of d3."""
    return {"field": field, "title": title} | ({"format": form} if form else {})


def row_names() -> Spec:
    """A channel with a row for each name, in the order of the values."""
    axis = {"labelLimit": 220}
    return {"field": "name", "type": "nominal", "sort": None, "title": None, "axis": axis}


def above_each_other(datasets: dict[str, list[Spec]], *panels: Spec) -> Spec:
    """Panels that share the horizontal axis."""
    return {
        "$schema": SCHEMA,
        "datasets": datasets,
        "spacing": 10,
        "vconcat": list(panels),
        "resolve": {"scale": {"x": "shared"}},
    }


def short(value: float | None) -> float | None:
    """Six digits: what a screen can show, and no more bytes; None, which is not drawn, for no number."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None
