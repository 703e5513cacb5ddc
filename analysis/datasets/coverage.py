"""What a catalogue says of what is no longer in its files: of a pre-selection, and of a skim."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import Field, NonNegativeInt, ValidationError

from analysis.common.errors import ConfigError
from analysis.common.strict import Strict, faults
from analysis.config import AnalysisConfig, flat

CATALOGUE = "ntuples.json"
"""Name of the catalogue in the folder of a skim."""

TIGHTER: dict[str, Callable[[Any, Any], bool]] = {
    "jet.min_pt": operator.ge,
    "jet.max_abs_eta": operator.le,
    "jet.btag_threshold": operator.ge,
    "regions.min_jets": operator.ge,
    "further_leptons.excluded": operator.ge,
    "variations.jet_energy": operator.le,
    "control.enabled": operator.le,
    "multijet.enabled": operator.le,
}
"""Value -> what compares one that selects no event beyond the skim's with that of the skim. Cuts on
leptons are not here: an event with two can become one with exactly one."""

CLEANED = "regions.min_jets_cleaned"
"""The limit of `regions.min_jets` where jets nearer than `CLEANING` to the lepton are dropped."""
CLEANING = 0.4
"""ΔR."""

TIGHTER_BEFORE = {
    "electron.min_pt": operator.ge,
    "electron.max_abs_eta": operator.le,
    "muon.min_pt": operator.ge,
    "muon.max_abs_eta": operator.le,
    **{name: TIGHTER[name] for name in TIGHTER if name.startswith(("jet.", "regions."))},
    CLEANED: operator.ge,
}
"""The same for what a pre-selection may ask of an event: with all leptons of each event kept, tighter
cuts on them are no harm."""

_NO_SELECTION = (
    "observable.", "top_peak.", "control.", "multijet.", "variations.", "corrections."
)  # fmt: skip
_SELECTION_ALL_THE_SAME = ("variations.btag_scale_factors",)
"""A weight; but the cutflow of what is no longer there is weighted with it."""


class SkimmedDataset(Strict):
    """Counts of a dataset before it was skimmed."""

    events: NonNegativeInt
    sum_of_weights: float
    """Sum of weights as the processor counts it."""
    cutflow: dict[str, dict[str, dict[str, int | float]]]
    """Channel -> step -> events and their weights; the steps that have events outside the skim."""
    columns: list[str] = Field(default_factory=list)
    """Columns of the event model that the analysis reads; empty if not known."""


class Skim(Strict):
    """How the files of a catalogue were made."""

    source: str
    """The catalogue of the full ntuples."""
    config: dict[str, Any]
    parts: dict[str, str] = Field(default_factory=dict)
    """Region, channel or shift of an object, in words -> digest of what it selects."""
    code: dict[str, str] = Field(default_factory=dict)
    """Module -> digest of its source, of those that selected the events; empty if not known."""


def require_preselected(preselection: Mapping[str, float], config: AnalysisConfig) -> None:
    """Raise ConfigError if `config` selects events that the pre-selection may have left out.

    `preselection`: dotted name of a cut -> the loosest value that the files have all events for.
    """
    asked = flat(config.model_dump(mode="json"))
    limits = {name: limit for name, limit in preselection.items() if name != CLEANED}
    if CLEANED in preselection and config.jet.min_lepton_delta_r >= CLEANING:
        limits["regions.min_jets"] = preselection[CLEANED]
    beyond = [
        f"{name} = {asked[name]:g} (pre-selected at {limit:g})"
        for name, limit in limits.items()
        if not TIGHTER_BEFORE[name](asked[name], limit)
    ]
    if beyond:
        msg = (
            f"the ntuples lack events for {', '.join(beyond)}: tighten to the limit of the catalogue's "
            "'preselection', or process other ntuples"
        )
        raise ConfigError(msg)


def require_covered(skim: Skim | None, config: AnalysisConfig) -> None:
    """Raise ConfigError if `config` may select events that are not in the skim, or if that cannot be
    told because the skim was made with another version.
    """
    if skim is None:
        return
    try:
        made = flat(AnalysisConfig.model_validate(skim.config).model_dump(mode="json"))
    except ValidationError as error:
        msg = (
            "the skim was made with a configuration of another version "
            f"({faults(error, AnalysisConfig)[0]}): make one with this version, or process {skim.source}"
        )
        raise ConfigError(msg) from error
    for name, asked in flat(config.model_dump(mode="json")).items():
        if not _is_covered(name, asked, made.get(name)):
            msg = (
                f"the skim was made with {name} = {made.get(name)} and may lack events for {asked}: "
                f"make one with this configuration, or process {skim.source}"
            )
            raise ConfigError(msg)


def _is_covered(name: str, asked: Any, made: Any) -> bool:
    if name in TIGHTER:
        return TIGHTER[name](asked, made)
    if name.startswith(_NO_SELECTION) and name not in _SELECTION_ALL_THE_SAME:
        return True
    return bool(asked == made)
