"""The figure of a comparison bin by bin: what it marks, names and counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from analysis.plotting.comparison import DIFFERS, Sides, make_figures, region_figure
from analysis.plotting.style import style
from analysis.postprocess.agc_json import Content, compare

EDGES = np.linspace(50, 550, 26)


def content(weight: float, **changes: float) -> Content:
    counts = np.arange(1.0, 28.0)
    for name, change in changes.items():
        counts[int(name.removeprefix("bin_"))] += change
    return Content(EDGES, weight * counts)


def test_bins_that_differ_are_marked_and_listed_with_their_events() -> None:
    reference = {name: content(1.7) for name in ("4j1b_ttbar", "4j1b_ttbar_ME_var", "4j1b_wjets")}
    found = reference | {
        "4j1b_ttbar": content(1.7, bin_5=1, bin_6=-1),
        "4j1b_ttbar_ME_var": content(1.7, bin_26=-4),
    }
    differences = compare(found, reference)
    with style():
        figure = region_figure("4j1b", differences, Sides(found, reference, "ours", "theirs"))
    main, ratio, table = figure.axes
    for axes in (main, ratio):
        assert len([patch for patch in axes.patches if isinstance(patch, Rectangle)]) == 3
    legend = main.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        r"$t\bar{t}$",
        "W+jets",
        "theirs",
        "ours",
    ]
    rows = {text.get_text(): text.get_color() for text in table.get_yticklabels()}
    assert rows == {"4j1b_ttbar_ME_var": DIFFERS, "4j1b_ttbar": "black"}
    assert [text.get_text() for text in table.texts] == ["-4", "+1", "-1"]
    (words,) = [text.get_text() for text in figure.texts]
    assert words.startswith("2 of 3 histograms differ: ours − theirs in events")


def test_a_figure_of_equal_histograms_says_so() -> None:
    reference = {"4j1b_ttbar": content(1.7)}
    with style():
        figure = region_figure(
            "4j1b", compare(reference, reference), Sides(reference, reference, "a", "b")
        )
    assert [text.get_text() for text in figure.axes[2].texts] == [
        "all 1 histograms are equal in every bin"
    ]


def test_a_region_whose_name_begins_with_another_one_has_its_own_figure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def content(bins: int) -> Content:
        return Content(np.arange(bins + 1.0), np.ones(bins + 2))

    contents = {"3j_ttbar": content(3), "3j_ttbar_up": content(3), "3j_ht_ttbar": content(5)}
    drawn: list[list[str]] = []

    def instead(drawings: Any, *_: Any, **__: Any) -> list[Path]:
        drawn.extend(list(name) for name, _ in drawings)
        for _, draw in drawings:
            draw()
        return []

    monkeypatch.setattr("analysis.plotting.comparison.save_figures", instead)
    sides = Sides(contents, contents, "ours", "theirs")
    make_figures(compare(contents, contents), sides, tmp_path, ["3j", "3j_ht"])
    assert drawn == [["compare", "3j"], ["compare", "3j_ht"]]
