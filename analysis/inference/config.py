"""InferenceConfig: every number of the statistical model, typed and frozen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, combinations
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    Field,
    PositiveFloat,
    ValidationError,
    field_validator,
    model_validator,
)

from analysis.common.errors import ConfigError, WorkspaceError, did_you_mean
from analysis.common.names import source
from analysis.common.strict import Strict, faults
from analysis.config import Binning, Fraction

Observed = Literal["data", "pseudodata", "asimov"]

ALTERNATIVES = ("ME_var", "PS_var")
"""Samples of the signal whose mean pseudo-data are, as in the Grand Challenge."""

TTBAR = "ttbar"
TTBAR_PB = 831.76
"""NNLO+NNLL (Top++ 2.0, m_t = 172.5 GeV): what tt̄ of a file was scaled to that does not say it."""
ACCEPTANCE = ", acceptance"
"""End of the name of a parameter of the number of events alone."""
Correlated = Literal["everywhere", "in a channel", "in a region"]
"""Where one parameter stands for an uncertainty: others are `NAME, muon` or `NAME, 4j1b`."""
_SAME = 1e-4
"""Relative difference of two cross sections that is rounding."""


class Variation(Strict):
    """A systematic variation of templates: its histograms, and the processes that have it."""

    up: str
    down: str | None = None
    """None: the variation has one direction, and is made symmetric as `one_sided` says."""
    processes: tuple[str, ...] = ()
    """Empty: every simulated process."""
    independent: bool = False
    """Whether its histograms are of samples of their own, which differ from nominal by fluctuation too. A
    run knows it."""
    acceptance: Literal["together", "apart", "none"] = "together"
    """The change of the number of events: of the same parameter as the shape, of one of its own, `NAME,
    acceptance`, or left out. In either of these samples have the cross section of nominal."""
    correlated: Correlated = "everywhere"


class RateUncertainty(Strict):
    """A relative uncertainty of the cross section of processes that go together."""

    processes: tuple[str, ...]
    relative: Fraction | Literal["free"]
    """`free`: the rate is measured in the fit, without a prior."""
    regions: tuple[str, ...] = ()
    """Empty: every region."""
    correlated: Correlated = "everywhere"


def _two_sided(name: str) -> Variation:
    return Variation(up=f"{name}_up", down=f"{name}_down")


_VARIATIONS = {
    "ME variation": Variation(up="ME_var", processes=("ttbar",), independent=True),
    "PS variation": Variation(up="PS_var", processes=("ttbar",), independent=True),
    "ttbar scale variations": Variation(
        up="scaleup", down="scaledown", processes=("ttbar",), independent=True
    ),
    "Jet energy scale": _two_sided("pt_scale"),
    "Jet energy resolution": _two_sided("pt_res"),
    **{f"b-tag NP {i + 1}": _two_sided(f"btag_var_{i}") for i in range(4)},
    "b-tag scale factors": _two_sided("btag_sf"),
    "W+jets scale variations": _two_sided("scale_var").model_copy(update={"processes": ("wjets",)}),
}

_BACKGROUNDS = {
    "cross section t-channel": RateUncertainty(
        processes=("single_top_t_chan", "single_atop_t_chan"), relative=0.04
    ),
    "cross section tW": RateUncertainty(processes=("single_top_tW",), relative=0.054),
    "cross section W+jets": RateUncertainty(processes=("wjets",), relative=0.3),
    "cross section QCD": RateUncertainty(processes=("qcd",), relative=0.5),
}


class InferenceConfig(Strict):
    """The model of the measurement; `InferenceConfig()` has the lesson's binning and variations.

    `variations` and `cross_section_uncertainties` that are given add to the default ones, or change
    those of the same name; `left_out` takes away.
    """

    poi: str = "ttbar_norm"
    signal: str = TTBAR
    processes: tuple[str, ...] = (
        "ttbar", "single_top_t_chan", "single_atop_t_chan", "single_top_tW", "wjets"
    )  # fmt: skip
    """What every region must have; others are taken where there are any."""
    regions: tuple[str, ...] = ("4j1b", "4j2b")
    """What is fitted: no event may be in two of them."""
    observed: Observed = "data"
    """What the templates are fitted to, unless the command says it."""
    pseudodata_backgrounds: tuple[str, ...] | None = None
    """What pseudo-data have besides the signal; every background unless given."""
    channels: Literal["together", "apart"] = "together"
    """Add up the channels of a run, or fit each region once in every channel: `4j1b_muon`, ..."""
    signal_cross_section_pb: PositiveFloat | None = None
    """What templates of a file were scaled to that does not say it; 831.76 for tt̄ unless given. A run
    knows its own, and a model that states another one is refused."""
    binning: Binning = Binning(bins=11, low=110, high=550)
    """GeV; its edges must be edges of the histograms."""
    binnings: dict[str, Binning] = Field(default_factory=dict)
    """Region -> its bins, where they are not those of `binning`."""
    overflow: bool = False
    """Whether the first and the last bin have what lies beyond them, too."""
    splits: dict[str, dict[str, tuple[str, ...]]] = Field(default_factory=dict)
    """Way to divide the regions -> part -> its regions: parts are compared, besides single regions and channels."""
    variations: dict[str, Variation] = _VARIATIONS
    """Nuisance parameter -> what it varies."""
    one_sided: Literal["mirror", "flat"] = "mirror"
    """The missing direction: 2 × nominal - the other, or nominal."""
    two_sided: Literal["symmetric", "asymmetric"] = "symmetric"
    """Half the difference of both directions, of the logarithm of the normalisation and of the shape,
    or each as it is. The rest is of second order and in part statistical noise of the simulation."""
    smoothing: bool = False
    """Smooth the ratio of each varied shape to nominal: 353QH twice (Friedman, 1974; ROOT's)."""
    significance: Annotated[float, Field(ge=0, le=1)] = 0.003
    """Of independent samples: a shape, or a difference of rates between regions, is left out where two
    samples that are alike differ by as much with a larger probability than this; 1 takes all."""
    pruning: Fraction = 0.001
    """Changes of a normalisation, and of every bin of a shape, below this are left out."""
    luminosity_uncertainty: Fraction = 0.03
    """As in the lesson. CMS gave 2.7 % for 2015 at first (CMS-PAS-LUM-15-001) and 1.6 % since (Eur. Phys. J. C
    81 (2021) 800; record 1055 of the Open Data portal)."""
    cross_section_uncertainties: dict[str, RateUncertainty] = _BACKGROUNDS
    """Single top: scale and parton distributions, added in quadrature, of the predictions at 13 TeV
    that LHC experiments use (LHC Top Working Group). t-channel: 216.99 +6.62 -4.64 ± 6.16 pb, 4 %
    (NLO, Hathor 2.1, arXiv:1406.4403). tW: 71.7 ± 1.8 ± 3.4 pb, 5.4 % (approximate NNLO, N.
    Kidonakis). W+jets 30 % and QCD 50 %: assumed, for the rate of events with four jets and a b
    tag, which the precision of inclusive predictions does not cover."""
    luminosity_fraction: Annotated[float, Field(gt=0)] | Literal["free"] = 1.0
    """Part of the simulation's luminosity that the data have; `free` fits it."""
    left_out: tuple[str, ...] = ()
    """Variations and cross section uncertainties that are not fitted; variations of histograms, which have
    no line in the model, by their name with or without direction."""

    @field_validator("variations", mode="before")
    @classmethod
    def _add_variations(cls, given: Any) -> Any:
        return _added(_VARIATIONS, given)

    @field_validator("cross_section_uncertainties", mode="before")
    @classmethod
    def _add_rates(cls, given: Any) -> Any:
        return _added(_BACKGROUNDS, given)

    @model_validator(mode="after")
    def _each_histogram_once(self) -> Self:
        for (one, first), (other, second) in combinations(self.systematics.items(), 2):
            apart = first.processes and second.processes
            if first.up == second.up and not (
                apart and not {*first.processes} & {*second.processes}
            ):
                msg = (
                    f"variations {one!r} and {other!r} both have the histogram {first.up!r}: give them "
                    "one name, or leave one out (left_out)"
                )
                raise ValueError(msg)
        return self

    @classmethod
    def of_run(cls, model: Mapping[str, Any]) -> Self:
        """Read the model that an analysis brings. Raises ConfigError, with every fault."""
        try:
            return cls.model_validate(model)
        except ValidationError as error:
            found = "; ".join(faults(error, cls, model))
            msg = f"the model of the analysis: {found}"
            raise ConfigError(msg) from error

    def place(self, region: str) -> tuple[str, str]:
        """Find the region of the model, and the channel (empty for all together), of a fitted region."""
        if region in self.regions:
            return region, ""
        base = max((name for name in self.regions if region.startswith(f"{name}_")), key=len)
        return base, region.removeprefix(f"{base}_")

    def binning_of(self, region: str) -> Binning:
        """Find the bins of a fitted region."""
        return self.binnings.get(self.place(region)[0], self.binning)

    def own_binnings(self, regions: Iterable[str]) -> dict[str, Binning]:
        """Find the fitted regions whose bins are not the common ones."""
        found = {region: self.binning_of(region) for region in regions}
        return {region: bins for region, bins in found.items() if bins != self.binning}

    def ways(self, fitted: Iterable[str]) -> dict[str, dict[str, list[str]]]:
        """Divide the fitted regions by channel and by region, and as `splits` says."""
        places = {name: self.place(name) for name in fitted}
        regions, channels = (list(dict.fromkeys(x)) for x in zip(*places.values(), strict=True))
        found = {
            "channel": {c: [n for n, (_, own) in places.items() if own == c] for c in channels},
            "region": {r: [n for n, (own, _) in places.items() if own == r] for r in regions},
        }
        for way, parts in self.splits.items():
            found[way] = {
                part: [n for n, (own, _) in places.items() if own in of]
                for part, of in parts.items()
            }
        return found

    def parameter(self, name: str, correlated: Correlated, region: str) -> str:
        """Name the parameter of an uncertainty in a fitted region."""
        base, channel = self.place(region)
        where = {"everywhere": "", "in a channel": channel, "in a region": base}[correlated]
        return f"{name}, {where}" if where else name

    @property
    def systematics(self) -> dict[str, Variation]:
        """The variations that are fitted."""
        return {name: v for name, v in self.variations.items() if name not in self.left_out}

    @property
    def rates(self) -> dict[str, RateUncertainty]:
        """The cross section uncertainties that are fitted."""
        rates = self.cross_section_uncertainties
        return {name: rate for name, rate in rates.items() if name not in self.left_out}

    @property
    def varied(self) -> set[str]:
        """The names of all fitted variations in histograms."""
        return {name for v in self.systematics.values() for name in (v.up, v.down) if name}

    @property
    def of_acceptance(self) -> set[str]:
        """The variations in histograms whose cross section is nominal's: their rates are of acceptance alone."""
        apart = [v for v in self.systematics.values() if v.acceptance != "together"]
        return {name for v in apart for name in (v.up, v.down) if name}

    @property
    def _named(self) -> set[str]:
        """Variations of histograms that the model fits or leaves out."""
        lines = [self.variations[name] for name in self.variations.keys() & {*self.left_out}]
        out = {name for line in lines for name in (line.up, line.down) if name}
        return {*self.varied, *self.left_out, *out}

    def with_parts_of(self, filled: Mapping[str, Sequence[str]], own: Iterable[str]) -> Self:
        """Add the variations that an analysis makes itself and the model does not name.

        `filled`: process -> its variations; `own`: the analysis's, of the events of nominal. Each is
        called as it is without its direction.
        """
        own = list(own)
        found: dict[str, list[str]] = {}
        for name in own:
            if not self._named & {name, source(name)}:
                found.setdefault(source(name), []).append(name)
        added = {}
        for called, names in found.items():
            processes = [process for process, there in filled.items() if {*names} & {*there}]
            if processes:
                added[called] = Variation(
                    up=names[0],
                    down=names[1] if len(names) > 1 else None,
                    processes=tuple(processes),
                )
        there = {name for names in filled.values() for name in names}
        known = {
            name: v.model_copy(update={"independent": v.up not in own}) if v.up in there else v
            for name, v in self.variations.items()
        }
        return self.model_copy(update={"variations": {**known, **added}})

    @property
    def named_processes(self) -> set[str]:
        """The processes that any part of the model names."""
        varied = (variation.processes for variation in self.variations.values())
        rates = (rate.processes for rate in self.cross_section_uncertainties.values())
        return {self.signal, *self.processes}.union(*varied, *rates)

    def _named_regions(self) -> Iterator[tuple[str, str]]:
        """Name the regions of bins, rates and splits, and what names them."""
        yield from ((region, "binnings") for region in self.binnings)
        for name, rate in self.rates.items():
            yield from ((region, f"cross section uncertainty {name!r}") for region in rate.regions)
        for name, parts in self.splits.items():
            every = chain.from_iterable(parts.values())
            yield from ((region, f"split {name!r}") for region in every)

    def require_names(
        self,
        regions: Iterable[str],
        processes: Iterable[str],
        variations: Iterable[str],
        own: InferenceConfig | None = None,
    ) -> None:
        """Hold the names of the model against the `regions`, `processes` and `variations` of histograms.

        A default line, and one of the analysis's `own` model, may be without any. Raises WorkspaceError, with the nearest name, for a
        line of the user's without a histogram or process, for something left out that is not there, and
        for variations of histograms that are neither in the model nor left out.
        """
        there, filled = set(processes), list(dict.fromkeys(variations))
        known_regions = list(regions)
        for region, what in self._named_regions():
            _require(region, known_regions, f"{what}: no region")
        for name, variation in self.systematics.items():
            if variation in (_VARIATIONS.get(name), own and own.variations.get(name)):
                continue
            for histogram in filter(None, (variation.up, variation.down)):
                _require(histogram, filled, f"variation {name!r}: no histogram")
            for process in variation.processes:
                _require(process, there, f"variation {name!r}: no process")
        for name, rate in self.rates.items():
            given = own.cross_section_uncertainties if own else _BACKGROUNDS
            if rate not in (_BACKGROUNDS.get(name), given.get(name)):
                for process in rate.processes:
                    _require(process, there, f"cross section uncertainty {name!r}: no process")
        known = [*self.variations, *self.cross_section_uncertainties, *filled, *map(source, filled)]
        for name in self.left_out:
            _require(name, dict.fromkeys(known), "left_out: nothing is called")
        named = self._named
        unused = [name for name in filled if not named & {name, source(name)}]
        if unused:
            first = source(unused[0])
            msg = (
                f"variations {', '.join(unused)} are filled and not in the model: give each a line "
                f'([variations."NAME"] up = {unused[0]!r}), or leave it out (left_out = [{first!r}])'
            )
            raise WorkspaceError(msg)

    def reference_pb(self, known: float | None, source: str) -> float:
        """The cross section that a strength of 1 stands for; `known` is what the source says of it.

        Raises WorkspaceError where the model states another one than the source, and where neither
        says what a signal that is not the default one was scaled to.
        """
        stated = self.signal_cross_section_pb
        if known is None:
            if stated is None and self.signal != TTBAR:
                msg = (
                    f"{source} does not say what {self.signal} was scaled to: "
                    "give the model signal_cross_section_pb"
                )
                raise WorkspaceError(msg)
            return stated or TTBAR_PB
        if stated is not None and not math.isclose(known, stated, rel_tol=_SAME):
            msg = (
                f"the model's signal_cross_section_pb is {stated:g}, but in "
                f"{source} {self.signal} was scaled to {known:g} pb: leave it out of the model"
            )
            raise WorkspaceError(msg)
        return known


def _added(defaults: Mapping[str, BaseModel], given: Any) -> Any:
    """The default lines with the given ones: a line of the same name changes what it says alone."""
    if not isinstance(given, Mapping):
        return given
    merged: dict[str, Any] = dict(defaults)
    for name, line in given.items():
        default = defaults.get(name)
        if default is not None and isinstance(line, Mapping):
            merged[name] = default.model_dump() | dict(line)
        else:
            merged[name] = line
    return merged


def _require(name: str, valid: Iterable[str], what: str) -> None:
    names = list(valid)
    if name not in names:
        msg = f"{what} {name!r}: {did_you_mean(name, names)}"
        raise WorkspaceError(msg)
