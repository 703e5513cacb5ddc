"""What a pyhf workspace is made of, so that a malformed one is named by channel, sample and modifier.

pyhf's own schema knows nothing of lengths, and says "is not valid under any of the given schemas".
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from analysis.common.errors import WorkspaceError
from analysis.common.strict import faults


class _Part(BaseModel):
    """Numbers that are none are allowed: the validator says in which bins they are."""

    model_config = ConfigDict(frozen=True)

    name: str


class _Factors(BaseModel):
    hi: float
    lo: float


class _Shapes(BaseModel):
    hi_data: list[float]
    lo_data: list[float]


class _Free(_Part):
    type: Literal["normfactor", "shapefactor", "lumi"]
    data: None = None


class _NormSys(_Part):
    type: Literal["normsys"]
    data: _Factors


class _HistoSys(_Part):
    type: Literal["histosys"]
    data: _Shapes


class _BinErrors(_Part):
    type: Literal["staterror", "shapesys"]
    data: list[float]


class _Sample(_Part):
    data: list[float] = Field(min_length=1)
    modifiers: list[
        Annotated[_Free | _NormSys | _HistoSys | _BinErrors, Field(discriminator="type")]
    ]

    @model_validator(mode="after")
    def _each_once(self) -> _Sample:
        # pyhf counts the last one only.
        counts = Counter((modifier.type, modifier.name) for modifier in self.modifiers)
        twice = [f"{kind} {name}" for (kind, name), count in counts.items() if count > 1]
        if twice:
            msg = f"modifiers that are there twice: {', '.join(twice)}"
            raise ValueError(msg)
        return self


class _Channel(_Part):
    samples: list[_Sample] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> _Channel:
        _require_unique("samples", self.samples)
        bins = len(self.samples[0].data)
        for sample in self.samples:
            for what, values in _arrays(sample):
                if len(values) != bins:
                    msg = f"{what} has {len(values)} bins, {self.samples[0].name} has {bins}"
                    raise ValueError(msg)
        return self


class _Observation(_Part):
    data: list[float]


class _Parameter(_Part):
    inits: list[float] = []
    bounds: list[tuple[float, float]] = []
    auxdata: list[float] = []
    sigmas: list[float] = []

    @model_validator(mode="after")
    def _sound(self) -> _Parameter:
        for low, high in self.bounds:
            if not low < high:
                msg = f"bounds {low:g}, {high:g} of {self.name}: expected the lower one first"
                raise ValueError(msg)
        for what in ("inits", "auxdata", "sigmas"):
            for value in getattr(self, what):
                if not math.isfinite(value) or (what == "sigmas" and value <= 0):
                    expected = "a number above zero" if what == "sigmas" else "a number"
                    msg = f"{what} {value:g} of {self.name}: expected {expected}"
                    raise ValueError(msg)
        return self


class _MeasurementConfig(BaseModel):
    poi: str
    parameters: list[_Parameter] = []


class _Measurement(_Part):
    config: _MeasurementConfig


class _Workspace(BaseModel):
    version: Literal["1.0.0"]
    channels: list[_Channel] = Field(min_length=1)
    observations: list[_Observation]
    measurements: list[_Measurement] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> _Workspace:
        _require_unique("channels", self.channels)
        _require_unique("observations", self.observations)
        modifiers = {m.name: m.type for c in self.channels for s in c.samples for m in s.modifiers}
        first = self.measurements[0]
        given = {parameter.name: parameter for parameter in first.config.parameters}
        for name in (name for name, kind in modifiers.items() if kind == "lumi"):
            known = given.get(name)
            if known is None or not (known.auxdata and known.sigmas and known.inits):
                msg = f"lumi {name}: measurement {first.name} gives it no auxdata, sigmas and inits"
                raise ValueError(msg)
        return self


def require_structure(spec: Mapping[str, Any]) -> None:
    """Raises WorkspaceError, with the place, for what is no pyhf workspace of one binning a channel."""
    try:
        _Workspace.model_validate(spec)
    except ValidationError as error:
        first, *others = faults(error, _Workspace, spec)
        more = f", and {len(others)} more faults" if others else ""
        msg = f"not a pyhf workspace: {first}{more}"
        raise WorkspaceError(msg) from error


def _require_unique(what: str, parts: Iterable[_Part]) -> None:
    twice = [name for name, count in Counter(part.name for part in parts).items() if count > 1]
    if twice:
        msg = f"{what} of the same name: {', '.join(twice)}"
        raise ValueError(msg)


def _arrays(sample: _Sample) -> Iterator[tuple[str, list[float]]]:
    """What has a value for each bin, and how messages name it."""
    yield sample.name, sample.data
    for modifier in sample.modifiers:
        place = f"{modifier.type} {modifier.name} of {sample.name}"
        if isinstance(modifier, _HistoSys):
            yield f"{place}, hi_data", modifier.data.hi_data
            yield f"{place}, lo_data", modifier.data.lo_data
        elif isinstance(modifier, _BinErrors):
            yield place, modifier.data
