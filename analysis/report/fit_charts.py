"""Charts of fits: the peak over its background, pulls and impacts of parameters."""

from __future__ import annotations

import math

import numpy as np

from analysis.common.tables import Row, measured, signed
from analysis.inference.fit import Parameter
from analysis.inference.impacts import Impact
from analysis.plotting.content import fitted_points
from analysis.plotting.parameters import MOST_IMPACTS, PULLS_SHOWN, is_of_one_bin, reach
from analysis.plotting.style import DOWN, UP
from analysis.postprocess.sidebands.fits import PeakFit
from analysis.postprocess.windows import Window
from analysis.report.charts import Chart
from analysis.report.stacks import point_rows
from analysis.report.vega import (
    GREY,
    INK,
    MAIN_HEIGHT,
    PULL_HEIGHT,
    ROW_HEIGHT,
    SCHEMA,
    Spec,
    above_each_other,
    quantity,
    row_names,
    short,
    tip,
)

_CURVE_POINTS = 200


def peak_chart(name: str, title: str, fit: PeakFit, axis: str, window: Window) -> Chart:
    """Points, fit and its background, and the pulls of the bins below.

    The `window` is shaded; beside it are the bands.
    """
    bins = fit.bins
    rows: list[Row] = [
        [f"{low:g}", f"{high:g}", measured(value), measured(expected), f"{pull:+.2f}"]
        for low, high, value, expected, pull in zip(
            bins.low, bins.high, bins.values, bins.expected, bins.pulls, strict=True
        )
    ]
    position, width = (fit.parameters[key] for key in ("position", "width"))
    pulls = bins.pulls
    description = (
        f"Peak of {fit.signal.value:.0f} ± {fit.signal.error:.0f} events at {position} GeV, width "
        f"{width} GeV, over its background; {fit.goodness}. Pulls between {min(pulls):+.1f} and "
        f"{max(pulls):+.1f}."
    )
    datasets = {"curve": _curve(fit), "points": _fitted_rows(fit)}
    spec = above_each_other(datasets, _peak_panel(fit, window), _bin_pulls_panel(fit, axis))
    header = ["from", "to", "events", "fit", "pull"]
    legend = {
        "Fit, and its background (dashed)": UP,
        "Peak": DOWN,
        f"Window {window.low:g} to {window.high:g} GeV; beside it, the bands": GREY,
    }
    return Chart(name, title, description, {"": spec}, header, rows, legend=legend)


def _curve(fit: PeakFit) -> list[Spec]:
    x = np.linspace(*fit.fit_range, _CURVE_POINTS)
    total, background = (curve * _bin_width(fit) for curve in fit.curve(x))
    return [
        {"x": short(place), "fit": short(t), "background": short(b)}
        for place, t, b in zip(x, total, background, strict=True)
    ]


def _fitted_rows(fit: PeakFit) -> list[Spec]:
    points = fitted_points(fit.bins)
    return [
        row | {"expected": short(expected), "pull": short(pull)}
        for row, expected, pull in zip(
            point_rows(points._replace(drawn=np.isfinite(points.values))),
            fit.bins.expected, fit.bins.pulls, strict=True,
        )
    ]  # fmt: skip


def _bin_width(fit: PeakFit) -> float:
    return fit.bins.high[0] - fit.bins.low[0]


def _x_scale(fit: PeakFit) -> Spec:
    return {"domain": list(fit.fit_range), "nice": False, "zero": False}


_BIN_TIPS = [
    tip("low", "from"), tip("high", "to"), tip("events", "events"), tip("expected", "fit"),
    tip("pull", "pull"),
]  # fmt: skip


def _peak_panel(fit: PeakFit, window: Window) -> Spec:
    entries = f"Events / {_bin_width(fit):.3g} GeV"
    unlabelled = {"labels": False, "title": None}
    on_curve = {"x": quantity("x", scale=_x_scale(fit), axis=unlabelled)}
    on_points = {"x": quantity("centre", scale=_x_scale(fit)), "color": INK}
    signal = {"y": quantity("background", title=entries), "y2": {"field": "fit"}}
    interval = {"y": quantity("from"), "y2": {"field": "to"}}
    curve, points = {"name": "curve"}, {"name": "points"}
    layers: list[tuple[Spec, Spec, Spec]] = [
        (curve, {"type": "area", "color": DOWN, "opacity": 0.35}, on_curve | signal),
        (curve, {"type": "line", "color": UP}, {**on_curve, "y": quantity("fit")}),
        (
            curve,
            {"type": "line", "color": UP, "strokeDash": [5, 4]},
            {**on_curve, "y": quantity("background")},
        ),
        (points, {"type": "rule"}, on_points | interval),
        (
            points,
            {"type": "point", "filled": True, "opacity": 1},
            {**on_points, "y": quantity("events"), "tooltip": _BIN_TIPS},
        ),
    ]
    shade: Spec = {
        "data": {"values": [{"low": window.low, "high": window.high}]},
        "mark": {"type": "rect", "color": GREY, "opacity": 0.18},
        "encoding": {"x": quantity("low", scale=_x_scale(fit)), "x2": {"field": "high"}},
    }
    return {
        "height": MAIN_HEIGHT,
        "layer": [
            shade,
            *(
                {"data": data, "mark": mark, "encoding": encoding}
                for data, mark, encoding in layers
            ),
        ],
    }


def _bin_pulls_panel(fit: PeakFit, axis: str) -> Spec:
    furthest = max([PULLS_SHOWN, *(abs(x) for x in fit.bins.pulls.tolist() if math.isfinite(x))])
    return {
        "height": PULL_HEIGHT,
        "data": {"name": "points"},
        "mark": {"type": "bar", "color": DOWN, "binSpacing": 1},
        "encoding": {
            "x": quantity("low", bin={"binned": True}, scale=_x_scale(fit), title=axis),
            "x2": {"field": "high"},
            "y": quantity("pull", title="Pull", scale={"domain": [-furthest, furthest]}),
            "tooltip": _BIN_TIPS,
        },
    }


def pulls_chart(parameters: list[Parameter]) -> Chart:
    """Every parameter with a prior, the statistical ones of single bins left out."""
    shown = [p for p in parameters if not is_of_one_bin(p.name)]
    values: list[Spec] = [
        {"name": p.name, "pull": short(p.pull), "error": short(p.constraint),
         "from": short(p.pull - p.constraint), "to": short(p.pull + p.constraint)}
        for p in shown
        if p.pull is not None and p.constraint is not None
    ]  # fmt: skip
    end = reach(shown, PULLS_SHOWN)
    scale, title = {"domain": [-end, end]}, "(θ − θ₀) / Δθ"
    bands = [
        {
            "data": {"values": [{"from": -width, "to": width}]},
            "mark": {"type": "rect", "color": GREY, "opacity": 0.15},
            "encoding": {"x": quantity("from", scale=scale, title=title), "x2": {"field": "to"}},
        }
        for width in (2, 1)
    ]
    row = {"y": row_names(), "color": INK}
    interval = {"x": quantity("from", scale=scale, title=title), "x2": {"field": "to"}}
    tips = [tip("name", "parameter"), tip("pull", "pull"), tip("error", "constraint")]
    point = {"x": quantity("pull", scale=scale, title=title), "tooltip": tips}
    mark = {"type": "point", "filled": True, "size": 50, "opacity": 1}
    spec: Spec = {
        "$schema": SCHEMA,
        "data": {"values": values},
        "height": ROW_HEIGHT * len(values),
        "layer": [
            *bands,
            {"mark": {"type": "rule"}, "encoding": row | interval},
            {"mark": mark, "encoding": row | point},
        ],
    }
    rows: list[Row] = [[v["name"], f"{v['pull']:+.3f}", f"{v['error']:.3f}"] for v in values]
    description = f"Pulls of {len(values)} parameters."
    if values:
        furthest = max(values, key=lambda value: abs(value["pull"]))
        description += f" The largest is {furthest['pull']:+.2f}, of {furthest['name']}."
    header = ["parameter", "pull", "constraint"]
    return Chart("pulls", "Pulls", description, {"": spec}, header, rows)


def ranking_chart(ranking: list[Impact], poi: str) -> Chart:
    """Impacts on the strength, largest first: post-fit filled, pre-fit outlined."""
    shown = ranking[:MOST_IMPACTS]
    values = [
        {
            "name": impact.name, "direction": direction,
            "postfit": short(getattr(impact, f"postfit_{direction}")),
            "prefit": short(getattr(impact, f"prefit_{direction}")),
        }
        for impact in shown
        for direction in ("up", "down")
    ]  # fmt: skip
    colour = {
        "field": "direction",
        "type": "nominal",
        "scale": {"domain": ["up", "down"], "range": [UP, DOWN]},
        "legend": {"title": "parameter moved", "orient": "top"},
    }
    tips = [
        tip("name", "parameter"), tip("direction", "moved"), tip("postfit", "post-fit", "+.4f"),
        tip("prefit", "pre-fit", "+.4f"),
    ]  # fmt: skip
    common = {"y": row_names(), "color": colour, "tooltip": tips}
    before, after = (
        quantity(field, stack=None, title=f"Change of {poi}") for field in ("prefit", "postfit")
    )
    outlined = {"type": "bar", "filled": False, "strokeWidth": 1.2}
    filled = {"type": "bar", "height": {"band": 0.5}, "opacity": 0.85}
    spec: Spec = {
        "$schema": SCHEMA,
        "data": {"values": values},
        "height": ROW_HEIGHT * len(shown),
        "layer": [
            {"mark": outlined, "encoding": {**common, "x": before}},
            {"mark": filled, "encoding": {**common, "x": after}},
        ],
    }
    rows: list[Row] = [
        [i.name, *map(signed, (i.postfit_up, i.postfit_down, i.prefit_up, i.prefit_down))]
        for i in shown
    ]
    description = (
        f"Impacts of {len(shown)} parameters on {poi}, largest first: {shown[0].name}, "
        f"{signed(shown[0].postfit_up, 3)} and {signed(shown[0].postfit_down, 3)}. Filled: after the fit; "
        "outlined: before."
    )
    header = ["parameter", "post-fit up", "post-fit down", "pre-fit up", "pre-fit down"]
    return Chart("ranking", "Impacts, largest first", description, {"": spec}, header, rows)
