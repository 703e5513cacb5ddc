"""Regions of a run that are not fitted, to be shown with the parameters of the fit.

Such a region has its templates, with every variation, as a fitted one: each parameter acts there as it does in the
fitted region whose events it has. The rates that a fitted region has in common with others are the fit's; the
statistics of the simulation are its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from analysis.common.errors import WorkspaceError
from analysis.config import Binning
from analysis.inference import workspace
from analysis.inference.config import InferenceConfig, Observed
from analysis.inference.likelihood import Likelihood
from analysis.inference.templates import Templates, from_results
from analysis.inference.workspace import Pair, Place, Spec
from analysis.postprocess.normalisation import Normalised, region_of_channel


class Elsewhere(NamedTuple):
    """The regions that are not fitted."""

    specs: Mapping[str, Spec] = MappingProxyType({})
    """Region -> its workspace, whose parameters are named as those of the fit."""
    binnings: Mapping[str, Binning] = MappingProxyType({})
    """Channel of these workspaces -> its bins."""
    notes: Sequence[str] = ()
    """Why a region is not among them, one line each."""


def elsewhere(
    run: Normalised, fitted: Templates, config: InferenceConfig, observed: Observed
) -> Elsewhere:
    """Build the workspaces of all regions of a run that share events with one fitted region alone."""
    rates = workspace.common_rates(fitted, config, [])
    specs: dict[str, Spec] = {}
    binnings: dict[str, Binning] = {}
    notes = []
    for region in run.description.regions:
        if region in config.regions:
            continue
        shared = _shared(run, region, config)
        if len(shared) != 1:
            notes.append(
                f"region {region}: not shown after the fit, as it shares events with "
                f"{' and '.join(shared) or 'none'} of the fitted regions"
            )
            continue
        axis = run.regions[region].axes[0].edges
        own = Binning(bins=len(axis) - 1, low=axis[0], high=axis[-1])
        try:
            spec = _built(run, region, shared[0], own, rates, config, observed)
        except WorkspaceError as error:
            notes.append(f"region {region}: not shown after the fit: {error}")
            continue
        specs[region] = spec
        binnings |= {channel["name"]: own for channel in spec["channels"]}
    return Elsewhere(specs, binnings, notes)


def _shared(run: Normalised, region: str, config: InferenceConfig) -> list[str]:
    """Name the fitted regions that have events of this one."""
    overlaps = run.description.overlaps
    return [
        fitted
        for fitted in config.regions
        if overlaps.get(region, {}).get(fitted) or overlaps.get(fitted, {}).get(region)
    ]


def _built(
    run: Normalised,
    region: str,
    like: str,
    own: Binning,
    rates: Mapping[tuple[str, Place], Pair],
    config: InferenceConfig,
    observed: Observed,
) -> Spec:
    """Build the workspace of a region by the model of the fitted region `like`, in its `own` bins."""
    config = config.model_copy(update={"binnings": {**config.binnings, like: own}})
    made = from_results(run, config, {like: region})
    spec = workspace.build(made, config, observed, rates).spec
    names = {
        region_of_channel(like, channel): region_of_channel(region, channel)
        for channel in run.description.channels
    } | {like: region}
    for channel, observation in zip(spec["channels"], spec["observations"], strict=True):
        channel["name"] = observation["name"] = name = names[channel["name"]]
        for sample in channel["samples"]:
            for modifier in sample["modifiers"]:
                if modifier["type"] == "staterror":
                    modifier["name"] = workspace.staterror(name)
    # One that pyhf refuses is no reason to have no fit.
    Likelihood(spec)
    return spec
