"""The visible cross section, by hand."""

from __future__ import annotations

import math

import pytest

from analysis.inference import tables
from analysis.inference.measurement import measure
from tests.inference.models import counting

FULL_PB = 50.0


def test_the_acceptance_is_no_uncertainty_of_what_is_seen() -> None:
    spec = counting(130.0)
    (channel,) = spec["channels"]
    for name, relative in (("PS variation, acceptance", 0.2), ("Luminosity", 0.03)):
        data = {"hi": 1 + relative, "lo": 1 - relative}
        channel["samples"][0]["modifiers"].append({"type": "normsys", "name": name, "data": data})
    found = measure(
        spec, cross_section_pb=FULL_PB, with_ranking=False, luminosity_ipb={"muon": 10.0}
    )
    seen = found.visible
    assert seen is not None
    # 100 events in 10 /pb; observed are 130, 30 of them background.
    assert (seen.value, seen.reference) == (pytest.approx(10.0, rel=1e-3), pytest.approx(10.0))
    assert seen.statistical == pytest.approx(math.sqrt(130) / 10, rel=1e-2)
    assert seen.luminosity == pytest.approx(0.3, rel=2e-2)
    assert seen.systematic == pytest.approx(0.0, abs=0.05)
    assert seen.error == pytest.approx(math.hypot(seen.statistical, seen.luminosity), rel=1e-3)
    assert found.cross_section.systematic == pytest.approx(0.2 * FULL_PB, rel=2e-2)
    assert found.extrapolation_pb == pytest.approx(0.2 * FULL_PB, rel=2e-2)
    rows = dict(tables.summary(found)[2])
    assert rows["selected part, by simulation"] == "20.00%"
    assert rows["extrapolation in the error of σ(signal)"].startswith("10")


def test_each_channel_has_the_luminosity_of_its_stream() -> None:
    spec = counting(130.0)
    data = {"hi": 1.2, "lo": 0.8}
    acceptance = {"type": "normsys", "name": "ME variation, acceptance", "data": data}
    spec["channels"][0]["samples"][0]["modifiers"].append(acceptance)
    for part in (*spec["channels"], *spec["observations"]):
        part["name"] = "4j_muon"
    luminosity = {"electron": 5.0, "muon": 10.0}
    found = measure(spec, cross_section_pb=FULL_PB, with_ranking=False, luminosity_ipb=luminosity)
    assert found.visible is not None
    assert found.visible.reference == pytest.approx(10.0)
    # Nobody knows which stream the events of this one are of.
    for part in (*spec["channels"], *spec["observations"]):
        part["name"] = "4j"
    found = measure(spec, cross_section_pb=FULL_PB, with_ranking=False, luminosity_ipb=luminosity)
    assert found.visible is None


def test_without_acceptance_apart_there_is_none() -> None:
    found = measure(
        counting(), cross_section_pb=FULL_PB, with_ranking=False, luminosity_ipb={"muon": 10.0}
    )
    assert found.visible is None
    assert not any("visible" in str(row) for row in tables.summary(found)[2])
