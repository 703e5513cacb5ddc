"""Stacked processes with data, uncertainty, variations and ratios, as Vega-Lite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from hist.intervals import poisson_interval
from numpy.typing import ArrayLike

from analysis.plotting.style import RATIO_LIMITS
from analysis.report.charts import SHOWN, VARIED
from analysis.report.vega import (
    GREY,
    INK,
    MAIN_HEIGHT,
    PAPER,
    RATIO_HEIGHT,
    Spec,
    above_each_other,
    quantity,
    short,
    tip,
)


class Bin(NamedTuple):
    """A bin of one process: its events, and those of each variation."""

    process: str
    label: str
    low: float
    high: float
    events: float
    variance: float
    varied: Mapping[str, float] = MappingProxyType({})


def data_rows(edges: ArrayLike, values: ArrayLike) -> list[Spec]:
    """Observed events with Garwood intervals of 68 %; bins without any are left out."""
    lows, highs = np.asarray(edges)[:-1], np.asarray(edges)[1:]
    counts = np.asarray(values, dtype=np.float64)
    below, above = np.nan_to_num(poisson_interval(counts))
    return [
        {"low": short(low), "high": short(high), "centre": short((low + high) / 2),
         "events": short(count), "from": short(down), "to": short(up)}
        for low, high, count, down, up in zip(lows, highs, counts, below, above, strict=True)
        if count > 0
    ]  # fmt: skip


class Look(NamedTuple):
    """How a stack is drawn, besides its numbers."""

    limits: tuple[float, float]
    """Of the horizontal axis."""
    colours: Mapping[str, str]
    """Of processes, from the bottom of the stack."""
    axis: str
    entries: str = "Events"
    """What the vertical axis counts."""
    points: str = "Data"
    sources: Mapping[str, str] = MappingProxyType({})
    """Colours of variations, by their names without direction."""


def stack(bins: Sequence[Bin], data: list[Spec], look: Look) -> Spec:
    """Stacked processes with the uncertainty of their sum, data, varied sums, and ratios below."""
    varied = list(dict.fromkeys(name for b in bins for name in b.varied))
    places = {name: i for i, name in enumerate(look.colours)}
    rows = [
        {
            "process": b.process, "label": b.label, "low": short(b.low), "high": short(b.high),
            "events": short(b.events), "variance": short(b.variance), "place": places[b.process],
            # A process without the variation is as it is nominally.
            **{name: short(b.varied.get(name, b.events)) for name in varied},
        }
        for b in bins
    ]  # fmt: skip
    datasets = {"prediction": rows, "data": data}
    return {
        **above_each_other(datasets, _main(look, varied), _ratio(look, varied)),
        "usermeta": {"limits": list(look.limits)},
        "params": [{"name": SHOWN, "value": list(look.colours)}, {"name": VARIED, "value": []}],
    }


# Of the prediction: what is shown, and its sum in each bin.
_SELECTED: Spec = {"filter": f"indexof({SHOWN}, datum.process) >= 0"}
_SUM: list[Spec] = [
    _SELECTED,
    {
        "aggregate": [
            {"op": "sum", "field": "events", "as": "total"},
            {"op": "sum", "field": "variance", "as": "variance"},
        ],
        "groupby": ["low", "high"],
    },
    {"calculate": "sqrt(datum.variance)", "as": "error"},
]
_FILLED = {"filter": "datum.total > 0"}
_PREDICTION = {"name": "prediction"}
_EDGES = [tip("low", "from"), tip("high", "to")]
_ZOOM = {
    "name": "zoom",
    # Without Shift the wheel scrolls the page.
    "select": {"type": "interval", "encodings": ["x"], "zoom": "wheel![event.shiftKey]"},
    "bind": "scales",
}


def _main(look: Look, varied: list[str]) -> Spec:
    bars: Spec = {
        "data": _PREDICTION,
        "transform": [_SELECTED],
        "mark": {"type": "bar", "binSpacing": 0, "clip": True},
        "encoding": {
            **_x(look.limits, None),
            "y": quantity("events", stack="zero", title=look.entries),
            "color": _colour("process", look.colours),
            "order": quantity("place"),
            "tooltip": [tip("label", "process"), *_EDGES, tip("events", "events", ",.1f")],
        },
        "params": [_ZOOM],
    }
    band = _band(_x(look.limits, None), "datum.total - datum.error", "datum.total + datum.error")
    lines = _variation_lines(look, varied, "total", None) if varied else []
    # A border of the page's colour keeps a line apart from what is behind it.
    borders = [_border(line) for line in lines]
    points = _points(look, "data", [], ("from", "events", "to"))
    return _panel(MAIN_HEIGHT, [bars, band, *borders, *lines, *points])


def _ratio(look: Look, varied: list[str]) -> Spec:
    low, high = RATIO_LIMITS
    axis = _x(look.limits, look.axis)
    band = _band(axis, "1 - datum.error / datum.total", "1 + datum.error / datum.total")
    one: Spec = {
        "data": {"values": [{}]},
        "mark": {"type": "rule", "strokeDash": [2, 2], "color": "currentColor"},
        "encoding": {"y": {"datum": 1}},
    }
    lines = _variation_lines(look, varied, "ratio", look.axis) if varied else []
    fields = ["events", "from", "to", "centre"]
    found = {"data": {"name": "data"}, "key": "low", "fields": fields}
    divided: list[Spec] = [
        *_SUM,
        _FILLED,
        {"lookup": "low", "from": found},
        {"filter": "isValid(datum.events)"},
        {"calculate": "datum.events / datum.total", "as": "ratio"},
        *(
            {"calculate": f"clamp(datum['{name}'] / datum.total, {low}, {high})", "as": drawn}
            for name, drawn in (("from", "below"), ("events", "drawn"), ("to", "above"))
        ),
    ]
    points = _points(look, "prediction", divided, ("below", "drawn", "above"))
    layers = [band, one, *lines, *points]
    for layer in layers:
        y = layer["encoding"]["y"]
        if "field" in y:
            y.update(scale={"domain": [low, high]}, title=f"{look.points} / prediction")
    return _panel(RATIO_HEIGHT, layers)


def _panel(height: int, layers: list[Spec]) -> Spec:
    return {"height": height, "layer": layers, "resolve": {"scale": {"color": "independent"}}}


def _x(limits: tuple[float, float], title: str | None) -> Spec:
    """The channels of a bin's edges; without a title there are no labels either."""
    scale = {"domain": list(limits), "nice": False, "zero": False}
    axis = {"title": title} | ({} if title else {"labels": False})
    x = quantity("low", bin={"binned": True}, scale=scale, title=title, axis=axis)
    return {"x": x, "x2": {"field": "high"}}


def _colour(field: str, colours: Mapping[str, str]) -> Spec:
    scale = {"domain": list(colours), "range": list(colours.values())}
    return {"field": field, "type": "nominal", "scale": scale, "legend": None}


def _band(x: Spec, low: str, high: str) -> Spec:
    """The uncertainty of the sum; `low` and `high` are expressions of `total` and `error`."""
    edges = [{"calculate": low, "as": "below"}, {"calculate": high, "as": "above"}]
    numbers = [tip("total", "prediction", ",.1f"), tip("error", "uncertainty", ",.1f")]
    return {
        "data": _PREDICTION,
        "transform": [*_SUM, _FILLED, *edges],
        "mark": {"type": "rect", "color": GREY, "opacity": 0.45, "clip": True},
        "encoding": {
            **x,
            "y": quantity("below"),
            "y2": {"field": "above"},
            "tooltip": [*_EDGES, *numbers],
        },
    }


def _variation_lines(look: Look, varied: list[str], what: str, axis: str | None) -> list[Spec]:
    """The sum under each variation that is chosen; `what` is `total` or `ratio`."""
    dashes = {"domain": ["up", "down"], "range": [[1, 0], [4, 3]]}
    x = _x(look.limits, axis)
    # As a bin, a rule would be drawn at its centre.
    del x["x"]["bin"]
    line: Spec = {
        "data": _PREDICTION,
        "transform": [
            _SELECTED,
            {"fold": varied, "as": ["variation", "varied"]},
            {"filter": f"indexof({VARIED}, datum.variation) >= 0"},
            {
                "aggregate": [
                    {"op": "sum", "field": "varied", "as": "total"},
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
            **x,
            "y": quantity(what),
            "color": _colour("source", look.sources),
            "strokeDash": {"field": "direction", "type": "nominal", "scale": dashes, "legend": None},
            "tooltip": [
                tip("variation", "variation"), *_EDGES, tip("total", "events", ",.1f"),
                tip("ratio", "over nominal", ".3f"),
            ],
        },
    }  # fmt: skip
    return [line]


def _border(line: Spec) -> Spec:
    kept = {key: line["encoding"][key] for key in ("x", "x2", "y", "strokeDash")}
    detail = {"field": "variation", "type": "nominal"}
    return {
        **line,
        "mark": {"type": "rule", "strokeWidth": 4.5, "opacity": 0.8, "clip": True},
        "encoding": {**kept, "color": PAPER, "detail": detail},
    }


def _points(
    look: Look, source: str, transform: list[Spec], fields: tuple[str, str, str]
) -> list[Spec]:
    """Points with their intervals; `fields` are the lower end, the middle and the upper end."""
    below, middle, above = fields
    tips = [*_EDGES, tip("events", look.points, ",.1f")]
    shape: Spec = {"value": "circle"}
    if transform:
        low, high = RATIO_LIMITS
        tips.append(tip("ratio", "over prediction", ".3f"))
        shape["condition"] = [
            {"test": f"datum.ratio > {high}", "value": "triangle-up"},
            {"test": f"datum.ratio < {low}", "value": "triangle-down"},
        ]
    common: Spec = {"data": {"name": source}, "transform": transform}
    x = quantity("centre", scale={"domain": list(look.limits)})
    interval = {"x": x, "y": quantity(below), "y2": {"field": above}, "color": INK}
    point = {"x": x, "y": quantity(middle), "color": INK, "shape": shape, "tooltip": tips}
    return [
        {**common, "mark": {"type": "rule", "clip": True}, "encoding": interval},
        {
            **common,
            "mark": {"type": "point", "filled": True, "size": 32, "opacity": 1},
            "encoding": point,
        },
    ]
