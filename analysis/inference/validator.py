"""What is wrong with a workspace, found before anybody fits it.

A template that is broken still fits: the fit then moves other parameters. Errors are what cannot be
meant; warnings are what may be, and should be looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.common.errors import WorkspaceError, did_you_mean, nearest
from analysis.common.strict import Strict
from analysis.inference.structure import require_structure

Array = NDArray[np.float64]
Spec = Mapping[str, Any]

DEAD = 1e-3
"""A normalisation below this part of nominal is none."""
NO_DIFFERENCE = 1e-12
"""Relative difference below which two templates are the same."""
_STRENGTH = "normfactor"
"""Type of the modifier that scales a sample freely."""
STRENGTH_RULE = "strength"
"""The rule of what makes a parameter of interest none that can be fitted."""
FULL = 1.0
"""Relative effect of a variation that is suspicious."""


class Finding(Strict):
    """One thing that is wrong, and where."""

    severity: Literal["error", "warning"]
    rule: str
    channel: str
    sample: str = ""
    modifier: str = ""
    bins: tuple[int, ...] = ()
    """Counted from 0; empty where it is not about bins."""
    message: str

    def __str__(self) -> str:
        place = " / ".join(part for part in (self.channel, self.sample, self.modifier) if part)
        shown = f", bins {', '.join(map(str, self.bins))}" if self.bins else ""
        where = f"{place}{shown}: " if place else ""
        return f"{self.severity}: {where}{self.message} [{self.rule}]"


class _Sample(NamedTuple):
    """A sample, and how findings name it."""

    channel: str
    name: str
    nominal: Array
    modifiers: Sequence[Spec]

    def error(self, rule: str, message: str, modifier: str = "", bins: Any = ()) -> Finding:
        return self._finding("error", rule, message, modifier, bins)

    def warning(self, rule: str, message: str, modifier: str = "", bins: Any = ()) -> Finding:
        return self._finding("warning", rule, message, modifier, bins)

    def _finding(
        self,
        severity: Literal["error", "warning"],
        rule: str,
        message: str,
        modifier: str,
        bins: Any,
    ) -> Finding:
        return Finding(
            severity=severity, rule=rule, channel=self.channel, sample=self.name,
            modifier=modifier, bins=tuple(int(i) for i in bins), message=message,
        )  # fmt: skip


def validate(spec: Spec, processes: Sequence[str] | None = None) -> list[Finding]:
    """Every finding on a pyhf workspace, errors first.

    `processes` are the samples that each channel must have; without them, every sample that any
    channel has. Raises WorkspaceError for what has not the structure of a workspace.
    """
    require_structure(spec)
    channels = {
        channel["name"]: [_sample(channel["name"], sample) for sample in channel["samples"]]
        for channel in spec["channels"]
    }
    observed = {o["name"]: np.asarray(o["data"], dtype=float) for o in spec["observations"]}
    findings = [
        finding
        for samples in channels.values()
        for sample in samples
        for finding in _sample_findings(sample)
    ]
    for name, samples in channels.items():
        findings += _data_findings(name, samples, observed.get(name))
        findings += _staterror_findings(name, samples)
    wanted = processes or list(dict.fromkeys(s.name for ss in channels.values() for s in ss))
    findings += _missing(channels, wanted, "warning" if processes is None else "error")
    findings += _measurement_findings(spec)
    return sorted(findings, key=lambda finding: finding.severity)


def require_valid(findings: Sequence[Finding]) -> None:
    """Raises WorkspaceError, with the first of the errors, if there are any."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        others = f", and {len(errors) - 1} more errors" if len(errors) > 1 else ""
        first = str(errors[0]).removeprefix("error: ")
        msg = f"the workspace is not sound: {first}{others} ('validate' lists all, --force fits)"
        raise WorkspaceError(msg)


def _sample(channel: str, sample: Spec) -> _Sample:
    nominal = np.asarray(sample["data"], dtype=float)
    return _Sample(channel, sample["name"], nominal, sample["modifiers"])


def _sample_findings(sample: _Sample) -> Iterator[Finding]:
    yield from _bad_numbers(sample, sample.nominal, "")
    for modifier in sample.modifiers:
        check = _CHECKS.get(modifier["type"])
        if check is not None:
            yield from check(sample, modifier["name"], modifier["data"])


def _bad_numbers(sample: _Sample, values: Array, modifier: str) -> Iterator[Finding]:
    infinite, negative = ~np.isfinite(values), values < 0
    if np.any(infinite):
        yield sample.error("nan", "yields that are no numbers", modifier, np.flatnonzero(infinite))
    if np.any(negative):
        yield sample.error("negative", "negative yields", modifier, np.flatnonzero(negative))


def _normsys(sample: _Sample, name: str, data: Spec) -> Iterator[Finding]:
    up, down = float(data["hi"]), float(data["lo"])
    shown = f"normalisation factors {up:.4g} (up) and {down:.4g} (down)"
    if not (math.isfinite(up) and math.isfinite(down)):
        yield sample.error("nan", shown, name)
    elif up <= DEAD or down <= DEAD:
        yield sample.error("dead", f"dead variation: {shown}", name)
    elif math.isclose(up, down, rel_tol=NO_DIFFERENCE) and up != 1.0:
        yield sample.error("both-directions", f"the same change in both directions: {shown}", name)
    elif up == down == 1.0:
        yield sample.warning("identical", f"without effect: {shown}", name)
    elif (up - 1) * (down - 1) > 0:
        yield sample.warning("same-side", f"up and down on the same side: {shown}", name)
    elif max(abs(up - 1), abs(down - 1)) >= FULL:
        yield sample.warning("full-effect", f"an effect of 100 % or more: {shown}", name)


def _histosys(sample: _Sample, name: str, data: Spec) -> Iterator[Finding]:
    up, down = (np.asarray(data[key], dtype=float) for key in ("hi_data", "lo_data"))
    for values in (up, down):
        yield from _bad_numbers(sample, values, name)
    nominal = sample.nominal
    if not (np.all(np.isfinite(up)) and np.all(np.isfinite(down))):
        return
    if np.any(nominal > 0) and not (np.any(up > 0) and np.any(down > 0)):
        yield sample.error("dead", "dead variation: an empty template", name)
    elif nominal.size > 1 and np.ptp(nominal) > 0 and np.ptp(up) == np.ptp(down) == 0:
        message = f"dead variation: a template of the same {up[0]:.5g} in every bin"
        yield sample.error("dead", message, name)
    elif _same(up, nominal) and _same(down, nominal):
        yield sample.warning("identical", "without effect: identical to nominal", name)
    elif _same(up, down):
        yield sample.error("both-directions", "up and down templates are identical", name)
    else:
        yield from _sizes(sample, name, up, down)


def _sizes(sample: _Sample, name: str, up: Array, down: Array) -> Iterator[Finding]:
    nominal = sample.nominal
    tolerance = 1e-9 * np.maximum(nominal, 1e-300)
    same_side = ((up - nominal) * (down - nominal) > 0) & (np.abs(up - nominal) > tolerance)
    if np.all(same_side):
        yield sample.warning("same-side", "up and down on the same side in every bin", name)
    change = np.maximum(np.abs(up - nominal), np.abs(down - nominal))
    full = (nominal > 0) & (change >= FULL * nominal)
    if np.any(full):
        bins = np.flatnonzero(full)
        yield sample.warning("full-effect", "an effect of 100 % or more", name, bins)


_CHECKS: dict[str, Callable[[_Sample, str, Any], Iterator[Finding]]] = {
    "normsys": _normsys,
    "histosys": _histosys,
}


def _data_findings(
    channel: str, samples: Sequence[_Sample], data: Array | None
) -> Iterator[Finding]:
    whole = _Sample(channel, "", np.zeros(0), [])
    if data is None:
        yield whole.error("no-data", "no observation for the channel")
        return
    yield from _bad_numbers(whole._replace(name="observation"), data, "")
    total = np.sum([sample.nominal for sample in samples], axis=0)
    if total.shape != data.shape:
        message = f"{data.size} bins of data, {total.size} of prediction"
        yield whole.error("binning", message)
        return
    empty = (total <= 0) & (data > 0)
    if np.any(empty):
        bins = np.flatnonzero(empty)
        yield whole.error("zero-prediction", "data where nothing is predicted", bins=bins)


def _staterror_findings(channel: str, samples: Sequence[_Sample]) -> Iterator[Finding]:
    """A bin with a prediction whose statistical error is zero in all samples."""
    errors: dict[str, Array] = {}
    total: dict[str, Array] = {}
    for sample in samples:
        for modifier in sample.modifiers:
            if modifier["type"] == "staterror":
                name, data = modifier["name"], np.asarray(modifier["data"], dtype=float)
                errors[name] = errors.get(name, 0) + data**2
                total[name] = total.get(name, 0) + sample.nominal
    for name, variance in errors.items():
        bad = ~(variance > 0) & (total[name] > 0)
        if np.any(bad):
            whole = _Sample(channel, "", np.zeros(0), [])
            message = "no statistical error where something is predicted"
            yield whole.error("zero-staterror", message, name, np.flatnonzero(bad))


def _missing(
    channels: Mapping[str, Sequence[_Sample]],
    wanted: Sequence[str],
    severity: Literal["error", "warning"],
) -> Iterator[Finding]:
    for channel, samples in channels.items():
        there = [sample.name for sample in samples]
        for name in wanted:
            if name not in there:
                message = f"missing; there are {', '.join(there)}"
                yield Finding(
                    severity=severity, rule="missing", channel=channel, sample=name, message=message
                )


def _measurement_findings(spec: Spec) -> Iterator[Finding]:
    """A parameter of interest that cannot be fitted; and what is said in vain: parameters that no modifier
    has, observations of no channel, other measurements.
    """
    first, *others = spec["measurements"]
    poi = first["config"]["poi"]
    modifiers = {
        modifier["name"]: modifier["type"]
        for channel in spec["channels"]
        for sample in channel["samples"]
        for modifier in sample["modifiers"]
    }
    if (kind := modifiers.get(poi, _STRENGTH)) != _STRENGTH:
        message = f"the parameter of interest is a {kind}, expected a {_STRENGTH}"
        yield _finding("error", STRENGTH_RULE, message, poi)
    for parameter in first["config"].get("parameters", []):
        name = parameter["name"]
        if name == poi and parameter.get("fixed"):
            yield _finding("error", STRENGTH_RULE, "the parameter of interest is fixed", poi)
        elif name not in (poi, *modifiers):
            close = nearest(name, modifiers)
            hint = f": did you mean {close[0]!r}?" if close else ""
            message = f"set in the measurement, but no modifier is called so{hint}"
            yield _finding("warning", "unused-parameter", message, name)
    channels = [channel["name"] for channel in spec["channels"]]
    for name in (o["name"] for o in spec["observations"] if o["name"] not in channels):
        message = f"observation of no channel: {did_you_mean(name, channels)}"
        yield _finding("warning", "unused-observation", message, name)
    if others:
        names = ", ".join(other["name"] for other in others)
        yield _finding(
            "warning", "measurements", f"measurement {first['name']} is used, not {names}"
        )


def _finding(
    severity: Literal["error", "warning"], rule: str, message: str, modifier: str = ""
) -> Finding:
    """A finding about no channel."""
    return Finding(severity=severity, rule=rule, channel="", modifier=modifier, message=message)


def _same(one: Array, other: Array) -> bool:
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=NO_DIFFERENCE, atol=0))
