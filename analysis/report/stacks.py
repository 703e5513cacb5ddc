"""Stacked processes with data, uncertainty, variations and ratios, as Vega-Lite.

Processes and variations are numbered in the rows, `p0` and `v0`: a name could not be a field.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from analysis.common.names import direction, source
from analysis.plotting.content import Points, Stack
from analysis.plotting.style import RATIO_LIMITS
from analysis.report.charts import SHOWN, VARIED, plain
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


def point_rows(points: Points) -> list[Spec]:
    """Rows of the points that are drawn, with their intervals."""
    return [
        {"low": short(low), "high": short(high), "centre": short((low + high) / 2),
         "events": short(events), "from": short(down), "to": short(up)}
        for low, high, events, down, up, drawn in zip(
            points.edges[:-1], points.edges[1:], points.values, points.low, points.high,
            points.drawn, strict=True,
        )
        if drawn
    ]  # fmt: skip


def variations_of(stack: Stack) -> list[str]:
    """List the variations that any process of the stack has."""
    return list(dict.fromkeys(name for part in stack.parts for name in part.varied))


def vega_stack(stack: Stack, sources: Mapping[str, str] = MappingProxyType({})) -> Spec:
    """Specify stacked processes with the uncertainty of their sum, data, varied sums, and ratios below.

    `sources` are the colours of the variations, by their names without direction.
    """
    varied = variations_of(stack)
    rows = [
        {
            "process": f"p{place}", "label": plain(part.label), "place": place,
            "low": short(low), "high": short(high), "events": short(part.values[i]),
            "variance": short(part.variances[i]),
            # A process without the variation is as it is nominally.
            **{f"v{j}": short(part.varied.get(v, part.values)[i]) for j, v in enumerate(varied)},
        }
        for place, part in enumerate(stack.parts)
        for i, (low, high) in enumerate(zip(stack.edges[:-1], stack.edges[1:], strict=True))
    ]  # fmt: skip
    named = [
        {"key": f"v{j}", "variation": v, "source": source(v), "direction": direction(v) or "up"}
        for j, v in enumerate(varied)
    ]
    limits = (float(stack.edges[0]), float(stack.edges[-1]))
    points = [] if stack.data is None else point_rows(stack.data)
    datasets = {"prediction": rows, "data": points, "variations": named}
    look = _Look(
        limits,
        {f"p{i}": part.colour for i, part in enumerate(stack.parts)},
        plain(stack.across),
        plain(stack.per_bin),
        "Data" if stack.data is None else plain(stack.data.label),
        sources,
    )
    return {
        **above_each_other(datasets, _main(look, len(varied)), _ratio(look, len(varied))),
        "usermeta": {"limits": list(limits)},
        "params": [{"name": SHOWN, "value": list(look.colours)}, {"name": VARIED, "value": []}],
    }


class _Look(NamedTuple):
    """Words and colours of a specification."""

    limits: tuple[float, float]
    """Ends of the horizontal axis."""
    colours: Mapping[str, str]
    """Process -> colour, from the bottom of the stack."""
    axis: str
    entries: str
    """What the vertical axis counts."""
    points: str
    sources: Mapping[str, str]


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


def _main(look: _Look, varied: int) -> Spec:
    bars: Spec = {
        "data": _PREDICTION,
        "transform": [_SELECTED],
        "mark": {"type": "bar", "binSpacing": 0, "clip": True},
        "encoding": {
            **_x(look.limits, None),
            "y": quantity("events", stack="zero", title=look.entries),
            "color": _colour("process", look.colours),
            "order": quantity("place"),
            "tooltip": [tip("label", "process"), *_EDGES, tip("events", "events", ",.5~r")],
        },
        "params": [_ZOOM],
    }
    band = _band(_x(look.limits, None), "datum.total - datum.error", "datum.total + datum.error")
    lines = _variation_lines(look, varied, "total", None) if varied else []
    # A border of the page's colour keeps a line apart from what is behind it.
    borders = [_border(line) for line in lines]
    points = _points(look, "data", [], ("from", "events", "to"))
    return _panel(MAIN_HEIGHT, [bars, band, *borders, *lines, *points])


def _ratio(look: _Look, varied: int) -> Spec:
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
            y.update(scale={"domain": [low, high]}, title=f"{look.points} / pred.")
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
    numbers = [tip("total", "prediction", ",.5~r"), tip("error", "uncertainty", ",.5~r")]
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


def _variation_lines(look: _Look, varied: int, what: str, axis: str | None) -> list[Spec]:
    """The sum under each variation that is chosen; `what` is `total` or `ratio`."""
    dashes = {"domain": ["up", "down"], "range": [[1, 0], [4, 3]]}
    x = _x(look.limits, axis)
    # As a bin, a rule would be drawn at its centre.
    del x["x"]["bin"]
    fields = ["variation", "source", "direction"]
    named = {"data": {"name": "variations"}, "key": "key", "fields": fields}
    line: Spec = {
        "data": _PREDICTION,
        "transform": [
            _SELECTED,
            {"fold": [f"v{i}" for i in range(varied)], "as": ["key", "varied"]},
            {"filter": f"indexof({VARIED}, datum.key) >= 0"},
            {
                "aggregate": [
                    {"op": "sum", "field": "varied", "as": "total"},
                    {"op": "sum", "field": "events", "as": "nominal"},
                ],
                "groupby": ["low", "high", "key"],
            },
            {"filter": "datum.nominal > 0"},
            {"calculate": "datum.total / datum.nominal", "as": "ratio"},
            {"lookup": "key", "from": named},
        ],
        "mark": {"type": "rule", "strokeWidth": 2.5, "clip": True},
        "encoding": {
            **x,
            "y": quantity(what),
            "color": _colour("source", look.sources),
            "strokeDash": {"field": "direction", "type": "nominal", "scale": dashes, "legend": None},
            "tooltip": [
                tip("variation", "variation"), *_EDGES, tip("total", "events", ",.5~r"),
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
    look: _Look, source: str, transform: list[Spec], fields: tuple[str, str, str]
) -> list[Spec]:
    """Points with their intervals; `fields` are the lower end, the middle and the upper end."""
    below, middle, above = fields
    tips = [*_EDGES, tip("events", look.points, ",.5~r")]
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
