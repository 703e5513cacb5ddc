"""A figure of the page: specifications, text alternative, numbers and controls."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from analysis.common.names import visible
from analysis.common.tables import Row
from analysis.report.vega import Spec

SHOWN, VARIED = "shown", "varied"
"""Parameters of a specification that check boxes set: processes, variations."""

PROCESSES, VARIATIONS = "Processes", "Variations of the prediction"
GROUPS = {PROCESSES: SHOWN, VARIATIONS: VARIED}
"""Title of a group of check boxes -> the parameter."""

_SYMBOLS = {
    "geq": "≥", "leq": "≤", "eta": "η", "mu": "μ", "psi": "ψ", "Upsilon": "Υ", "gamma": "γ",
    "ell": "ℓ", "sigma": "σ", "phi": "φ", "tau": "τ", "nu": "ν", "to": "→", "rightarrow": "→", "times": "×",
}  # fmt: skip


class Box(NamedTuple):
    """A check box of a chart: what it switches, and the colour that is drawn with it."""

    values: list[str]
    """Keys of processes, or of variations, in the specification."""
    label: str
    colour: str
    checked: bool


class Chart(NamedTuple):
    """A figure of the page."""

    name: str
    """Name that is unique on the page, of letters, digits and `-`."""
    title: str
    description: str
    """What a reader without the picture has to know."""
    specs: dict[str, Spec]
    """Choice -> specification; a single one has no choice."""
    header: Row
    rows: list[Row]
    """Numbers of the figure."""
    boxes: Mapping[str, list[Box]] = MappingProxyType({})
    """Title of a group -> its check boxes."""
    legend: Mapping[str, str] = MappingProxyType({})
    """Label -> colour, of what no check box names."""
    zooms: bool = False


def plain(label: str) -> str:
    """Write a label for places that do not typeset formulas: `$t\\bar{t}$` is tt̄, `$p_T$` is p_T."""
    return re.sub(r"\$([^$]*)\$", _plain_formula, visible(label).replace(r"\$", "\0")).replace(
        "\0", "$"
    )


def _plain_formula(match: re.Match[str]) -> str:
    formula = match[1]
    if formula.count("{") != formula.count("}"):
        return match[0]
    text = re.sub(r"\\bar\s*\{?(\w)\}?", "\\1\u0304", formula)
    text = re.sub(r"\\([A-Za-z]+)\s?", lambda word: _SYMBOLS.get(word[1], ""), text)
    return re.sub(r"[{}\\]", "", text)
