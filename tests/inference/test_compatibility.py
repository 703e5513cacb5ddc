"""Parts of the channels against each other, by hand and with tension put in."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
from scipy.stats import chi2

from analysis.common.errors import WorkspaceError
from analysis.inference import tables
from analysis.inference.compatibility import splits
from analysis.inference.config import InferenceConfig
from analysis.inference.fit import fit
from analysis.inference.measurement import measure
from tests.inference.models import counting, shapes

WAYS = {"channel": {"A": ["A"], "B": ["B"]}, "nothing": {"all": ["A", "B"]}}


def two_counts(first: float, second: float) -> dict[str, Any]:
    """Two bins of 100 signal on 30 background events."""
    one, other = counting(first), counting(second)
    for spec, name in ((one, "A"), (other, "B")):
        for part in (*spec["channels"], *spec["observations"]):
            part["name"] = name
    return {**one, **{key: one[key] + other[key] for key in ("channels", "observations")}}


def test_counts_are_compared_as_by_hand() -> None:
    spec = two_counts(130.0, 160.0)
    (split,) = splits(spec, fit(spec), WAYS)
    assert [(part.name, part.value, part.alone) for part in split.parts] == [
        ("A", pytest.approx(1.0, abs=1e-3), pytest.approx(1.0, abs=1e-3)),
        ("B", pytest.approx(1.3, abs=1e-3), pytest.approx(1.3, abs=1e-3)),
    ]
    assert [part.error for part in split.parts] == [
        pytest.approx(n**0.5 / 100, rel=1e-3) for n in (130, 160)
    ]
    expected = 2 * sum(n * math.log(n / 145) for n in (130, 160))
    assert split.chi2 == pytest.approx(expected, rel=1e-3)
    assert split.p_value == pytest.approx(chi2.sf(expected, 1), rel=1e-2)


def test_what_parts_have_in_common_is_no_tension() -> None:
    spec = shapes()
    rate = copy.deepcopy(spec)
    for channel, observation in zip(spec["channels"], rate["observations"], strict=True):
        signal = channel["samples"][0]["data"]
        observation["data"] = [
            n + 0.05 * s for n, s in zip(observation["data"], signal, strict=True)
        ]
    (agree,) = splits(rate, fit(rate), WAYS)
    assert agree.chi2 == pytest.approx(0.0, abs=0.1)
    assert all(part.value > 1.02 for part in agree.parts)

    rate["observations"][1]["data"] = [1.5 * n for n in rate["observations"][1]["data"]]
    found = measure(rate, cross_section_pb=100.0, with_ranking=False, ways=WAYS)
    (apart,) = found.compatibility
    assert apart.p_value < 1e-4
    assert any(
        remark.startswith("tension between parts by channel (p = ") for remark in found.remarks
    )
    title, header, rows = tables.compatibility(found)
    assert title == "Compatibility of σ(signal)"
    assert [row[:2] for row in rows] == [("channel", "A"), ("channel", "B")]
    assert rows[0][header.index("p")] == f"{apart.p_value:.2g}"


def test_channels_in_no_part_are_a_part() -> None:
    spec = two_counts(130.0, 160.0)
    (split,) = splits(spec, fit(spec), {"one": {"A": ["A"]}})
    assert [part.name for part in split.parts] == ["A", "others"]


def test_a_model_divides_its_regions() -> None:
    config = InferenceConfig(splits={"b tags": {"1": ("4j1b",), "2": ("4j2b",)}})
    fitted = ["4j1b_muon", "4j1b_electron", "4j2b_muon", "4j2b_electron"]
    assert config.ways(fitted) == {
        "channel": {"muon": fitted[::2], "electron": fitted[1::2]},
        "region": {"4j1b": fitted[:2], "4j2b": fitted[2:]},
        "b tags": {"1": fitted[:2], "2": fitted[2:]},
    }
    wrong = InferenceConfig(splits={"b tags": {"1": ("4j1",)}})
    with pytest.raises(
        WorkspaceError, match="split 'b tags': no region '4j1': did you mean '4j1b'"
    ):
        wrong.require_names(["4j1b", "4j2b"], [], [])
