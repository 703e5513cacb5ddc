"""Preset: a named set of all the parts of an analysis, as functions of its configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from analysis.config import AnalysisConfig
from analysis.selection.channels import Channel
from analysis.selection.control_plots import Control
from analysis.selection.regions import Region
from analysis.selection.variations import Shift, Weight

CHANNEL_LABELS = {"electron": "e", "muon": r"$\mu$"}


class Preset(NamedTuple):
    """Parts that follow the configuration, so that a changed number changes them."""

    name: str
    summary: str
    config: AnalysisConfig
    channels: Callable[[AnalysisConfig], Sequence[Channel]]
    regions: Callable[[AnalysisConfig], Sequence[Region]]
    shifts: Callable[[AnalysisConfig], Sequence[Shift]]
    weights: Callable[[AnalysisConfig], Sequence[Weight]]
    corrections: Callable[[AnalysisConfig], Sequence[Weight]]
    controls: Callable[[AnalysisConfig], Sequence[Control]]
    format: str = "poet"
    """Format of the files that have all that the parts read."""
    model: Mapping[str, Any] = MappingProxyType({})
    """The model of the fit as in a TOML file: what it has besides the default one, or otherwise."""
