"""A figure of the page: specifications, text alternative, numbers and controls."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from analysis.common.tables import Row
from analysis.report.vega import Spec

SHOWN, VARIED = "shown", "varied"
"""Parameters of a specification that check boxes set: processes, variations."""

PROCESSES, VARIATIONS = "Processes", "Variations of the prediction"
GROUPS = {PROCESSES: SHOWN, VARIATIONS: VARIED}
"""Title of a group of check boxes -> the parameter."""


class Box(NamedTuple):
    """A check box of a chart: what it switches, and the colour that is drawn with it."""

    values: list[str]
    label: str
    colour: str
    checked: bool


class Chart(NamedTuple):
    """A figure of the page."""

    name: str
    """Unique on the page; letters, digits, `-`."""
    title: str
    description: str
    """What a reader without the picture has to know."""
    specs: dict[str, Spec]
    """Choice -> specification; a single one has no choice."""
    header: Row
    rows: list[Row]
    """The numbers of the figure."""
    boxes: Mapping[str, list[Box]] = MappingProxyType({})
    """By the title of their group."""
    legend: Mapping[str, str] = MappingProxyType({})
    """Label -> colour, of what no check box names."""
    zooms: bool = False
