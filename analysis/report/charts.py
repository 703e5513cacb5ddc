"""Charts of the report as Vega-Lite specifications, with their controls and text alternatives.

A specification holds its numbers; the page adds width and theme. Text and lines are `currentColor`, so
that they follow the page from light to dark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from hist.intervals import poisson_interval
from numpy.typing import ArrayLike, NDArray

from analysis.tables import Row

Array = NDArray[np.float64]
Spec = dict[str, Any]
"""A Vega-Lite specification, or a part of one."""

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"

RATIO_LIMITS = (0.5, 1.5)
MAIN_HEIGHT, RATIO_HEIGHT, ROW_HEIGHT = 280, 110, 22
"""Pixels."""

UP, DOWN = "#bd1f01", "#3f90da"
_INK = {"value": "currentColor"}


class Box(NamedTuple):
    """A check box of a chart: what it switches, and the colour that is drawn with it."""

    values: list[str]
    label: str
    colour: str
    checked: bool


class Chart(NamedTuple):
    """A figure of the page."""

    name: str
    """Unique on the page; letters, digits, `-`."""
    title: str
    description: str
    """What a reader without the picture has to know."""
    specs: dict[str, Spec]
    """Choice -> specification; a single one has no choice."""
    header: Row
    rows: list[Row]
    """The numbers of the figure."""
    boxes: Mapping[str, list[Box]] = MappingProxyType({})
    """Title of a group of check boxes -> the boxes."""
    zooms: bool = False


class Bin(NamedTuple):
    """A bin of one process: its events, and those of each variation."""

    process: str
    label: str
    low: float
    high: float
    events: float
    variance: float
    varied: Mapping[str, float] = MappingProxyType({})


SHOWN, VARIED = "shown", "varied"
"""Names of the parameters that the check boxes set, by the title of their group."""
GROUPS = {"Processes": SHOWN, "Variations of the prediction": VARIED}


def data_rows(edges: ArrayLike, values: ArrayLike) -> list[Spec]:
    """Observed events with Garwood intervals of 68 %; bins without any are left out."""
    lows, highs = np.asarray(edges)[:-1], np.asarray(edges)[1:]
    counts = np.asarray(values, dtype=np.float64)
    below, above = np.nan_to_num(poisson_interval(counts))
    return [
        {"low": _short(low), "high": _short(high), "centre": _short((low + high) / 2),
         "events": _short(count), "from": _short(down), "to": _short(up)}
        for low, high, count, down, up in zip(lows, highs, counts, below, above, strict=True)
        if count > 0
    ]  # fmt: skip


def stack(
    bins: Sequence[Bin],
    data: list[Spec],
    limits: tuple[float, float],
    colours: Mapping[str, str],
    *,
    axis: str,
    entries: str = "Events",
    points: str = "Data",
    sources: Mapping[str, str] | None = None,
) -> Spec:
    """Stacked processes with the uncertainty of their sum, data, varied sums, and ratios below.

    `limits` are those of the axis. `colours` are those of processes, from the bottom of the stack; `sources` those of variations without direction.
    """
    sources = sources or {}
    varied = list(dict.fromkeys(name for b in bins for name in b.varied))
    rows: list[Spec] = []
    places = {name: i for i, name in enumerate(colours)}
    for b in bins:
        row = {
            "process": b.process, "label": b.label, "low": _short(b.low), "high": _short(b.high),
            "events": _short(b.events), "variance": _short(b.variance), "place": places[b.process],
        }  # fmt: skip
        rows.append(row | {name: _short(b.varied.get(name, b.events)) for name in varied})
    return {
        "$schema": SCHEMA,
        "usermeta": {"limits": list(limits)},
        "datasets": {"prediction": rows, "data": data},
        "params": [{"name": SHOWN, "value": list(colours)}, {"name": VARIED, "value": []}],
        "spacing": 10,
        "vconcat": [
            _main(colours, sources, varied, limits, entries, points),
            _ratio(sources, varied, limits, axis, points),
        ],
        "resolve": {"scale": {"x": "shared"}},
    }


def _main(
    colours: Mapping[str, str], sources: Mapping[str, str], varied: list[str],
    limits: tuple[float, float], entries: str, points: str,
) -> Spec:  # fmt: skip
    scale = {"domain": list(colours), "range": list(colours.values())}
    layers: list[Spec] = [
        {
            "data": {"name": "prediction"},
            "transform": [_SELECTED],
            "mark": {"type": "bar", "binSpacing": 0, "clip": True},
            "encoding": {
                **_x(limits, None),
                "y": {"field": "events", "type": "quantitative", "stack": "zero", "title": entries},
                "color": {"field": "process", "type": "nominal", "scale": scale, "legend": None},
                "order": {"field": "place", "type": "quantitative"},
                "tooltip": [
                    _tip("label", "process"), _tip("low", "from"), _tip("high", "to"),
                    _tip("events", "events", ",.1f"),
                ],
            },
            "params": [_ZOOM],
        },
        _band("datum.total - datum.error", "datum.total + datum.error", limits),
    ]  # fmt: skip
    if varied:
        layers += _variation_lines(sources, varied, limits, "total")
    layers += _points(limits, "events", "from", "to", points)
    return {
        "height": MAIN_HEIGHT,
        "layer": layers,
        "resolve": {"scale": {"color": "independent"}},
    }


def _ratio(
    sources: Mapping[str, str], varied: list[str], limits: tuple[float, float], axis: str, points: str
) -> Spec:  # fmt: skip
    low, high = RATIO_LIMITS
    over = "datum.total > 0"
    layers: list[Spec] = [
        _band("1 - datum.error / datum.total", "1 + datum.error / datum.total", limits, over, axis),
        {"mark": {"type": "rule", "strokeDash": [2, 2], "color": "currentColor"},
         "data": {"values": [{}]}, "encoding": {"y": {"datum": 1}}},
    ]  # fmt: skip
    if varied:
        layers += _variation_lines(sources, varied, limits, "ratio", axis)
    ratio: list[Spec] = [
        _SELECTED,
        _SUM,
        {"filter": over},
        {
            "lookup": "low",
            "from": {
                "data": {"name": "data"},
                "key": "low",
                "fields": ["events", "from", "to", "centre"],
            },
        },
        {"filter": "isValid(datum.events)"},
        {"calculate": "datum.events / datum.total", "as": "ratio"},
        {"calculate": f"clamp(datum.ratio, {low}, {high})", "as": "drawn"},
        {"calculate": f"clamp(datum['from'] / datum.total, {low}, {high})", "as": "below"},
        {"calculate": f"clamp(datum.to / datum.total, {low}, {high})", "as": "above"},
    ]
    layers += _points(limits, "drawn", "below", "above", points, "prediction", ratio)
    for layer in layers:
        y = layer["encoding"]["y"]
        if "field" in y:
            y.update(scale={"domain": [low, high]}, title=f"{points} / prediction")
    return {
        "height": RATIO_HEIGHT,
        "layer": layers,
        "resolve": {"scale": {"color": "independent"}},
    }


_SELECTED = {"filter": f"indexof({SHOWN}, datum.process) >= 0"}
_SUM = {
    "aggregate": [
        {"op": "sum", "field": "events", "as": "total"},
        {"op": "sum", "field": "variance", "as": "variance"},
    ],
    "groupby": ["low", "high"],
}
_ZOOM = {
    "name": "zoom",
    "select": {"type": "interval", "encodings": ["x"], "zoom": "wheel![event.shiftKey]"},
    "bind": "scales",
}


def _x(limits: tuple[float, float], title: str | None) -> Spec:
    scale = {"domain": list(limits), "nice": False, "zero": False}
    axis = {"title": title} | ({} if title else {"labels": False})
    return {
        "x": {
            "field": "low", "bin": {"binned": True}, "type": "quantitative", "scale": scale,
            "title": title, "axis": axis,
        },
        "x2": {"field": "high"},
    }  # fmt: skip


def _band(
    low: str, high: str, limits: tuple[float, float], where: str = "true", axis: str | None = None
) -> Spec:
    """The uncertainty of the sum; `low` and `high` are expressions of `total` and `error`."""
    return {
        "data": {"name": "prediction"},
        "transform": [
            _SELECTED, _SUM, {"filter": where},
            {"calculate": "sqrt(datum.variance)", "as": "error"},
            {"calculate": low, "as": "below"}, {"calculate": high, "as": "above"},
        ],
        "mark": {"type": "rect", "color": "#808080", "opacity": 0.45, "clip": True},
        "encoding": {
            **_x(limits, axis),
            "y": {"field": "below", "type": "quantitative"},
            "y2": {"field": "above"},
            "tooltip": [
                _tip("low", "from"), _tip("high", "to"), _tip("total", "prediction", ",.1f"),
                _tip("error", "uncertainty", ",.1f"),
            ],
        },
    }  # fmt: skip


def _variation_lines(
    sources: Mapping[str, str],
    varied: list[str],
    limits: tuple[float, float],
    what: str,
    axis: str | None = None,
) -> list[Spec]:
    scale = {"domain": list(sources), "range": list(sources.values())}
    direction = {"domain": ["up", "down"], "range": [[1, 0], [4, 3]]}
    lines: Spec = {
        "data": {"name": "prediction"},
        "transform": [
            _SELECTED,
            {"fold": varied, "as": ["variation", "varied_events"]},
            {"filter": f"indexof({VARIED}, datum.variation) >= 0"},
            {
                "aggregate": [
                    {"op": "sum", "field": "varied_events", "as": "total"},
                    {"op": "sum", "field": "events", "as": "nominal"},
                ],
                "groupby": ["low", "high", "variation"],
            },
            {"filter": "datum.nominal > 0"},
            {"calculate": "datum.total / datum.nominal", "as": "ratio"},
            {"calculate": "replace(datum.variation, /_?(up|down)$/, '')", "as": "source"},
            {"calculate": "test(/down$/, datum.variation) ? 'down' : 'up'", "as": "direction"},
        ],
        "mark": {"type": "rule", "strokeWidth": 2.5, "clip": True},
        "encoding": {
            # Not as a bin: a rule would then be drawn at its centre.
            "x": {k: v for k, v in _x(limits, axis)["x"].items() if k != "bin"},
            "x2": {"field": "high"},
            "y": {"field": what, "type": "quantitative"},
            "color": {"field": "source", "type": "nominal", "scale": scale, "legend": None},
            "strokeDash": {
                "field": "direction", "type": "nominal", "scale": direction, "legend": None,
            },
            "tooltip": [
                _tip("variation", "variation"), _tip("low", "from"), _tip("high", "to"),
                _tip("total", "events", ",.1f"), _tip("ratio", "over nominal", ".3f"),
            ],
        },
    }  # fmt: skip
    # A light border keeps a line apart from a stack of the same colour.
    border: Spec = {
        **lines,
        "mark": {"type": "rule", "strokeWidth": 5, "opacity": 0.7, "clip": True},
        "encoding": {
            **{key: lines["encoding"][key] for key in ("x", "x2", "y")},
            "color": {"value": "white"},
            "detail": {"field": "variation", "type": "nominal"},
        },
    }
    return [border, lines] if what == "total" else [lines]


def _points(
    limits: tuple[float, float],
    middle: str,
    below: str,
    above: str,
    label: str,
    source: str = "data",
    transform: list[Spec] | None = None,
) -> list[Spec]:
    x = {"field": "centre", "type": "quantitative", "scale": {"domain": list(limits)}}
    common: Spec = {"data": {"name": source}, "transform": transform or []}
    tips = [_tip("low", "from"), _tip("high", "to"), _tip("events", label, ",.1f")]
    shape: Spec = {"value": "circle"}
    if transform:
        tips.append(_tip("ratio", "over prediction", ".3f"))
        low, high = RATIO_LIMITS
        shape["condition"] = [
            {"test": f"datum.ratio > {high}", "value": "triangle-up"},
            {"test": f"datum.ratio < {low}", "value": "triangle-down"},
        ]
    return [
        {
            **common,
            "mark": {"type": "rule", "clip": True},
            "encoding": {
                "x": x,
                "y": {"field": below, "type": "quantitative"},
                "y2": {"field": above},
                "color": _INK,
            },
        },
        {
            **common,
            "mark": {"type": "point", "filled": True, "size": 32, "opacity": 1},
            "encoding": {
                "x": x,
                "y": {"field": middle, "type": "quantitative"},
                "color": _INK,
                "shape": shape,
                "tooltip": tips,
            },
        },
    ]


def _tip(field: str, title: str, form: str = "") -> Spec:
    return {"field": field, "title": title} | ({"format": form} if form else {})


def _short(value: float) -> float:
    """Six digits: what a screen can show, and no more bytes."""
    return float(f"{value:.6g}")
