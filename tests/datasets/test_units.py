from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.datasets.units import cross_section_pb, luminosity_ipb


@pytest.mark.parametrize(
    ("text", "pb"),
    [
        ("44.837 fb", 0.044837),
        ("831.76 pb", 831.76),
        (831.76, 831.76),
        ("831.76", 831.76),
        ("61.5267nb", 61526.7),
        ("1e3 ab", 1e-3),
        ("2 mb", 2e9),
        ("3 ub", 3e6),
        ("3 \N{MICRO SIGN}b", 3e6),
        ("3\N{NO-BREAK SPACE}\N{GREEK SMALL LETTER MU}b", 3e6),
    ],
)
def test_cross_sections(text: float | str, pb: float) -> None:
    assert cross_section_pb(text) == pytest.approx(pb, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "ipb"),
    [
        ("140.1 /fb", 140100),
        ("140.1/fb", 140100),
        ("140.1 1/fb", 140100),
        ("140.1 fb-1", 140100),
        ("140.1 fb^-1", 140100),
        ("140.1 fb**-1", 140100),
        ("140.1 fb⁻¹", 140100),
        ("140.1 fb−1", 140100),
        ("140.1 fb^{-1}", 140100),
        ("140.1 fb^(-1)", 140100),
        ("140.1\N{NARROW NO-BREAK SPACE}fb\N{EN DASH}1", 140100),
        ("5 /μb", 5e-6),
        ("2256.38 /pb", 2256.38),
        (2256.38, 2256.38),
        ("2256.38", 2256.38),
        ("5 /nb", 0.005),
    ],
)
def test_luminosities(text: float | str, ipb: float) -> None:
    assert luminosity_ipb(text) == pytest.approx(ipb, rel=1e-12)


@pytest.mark.parametrize(
    "text", ["", 0, "0 pb", "12 GeV", "fb", "1..2 fb", "44 /fb", "-1 pb", -1, True]
)
def test_what_is_no_cross_section(text: float | str) -> None:
    with pytest.raises(ValueError, match=r"cross section"):
        cross_section_pb(text)


@pytest.mark.parametrize(
    "text", ["140.1 fb", 0, "0 /pb", "/fb", "-3 /pb", float("nan"), float("inf")]
)
def test_what_is_no_luminosity(text: float | str) -> None:
    with pytest.raises(ValueError, match="luminosity"):
        luminosity_ipb(text)


@given(st.floats(1e-12, 1e12))
def test_cross_section_and_luminosity_units_cancel(value: float) -> None:
    events = cross_section_pb(f"{value!r} fb") * luminosity_ipb("3 /fb")
    assert events == pytest.approx(3 * value, rel=1e-9)
