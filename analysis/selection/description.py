"""Description: what a results folder says of the analysis that filled it.

Figures, the page and the fit read it; they need none of the functions that it was made with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, NonNegativeInt, ValidationError

from analysis.common.errors import OutputError
from analysis.common.strict import Strict, faults


class RegionInfo(Strict):
    """A region in words."""

    axis_label: str
    """The observable with its unit."""
    label: str
    """The events, such as `1 b tag`."""


class ChannelInfo(Strict):
    """A channel in words."""

    label: str
    lepton: str
    stream: str
    """Stream of collision data."""


class VariationInfo(Strict):
    """What a variation is of."""

    source: str
    """The name without a direction."""
    group: str
    """Variations of one figure: `jet` for shifts of jets."""


class DataInfo(Strict):
    """Collision data of files with run, luminosity section and event number."""

    certified_events: dict[str, NonNegativeInt] = Field(default_factory=dict)
    """Dataset -> events in certified sections."""
    sections: dict[str, dict[str, list[tuple[int, int]]]] = Field(default_factory=dict)
    """Dataset -> run -> ranges of the certified sections that were read."""
    luminosity: dict[str, float] = Field(default_factory=dict)
    """Channel -> 1/pb recorded in these sections; empty without a table of luminosities."""
    faults: list[str] = Field(default_factory=list)
    """Why the data cannot be used, one line each."""


class Description(Strict):
    """Names and labels of an analysis, and what was counted while it filled."""

    name: str
    """The preset, or the file of the analysis."""
    regions: dict[str, RegionInfo]
    channels: dict[str, ChannelInfo]
    controls: dict[str, str]
    """Control plot -> label of its axis."""
    variations: dict[str, VariationInfo]
    """Shifts and weights; alternative samples are datasets."""
    model: dict[str, Any] = Field(default_factory=dict)
    """The model of the fit as in a TOML file: what it has besides the default one, or otherwise."""
    data: DataInfo = DataInfo()
    overlaps: dict[str, dict[str, NonNegativeInt]] = Field(default_factory=dict)
    """Region -> other region -> events that are in both, unshifted and unweighted."""
    not_a_number: dict[str, NonNegativeInt] = Field(default_factory=dict)
    """Region or control plot -> values that were NaN, and so are in no bin but the overflow."""


def described(analysis: Mapping[str, Any]) -> Description:
    """Read what a ledger says of the analysis. Raise OutputError if it is one of another version."""
    try:
        return Description.model_validate(analysis)
    except ValidationError as error:
        fault = faults(error, Description)[0]
        msg = f"the run was of another version of the analysis ({fault}): run 'process' again"
        raise OutputError(msg) from error
