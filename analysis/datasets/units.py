"""Cross sections in pb and luminosities in 1/pb, from numbers or from texts with a unit."""

from __future__ import annotations

import math
import re
import unicodedata

_PER_PB = {"mb": 1e9, "ub": 1e6, "μb": 1e6, "nb": 1e3, "pb": 1.0, "fb": 1e-3, "ab": 1e-6}
_NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*"
_UNIT = "|".join(_PER_PB)
_CROSS_SECTION = re.compile(rf"{_NUMBER}({_UNIT})")
_LUMINOSITY = re.compile(rf"{_NUMBER}(?:1?/\s*({_UNIT})|({_UNIT})\s*(?:\^|\*\*)?\s*[({{]?-1[)}}]?)")


def cross_section_pb(value: float | str) -> float:
    """Read a cross section in pb from a number in pb or a text such as `"44.837 fb"`.

    Raises ValueError for anything else, and for a value that is not finite and above zero.
    """
    number = _plain_number(value)
    if isinstance(number, str):
        match = _match(_CROSS_SECTION, number, "a cross section such as '44.837 fb'")
        number = float(match[1]) * _PER_PB[match[2]]
    return _positive(number, "cross section", value)


def luminosity_ipb(value: float | str) -> float:
    """Read a luminosity in 1/pb from a number in 1/pb or a text such as `"140.1 /fb"`, `"2.26 fb^-1"`.

    Raises ValueError for anything else, and for a value that is not finite and above zero.
    """
    number = _plain_number(value)
    if isinstance(number, str):
        match = _match(_LUMINOSITY, number, "a luminosity such as '140.1 /fb'")
        number = float(match[1]) / _PER_PB[match[2] or match[3]]
    return _positive(number, "luminosity", value)


def _plain_number(value: float | str) -> float | str:
    """Read a text that is a number without a unit as that number."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _match(pattern: re.Pattern[str], text: str, expected: str) -> re.Match[str]:
    """Match a text as papers write it: any space, either letter mu, a raised or typographic minus."""
    plain = unicodedata.normalize("NFKC", text).replace("−", "-").replace("–", "-").strip()
    match = pattern.fullmatch(plain)
    if match is None:
        msg = f"expected {expected}, or a number, got {text!r}"
        raise ValueError(msg)
    return match


def _positive(number: float, what: str, given: float | str) -> float:
    if isinstance(number, bool) or not math.isfinite(number) or number <= 0:
        msg = f"a {what} must be a number above zero, got {given!r}"
        raise ValueError(msg)
    return float(number)
