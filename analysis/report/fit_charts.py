"""Charts of fits: the peak over its background, pulls and impacts of parameters."""

from __future__ import annotations

import numpy as np

from analysis.inference.fit import Parameter
from analysis.inference.impacts import Impact
from analysis.postprocess.fits import PeakFit
from analysis.report.charts import (
    DOWN,
    MAIN_HEIGHT,
    RATIO_HEIGHT,
    ROW_HEIGHT,
    SCHEMA,
    UP,
    Chart,
    Spec,
)
from analysis.tables import Row

_SIGNAL = "#3f90da"
_CURVE_POINTS = 200


def peak_chart(name: str, title: str, fit: PeakFit, axis: str) -> Chart:
    """Points, fit and its background, and the pulls of the bins below."""
    bins = fit.bins
    width = bins.high[0] - bins.low[0]
    x = np.linspace(*fit.fit_range, _CURVE_POINTS)
    total, background = (np.round(curve * width, 3).tolist() for curve in fit.curve(x))
    curve = [
        {"x": round(float(place), 2), "fit": t, "background": b}
        for place, t, b in zip(x, total, background, strict=True)
    ]
    points = [
        {
            "low": low, "high": high, "centre": (low + high) / 2, "events": round(value, 2),
            "from": round(value - variance**0.5, 2), "to": round(value + variance**0.5, 2),
            "expected": round(expected, 2), "pull": round(float(pull), 3),
        }
        for low, high, value, variance, expected, pull in zip(
            bins.low, bins.high, bins.values, bins.variances, bins.expected, bins.pulls, strict=True
        )
    ]  # fmt: skip
    position, peak_width = (fit.parameters[key] for key in ("position", "width"))
    x_scale = {"domain": list(fit.fit_range), "nice": False, "zero": False}
    place = {"field": "centre", "type": "quantitative", "scale": x_scale}
    tips = [
        {"field": field, "title": text}
        for field, text in (("low", "from"), ("high", "to"), ("events", "events"),
                            ("expected", "fit"), ("pull", "pull"))
    ]  # fmt: skip
    on_curve = {"field": "x", "type": "quantitative", "scale": x_scale, "axis": {"labels": False, "title": None}}  # fmt: skip
    main: Spec = {
        "height": MAIN_HEIGHT,
        "layer": [
            {"data": {"name": "curve"}, "mark": {"type": "area", "color": _SIGNAL, "opacity": 0.35},
             "encoding": {"x": on_curve, "y": {"field": "background", "type": "quantitative"},
                          "y2": {"field": "fit"}}},
            {"data": {"name": "curve"}, "mark": {"type": "line", "color": UP},
             "encoding": {"x": on_curve, "y": {"field": "fit", "type": "quantitative"}}},
            {"data": {"name": "curve"}, "mark": {"type": "line", "color": UP, "strokeDash": [5, 4]},
             "encoding": {"x": on_curve, "y": {"field": "background", "type": "quantitative"}}},
            {"data": {"name": "points"}, "mark": "rule",
             "encoding": {"x": place, "y": {"field": "from", "type": "quantitative",
                          "title": f"Events / {width:.3g} GeV"}, "y2": {"field": "to"},
                          "color": {"value": "currentColor"}}},
            {"data": {"name": "points"}, "mark": {"type": "point", "filled": True, "opacity": 1},
             "encoding": {"x": place, "y": {"field": "events", "type": "quantitative"},
                          "color": {"value": "currentColor"}, "tooltip": tips}},
        ],
    }  # fmt: skip
    pulls: Spec = {
        "height": RATIO_HEIGHT - 30,
        "data": {"name": "points"},
        "mark": {"type": "bar", "color": _SIGNAL, "binSpacing": 1},
        "encoding": {
            "x": {"field": "low", "bin": {"binned": True}, "type": "quantitative", "scale": x_scale,
                  "title": axis},
            "x2": {"field": "high"},
            "y": {"field": "pull", "type": "quantitative", "title": "Pull", "scale": {"domain": [-3, 3]}},
            "tooltip": tips,
        },
    }  # fmt: skip
    spec = {
        "$schema": SCHEMA,
        "datasets": {"curve": curve, "points": points},
        "spacing": 10,
        "vconcat": [main, pulls],
        "resolve": {"scale": {"x": "shared"}},
    }
    rows: list[Row] = [
        [f"{p['low']:.0f}", f"{p['high']:.0f}", f"{p['events']:.1f}", f"{p['expected']:.1f}",
         f"{p['pull']:+.2f}"]
        for p in points
    ]  # fmt: skip
    description = (
        f"Peak of {fit.signal.value:.0f} ± {fit.signal.error:.0f} events at {position} GeV, width "
        f"{peak_width} GeV over its background; {fit.goodness}. Pulls between "
        f"{min(bins.pulls):+.1f} and {max(bins.pulls):+.1f}."
    )
    return Chart(
        name, title, description, {"": spec}, ["from", "to", "events", "fit", "pull"], rows
    )


def pulls_chart(parameters: list[Parameter]) -> Chart:
    """Every parameter with a prior, the statistical ones of single bins left out."""
    shown = [p for p in parameters if p.pull is not None and not p.name.startswith("staterror")]
    values: list[Spec] = [
        {"name": p.name, "pull": round(p.pull or 0.0, 3), "error": round(p.constraint or 0.0, 3),
         "from": round((p.pull or 0.0) - (p.constraint or 0.0), 3),
         "to": round((p.pull or 0.0) + (p.constraint or 0.0), 3)}
        for p in shown
    ]  # fmt: skip
    y = {
        "field": "name",
        "type": "nominal",
        "sort": None,
        "title": None,
        "axis": {"labelLimit": 170},
    }
    x = {"type": "quantitative", "scale": {"domain": [-3, 3]}, "title": "(θ − θ₀) / Δθ"}
    spec: Spec = {
        "$schema": SCHEMA,
        "data": {"values": values},
        "height": ROW_HEIGHT * len(values),
        "layer": [
            *(
                {
                    "data": {"values": [{"from": -n, "to": n}]},
                    "mark": {"type": "rect", "color": "#808080", "opacity": 0.15},
                    "encoding": {"x": {**x, "field": "from"}, "x2": {"field": "to"}},
                }
                for n in (2, 1)
            ),
            {
                "mark": "rule",
                "encoding": {
                    "y": y,
                    "x": {**x, "field": "from"},
                    "x2": {"field": "to"},
                    "color": {"value": "currentColor"},
                },
            },
            {
                "mark": {"type": "point", "filled": True, "size": 50, "opacity": 1},
                "encoding": {
                    "y": y,
                    "x": {**x, "field": "pull"},
                    "color": {"value": "currentColor"},
                    "tooltip": [
                        {"field": "name", "title": "parameter"},
                        {"field": "pull", "title": "pull"},
                        {"field": "error", "title": "constraint"},
                    ],
                },
            },
        ],
    }
    rows: list[Row] = [[p["name"], f"{p['pull']:+.3f}", f"{p['error']:.3f}"] for p in values]
    furthest = max(values, key=lambda p: abs(p["pull"]), default=None)
    description = f"Pulls of {len(values)} parameters." + (
        ""
        if furthest is None
        else f" The largest is {furthest['pull']:+.2f}, of {furthest['name']}."
    )
    return Chart(
        "pulls", "Pulls", description, {"": spec}, ["parameter", "pull", "constraint"], rows
    )


def ranking_chart(ranking: list[Impact], poi: str, most: int = 20) -> Chart:
    """Impacts on the strength, largest first: post-fit filled, pre-fit outlined."""
    shown = ranking[:most]
    values = [
        {
            "name": impact.name, "direction": direction,
            "postfit": round(getattr(impact, f"postfit_{direction}"), 5),
            "prefit": round(getattr(impact, f"prefit_{direction}"), 5),
        }
        for impact in shown
        for direction in ("up", "down")
    ]  # fmt: skip
    y = {
        "field": "name",
        "type": "nominal",
        "sort": None,
        "title": None,
        "axis": {"labelLimit": 170},
    }
    colour = {
        "field": "direction",
        "type": "nominal",
        "scale": {"domain": ["up", "down"], "range": [UP, DOWN]},
        "legend": {"title": "parameter moved", "orient": "top"},
    }
    tips = [
        {"field": "name", "title": "parameter"},
        {"field": "direction", "title": "moved"},
        {"field": "postfit", "title": "post-fit", "format": "+.4f"},
        {"field": "prefit", "title": "pre-fit", "format": "+.4f"},
    ]
    x = {"type": "quantitative", "stack": None, "title": f"Change of {poi}"}
    spec: Spec = {
        "$schema": SCHEMA,
        "data": {"values": values},
        "height": ROW_HEIGHT * len(shown),
        "layer": [
            {
                "mark": {"type": "bar", "filled": False, "strokeWidth": 1.2},
                "encoding": {"y": y, "x": {**x, "field": "prefit"}, "color": colour},
            },
            {
                "mark": {"type": "bar", "height": {"band": 0.5}, "opacity": 0.85},
                "encoding": {"y": y, "x": {**x, "field": "postfit"}, "color": colour, "tooltip": tips},
            },
        ],
    }  # fmt: skip
    rows: list[Row] = [
        [i.name, *(f"{v:+.4f}" for v in (i.postfit_up, i.postfit_down, i.prefit_up, i.prefit_down))]
        for i in shown
    ]
    description = (
        f"Impacts of {len(shown)} parameters on {poi}, largest first: {shown[0].name}, "
        f"{shown[0].postfit_up:+.3f} and {shown[0].postfit_down:+.3f}. Filled: after the fit; "
        "outlined: before."
    )
    header = ["parameter", "post-fit up", "post-fit down", "pre-fit up", "pre-fit down"]
    return Chart("ranking", "Impacts, largest first", description, {"": spec}, header, rows)
