"""The comparison with the CMS templates: ratios by hand, and the data file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from analysis.common.errors import CatalogueError
from analysis.datasets.bundled import SAMPLE
from analysis.datasets.catalogue import Catalogue
from analysis.simulation.comparison import Template, event_weight, templates
from analysis.simulation.reference import reference


def test_ratios_and_deviations_by_hand() -> None:
    arrays = ([11.0, 18.0, 0.0], [4.0, 9.0, 0.0], [10.0, 20.0, 0.1])
    template = Template("x", "4j1b", *map(np.array, arrays))
    np.testing.assert_allclose(template.ratio, [1.1, 0.9, 0])
    np.testing.assert_allclose(template.ratio_error, [0.2, 0.15, 0])
    assert template.yield_ratio == pytest.approx((29 / 30.1, np.sqrt(13) / 30.1))
    assert template.chi2 == (pytest.approx(1 / 4 + 4 / 9), 2)
    assert template.largest_deviation == pytest.approx(0.1)


@pytest.mark.shared
def test_the_templates_are_those_of_the_published_workspace(shared: Path) -> None:
    cms = reference()
    assert cms.edges_gev == tuple(range(110, 551, 40))
    spec = json.loads((shared / "reference" / "ttbar_2015_workspace.json").read_text())
    labels = {
        "ttbar": "ttbar__nominal",
        "W+jets": "wjets",
        "single top, t-channel": "single_top_t_chan",
        "single atop, t-channel": "single_atop_t_chan",
        "tW": "single_top_tW",
    }
    for channel in spec["channels"]:
        known = cms.templates[channel["name"].split()[0]]
        for sample in channel["samples"]:
            np.testing.assert_allclose(known[labels[sample["name"]]], sample["data"], atol=0.051)


def test_an_event_of_the_sample_stands_for_its_cross_section() -> None:
    """831.76 pb × 2256.38 /pb × the filter's efficiency, over the events generated."""
    catalogue = Catalogue.load(SAMPLE)
    dataset = catalogue.datasets["ttbar__nominal"]
    want = 831.76 * 2256.38 * dataset.filter_efficiency / 42_000
    assert event_weight(dataset, 2256.38) == pytest.approx(want, rel=1e-6)
    with pytest.raises(CatalogueError, match="not known"):
        event_weight(dataset.model_copy(update={"sum_of_weights": None}), 1)


@pytest.mark.full
def test_the_sample_agrees_with_what_it_was_tuned_on() -> None:
    found = {(t.process, t.region): t for t in templates(SAMPLE.parent)}
    for region in ("4j1b", "4j2b"):
        ratio, error = found["ttbar__nominal", region].yield_ratio
        assert abs(ratio - 1) < 2 * error
