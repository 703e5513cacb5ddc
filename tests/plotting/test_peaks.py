"""Figures of peaks: drawn from what was fitted, labelled, with units."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hist import Hist
from numpy.random import default_rng

from analysis.plotting.captions import Caption, PeakCaption
from analysis.plotting.peaks import (
    count_figure,
    peak_figure,
    scan_figure,
    sideband_figure,
)
from analysis.plotting.style import style
from analysis.postprocess.sidebands.counts import SidebandRegions, estimate
from analysis.postprocess.sidebands.fits import fit_peak, fit_sidebands
from analysis.postprocess.sidebands.scan import scan
from analysis.postprocess.sidebands.shapes import PeakStart
from analysis.postprocess.windows import Window

CAPTION = PeakCaption(r"$m_{\mu\mu}$ [GeV]", Caption("CMS Open Data", "100", "8 TeV"))
REGIONS = SidebandRegions(lower=Window(2.8, 3.0), signal=Window(3.0, 3.2), upper=Window(3.2, 3.4))
RANGE = Window(2.6, 3.5)


@pytest.fixture(scope="module")
def values() -> Any:
    rng = default_rng(1)
    return np.concatenate([rng.normal(3.1, 0.03, 500), rng.uniform(*RANGE, 900)])


@pytest.fixture(scope="module")
def figures(values: Any) -> Any:
    peak = fit_peak(values, RANGE, PeakStart(3.1, 0.03), signal="gaussian")
    with style():
        yield {
            "count": count_figure(values, estimate(values, REGIONS), RANGE, CAPTION),
            "peak": peak_figure(peak, CAPTION),
            "sideband": sideband_figure(values, fit_sidebands(values, REGIONS), CAPTION),
            "scan": scan_figure(scan(values, REGIONS, 0.02), CAPTION),
        }


@pytest.mark.parametrize("name", ["count", "peak", "sideband", "scan"])
def test_figure_says_whose_events_and_what(figures: Any, name: str) -> None:
    axes = figures[name].axes
    said = [text.get_text() for text in axes[0].texts]
    assert {"CMS", "Open Data", "100 pb$^{-1}$ (8 TeV)"} <= set(said)
    below = axes[-1].get_xlabel()
    assert below == ("Signal events in the window" if name == "scan" else CAPTION.axis_label)
    assert axes[0].get_legend() is not None


@pytest.mark.parametrize("name", ["count", "peak"])
def test_figure_says_how_significant_the_peak_is(figures: Any, name: str) -> None:
    words = "\n".join(text.get_text() for text in figures[name].axes[0].texts)
    assert re.search(r"\d+ ± \d+ signal \(\d\d\.\d σ\)", words)


def test_points_are_the_data(figures: Any, values: Any) -> None:
    for name in ("count", "peak"):
        points = figures[name].axes[0].containers[0].lines[0].get_ydata()
        assert np.sum(points) == np.sum((values >= RANGE.low) & (values < RANGE.high))


def test_background_line_is_the_density_in_the_bands(figures: Any, values: Any) -> None:
    (line,) = (a for a in figures["count"].axes[0].lines if len(a.get_xdata()) == 2)
    expected = estimate(values, REGIONS).background / 0.2 * (RANGE.width / 60)
    assert line.get_ydata() == pytest.approx([expected, expected])


def test_bins_of_other_widths_are_drawn_in_that_of_the_first() -> None:
    """Flat in the mass: flat in the figure, and on the curves, which are per width of the first bin."""
    edges = np.concatenate([np.linspace(2.6, 3.0, 9), np.linspace(3.1, 3.6, 6)])
    content = Hist.new.Var(edges).Weight()
    content.values()[:] = content.variances()[:] = 1000 * np.diff(edges)
    with style():
        axes = sideband_figure(content, fit_sidebands(content, REGIONS), CAPTION).axes[0]
        points = axes.containers[0].lines[0].get_ydata()
        (curve,) = (line for line in axes.lines if len(line.get_xdata()) == 1000)
    assert points == pytest.approx([50] * len(points))
    assert curve.get_ydata() == pytest.approx([50] * 1000, rel=1e-3)
    assert axes.get_ylim()[1] > 50 + 50**0.5
