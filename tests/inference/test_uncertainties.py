"""The parts of the cross section's error, by hand."""

from __future__ import annotations

import math

import pytest

from analysis.inference.measurement import Measurement, measure
from analysis.inference.tables import definition, uncertainties
from tests.inference.models import counting, sample, shapes

REFERENCE = 800.0


def normalisation(name: str, size: float) -> dict[str, object]:
    return {"type": "normsys", "name": name, "data": {"hi": 1 + size, "lo": 1 - size}}


@pytest.fixture(scope="module")
def counted() -> Measurement:
    """200 signal on 50 background events: in one bin no two parameters do the same."""
    spec = counting()
    spec["observations"][0]["data"] = [250.0]
    signal, background = (sample(spec, name, "bin") for name in ("signal", "background"))
    signal["data"], background["data"] = [200.0], [50.0]
    signal["modifiers"] += [
        normalisation("Luminosity", 0.06),
        normalisation("Jet energy scale", 0.03),
    ]
    background["modifiers"] = [normalisation("cross section W+jets", 0.2)]
    return measure(spec, cross_section_pb=REFERENCE, force=True)


def test_one_bin_has_its_parts_by_propagation_of_errors(counted: Measurement) -> None:
    """√n / s; 6 % and 3 % of the signal; 20 % of the background over the signal."""
    expected = {
        "statistical": REFERENCE * math.sqrt(250) / 200,
        "luminosity": 48.0,
        "backgrounds": REFERENCE * 0.2 * 50 / 200,
        "jet energy": 24.0,
    }
    found = counted.uncertainties_pb
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=0.01)
    assert found["total"] == pytest.approx(math.hypot(*expected.values()), rel=0.01)
    assert found["systematic"] == pytest.approx(math.hypot(40, 24), rel=0.01)
    assert list(counted.groups_pb) == ["backgrounds", "jet energy"]


def test_the_table_is_in_pb_and_of_the_cross_section(counted: Measurement) -> None:
    assert counted.cross_section.value == pytest.approx(REFERENCE, rel=1e-3)
    _, header, rows = uncertainties(counted)
    assert list(header) == ["source", "pb", "part of σ"]
    assert [name for name, *_ in rows] == [
        "statistical", "luminosity", "systematic", "- backgrounds", "- jet energy", "total",
    ]  # fmt: skip
    for _, part, percent in rows:
        assert float(percent.rstrip("%")) == pytest.approx(float(part) / 8, abs=0.06)


def test_three_parts_give_the_total_and_correlated_groups_do_not() -> None:
    measurement = measure(shapes(), cross_section_pb=REFERENCE, with_ranking=False)
    parts = measurement.uncertainties_pb
    three = math.hypot(*(parts[name] for name in ("statistical", "luminosity", "systematic")))
    assert three == pytest.approx(parts["total"], rel=1e-6)
    groups = math.hypot(*measurement.groups_pb.values())
    said = definition(measurement)
    assert f"in quadrature they are {groups:.1f} pb, not {parts['systematic']:.1f} pb" in said


def test_another_signal_than_ttbar_has_its_name_and_two_digits_of_its_error() -> None:
    spec = counting(130.0)
    sample(spec, "signal", "bin")["name"] = "zprime"
    measurement = measure(spec, cross_section_pb=10.0, with_ranking=False)
    assert measurement.quantity == "σ(zprime)"
    assert str(measurement.cross_section) == "10.0 ± 1.1 (stat) ± 0.0 (syst) ± 0.0 (lumi) pb"
    assert measurement.fit.significance == pytest.approx(
        math.sqrt(2 * (130 * math.log(130 / 30) - 100))
    )
    title, _, rows = uncertainties(measurement)
    assert title == "Uncertainties of σ(zprime)"
    assert rows[0][1] == "1.1"
    small = measure(spec, cross_section_pb=0.5, with_ranking=False).cross_section
    assert str(small).startswith("0.500 ± 0.057 (stat)")
