"""AnalysisConfig: every number that a physicist may want to change, typed and frozen.

The defaults are those of the CMS Open Data workshop's ttbar lesson, which follows CMS, JHEP 09 (2017)
051. A TOML file with the same sections changes them:

    [jet]
    min_pt = 25.0
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    Field,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from analysis.common.files import short_digest
from analysis.common.strict import Strict, read_toml
from analysis.common.tables import html

NTUPLES_THRESHOLD = 0.8
"""Discriminator that the ntuples' b-tag scale factors are of."""

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]


class LeptonCuts(Strict):
    """Good electrons or muons."""

    tight: bool = True
    """Whether tight identification is asked for."""
    min_pt: PositiveFloat = 30.0
    """GeV."""
    max_abs_eta: PositiveFloat = 2.1
    max_sip3d: PositiveFloat = 4.0
    """Significance of the three-dimensional impact parameter."""


class MuonCuts(LeptonCuts):
    """Muons are isolated besides."""

    max_isolation: PositiveFloat = 0.15
    """Relative particle-flow isolation in a cone of 0.4, corrected for pile-up (delta beta)."""


class FurtherLeptons(Strict):
    """Leptons besides the good ones that exclude an event: looser than good ones."""

    excluded: bool = False
    """Whether events with such leptons are left out; the lesson keeps them."""
    min_pt: PositiveFloat = 15.0
    """GeV."""
    max_abs_eta_electron: PositiveFloat = 2.5
    """Electrons that pass the veto identification, which includes isolation."""
    max_abs_eta_muon: PositiveFloat = 2.4
    """Muons that pass the loose identification."""
    max_isolation_muon: PositiveFloat = 0.25
    """CMS's loose working point (arXiv:1804.04528): a muon in a b jet, which is not isolated, is no further lepton."""


class JetCuts(Strict):
    """Good jets, by their corrected momentum."""

    min_pt: PositiveFloat = 30.0
    """GeV."""
    max_abs_eta: PositiveFloat = 2.4
    identification: Literal["none", "tight", "tight_lepton_veto"] = "none"
    """Bits of the jet identification of NanoAOD; POET ntuples have none."""
    min_lepton_delta_r: Annotated[float, Field(ge=0.0)] = 0.0
    """Jets nearer than this to the selected lepton are dropped; 0 keeps all, as the lesson does."""
    btag_threshold: float = 0.8
    """A jet with at least this discriminator (CSVv2) is b-tagged."""


class Regions(Strict):
    """4j1b: H_T of the good jets. 4j2b: mass of the top candidate."""

    min_jets: Annotated[int, Field(ge=3)] = 4
    """The top candidate needs three jets, the b-tag variations the leading four."""


class Trigger(Strict):
    """Collision data always need the trigger of their stream."""

    simulation: Literal["any", "channel"] = "any"
    """`any`: simulation as the ntuples were pre-selected (any of the three triggers fired);
    `channel`: the trigger of the event's own channel, as in data."""


class JetScaleSources(Strict):
    """Shares of the total uncertainty of a jet's energy scale, where an analysis splits it.

    The ntuples have the total only, by pT and η. The squares of the shares of a jet add up to one.
    """

    pile_up_pt: PositiveFloat = 45.0
    """GeV; where what falls as 1/pT (pile-up) is as large as what does not: 0.45 GeV against 1 %
    (CMS, JINST 12 (2017) P02014)."""
    central_abs_eta: PositiveFloat = 1.3
    """Jets beyond it, where the scale is not measured but transferred from the centre, have their own part."""
    forward: Fraction = 0.5
    """That part, of the square of the uncertainty; assumed."""


class TagShares(Strict):
    """What the scale factors of a jet's b tag explain of the ntuples' weight, by flavour.

    The ntuples vary all flavours at once: these numbers, those of POET's tables between 30 and 200 GeV, say
    how much of an event's variation is that of its b and c jets.
    """

    uncertainty_b: Fraction = 0.024
    uncertainty_c: Fraction = 0.048
    uncertainty_light: Fraction = 0.08
    """Relative, of the scale factors."""
    efficiency_b: Fraction = 0.6
    efficiency_c: Fraction = 0.12
    efficiency_light: Fraction = 0.007


class Variations(Strict):
    """Systematic variations, on the nominal samples of simulation."""

    jet_energy: bool = True
    """Jet energy scale and resolution, from the shifted momenta of the ntuples."""
    btag_jets: Annotated[int, Field(ge=0, le=4)] = 4
    """One b-tag variation for each of so many jets, leading in pT."""
    btag_slope: Fraction = 0.075
    """Weight 1 ± slope × pT / `btag_reference_pt`."""
    btag_reference_pt: PositiveFloat = 50.0
    """GeV."""
    scale_uncertainty: dict[str, Fraction] = Field(default={"wjets": 0.025})
    """Process -> relative uncertainty of its yield from the scale choice (`scale_var`); 0 for none.
    Processes that a file does not name keep theirs."""
    btag_scale_factors: bool = False
    """Weight nominal events by the ntuples' b-tag scale factors, and add their variation `btag_sf`."""
    jet_scale_sources: JetScaleSources = JetScaleSources()
    tag_shares: TagShares = TagShares()
    heavy_flavour: Fraction = 0.3
    """Relative uncertainty of the part of W+jets with a b or c jet; assumed."""

    @field_validator("scale_uncertainty", mode="before")
    @classmethod
    def _with_defaults(cls, given: Any) -> Any:
        default = cls.model_fields["scale_uncertainty"].default
        return default | given if isinstance(given, dict) else given


class Binning(Strict):
    """A regular axis."""

    bins: PositiveInt
    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.high <= self.low:
            msg = f"high ({self.high}) must be above low ({self.low})"
            raise ValueError(msg)
        return self


class ControlBinnings(Strict):
    """Control histograms of events with one good lepton and enough jets, before b tagging."""

    enabled: bool = True
    lepton_pt: Binning = Binning(bins=27, low=30, high=300)
    lepton_eta: Binning = Binning(bins=21, low=-2.1, high=2.1)
    jet_pt: Binning = Binning(bins=27, low=30, high=300)
    n_jets: Binning = Binning(bins=9, low=3.5, high=12.5)
    n_btags: Binning = Binning(bins=6, low=-0.5, high=5.5)
    met: Binning = Binning(bins=30, low=0, high=300)
    n_vertices: Binning = Binning(bins=40, low=0.5, high=40.5)


class TopPeak(Strict):
    """The fit of the top candidate's mass; GeV, on the edges of the observable's bins."""

    fit_range: tuple[float, float] = (90, 350)
    """Gaussian peak and background are fitted here."""
    window: tuple[float, float] = (130, 210)
    """The fit of the bands alone extrapolates from the rest of the range to here."""
    position: PositiveFloat = 172.5
    """Where the fit of the peak starts."""
    width: PositiveFloat = 22
    """The peak's standard deviation at the start: jet resolution, mostly."""
    background_order: int = Field(default=3, ge=1, le=8)
    """Order of the Bernstein polynomial that wrong combinations and background follow."""

    @model_validator(mode="after")
    def _window_inside(self) -> Self:
        low, high = self.fit_range
        if not low < self.window[0] < self.window[1] < high:
            msg = f"window {self.window} must be inside fit_range {self.fit_range}"
            raise ValueError(msg)
        return self


class MultijetPlane(Strict):
    """The (isolation, m_T) plane that gives the multijet background of the muon channel (ABCD)."""

    enabled: bool = True
    isolation: Binning = Binning(bins=40, low=0, high=2)
    """Overflow counts as non-isolated; `muon.max_isolation` has to be an edge."""
    transverse_mass: Binning = Binning(bins=20, low=0, high=200)
    """GeV."""
    min_control_isolation: PositiveFloat = 0.3
    """Between `muon.max_isolation` and this, muons are for the validation only."""
    min_transverse_mass: PositiveFloat = 50.0
    """GeV. Signal above, control below."""


class Directed(Strict):
    """What is another in each direction of a correction."""

    nominal: str
    up: str
    down: str


class Table(Strict):
    """A table of a file in the JSON format of correctionlib, and what its inputs are."""

    file: str
    """Path of a `.json` or `.json.gz`; in a configuration file, from the folder of that."""
    correction: str | Directed
    """Name in the file."""
    inputs: dict[str, str | float | Directed] = Field(default_factory=dict)
    """Input -> a column (`jet.pt`, `abs(muon.eta)`), a quantity of the event (`n_jets`, `top_pt`), a number;
    for an input of texts the text."""


class Correction(Table):
    """A nominal weight of simulated events from a table; with directions, also its variation.

    Where an input is of jets, the weight is the product over the good jets; where one is of leptons, it is
    that of the one lepton.
    """

    processes: tuple[str, ...] = ()
    """Empty: every simulated process."""
    hadron_flavours: tuple[int, ...] = ()
    """Jets that are corrected (`jet.hflav`): 5 for b, 4 for c, 0 for light ones; empty for all."""
    tag_efficiency: Table | None = None
    """With it the table is of scale factors of the b tag: a jet without tag has (1 - SF ε) / (1 - ε)."""


class CollisionData(Strict):
    """Collision data with run and luminosity section (NanoAOD); files are relative to that of TOML."""

    golden_json: str | None = None
    """JSON file of the certified luminosity sections of each run. Events of others are dropped."""
    luminosity_csv: str | None = None
    """Luminosity by section, as brilcalc writes it (`--byls --output-style csv`): that of the sections that
    were read takes the place of the catalogue's."""

    def below(self, folder: Path) -> Self:
        """Give the files as whole paths, those that are relative below a folder."""
        given = self.model_dump(exclude_none=True)
        return self.model_copy(update={name: str(folder / path) for name, path in given.items()})


class Configuration(Strict):
    """What a processor is configured with."""

    @property
    def digest(self) -> str:
        """Short hash of all values: two runs with the same digest had the same configuration."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return short_digest(canonical)

    def __repr__(self) -> str:
        """Name the values that are not the default ones."""
        default = flat(type(self)().model_dump(mode="json"))
        values = flat(self.model_dump(mode="json")).items()
        changed = (f"{name}={value!r}" for name, value in values if default.get(name) != value)
        return f"{type(self).__name__}({', '.join(changed)})"

    def _repr_html_(self) -> str:
        values = flat(self.model_dump(mode="json")).items()
        return html((type(self).__name__, ""), [(name, str(value)) for name, value in values])


class AnalysisConfig(Configuration):
    """The whole configuration; `AnalysisConfig()` is the published analysis."""

    electron: LeptonCuts = LeptonCuts()
    muon: MuonCuts = MuonCuts()
    jet: JetCuts = JetCuts()
    further_leptons: FurtherLeptons = FurtherLeptons()
    regions: Regions = Regions()
    trigger: Trigger = Trigger()
    data: CollisionData = CollisionData()
    generator_weights: bool = True
    """Whether events are weighted with the generator's weight where the catalogue says that they have one."""
    variations: Variations = Variations()
    corrections: dict[str, Correction] = Field(default_factory=dict)
    """Name -> correction, besides those of the analysis."""
    observable: Binning = Binning(bins=25, low=50, high=550)
    """GeV; the axis of both regions' observables."""
    control: ControlBinnings = ControlBinnings()
    top_peak: TopPeak = TopPeak()
    multijet: MultijetPlane = MultijetPlane()

    @model_validator(mode="after")
    def _isolated_below_control(self) -> Self:
        if self.multijet.enabled and self.multijet.min_control_isolation <= self.muon.max_isolation:
            msg = (
                f"set multijet.min_control_isolation ({self.multijet.min_control_isolation}) above "
                f"muon.max_isolation ({self.muon.max_isolation})"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _scale_factors_of_the_threshold(self) -> Self:
        if self.variations.btag_scale_factors and self.jet.btag_threshold != NTUPLES_THRESHOLD:
            msg = (
                f"variations.btag_scale_factors: those of the ntuples are of jet.btag_threshold "
                f"{NTUPLES_THRESHOLD:g}, not {self.jet.btag_threshold:g}: give a table (corrections)"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _enough_jets(self) -> Self:
        if self.variations.btag_jets > self.regions.min_jets:
            least = self.regions.min_jets
            msg = (
                f"set variations.btag_jets to {least} or less: regions.min_jets is {least}, and the "
                f"variations of {self.variations.btag_jets} jets need as many"
            )
            raise ValueError(msg)
        return self


def load_config(
    path: Path | str | None = None, base: AnalysisConfig | None = None
) -> AnalysisConfig:
    """Read the configuration of a TOML file, whose values take the place of those of `base`.

    Raises ConfigError, with every fault of the file and its place.
    """
    base = base or AnalysisConfig()
    if path is None:
        return base
    read = read_toml(path, AnalysisConfig, base)
    folder = Path(path).absolute().parent
    found = {name: _from(folder, correction) for name, correction in read.corrections.items()}
    return read.model_copy(update={"corrections": found, "data": read.data.below(folder)})


_AnyTable = TypeVar("_AnyTable", bound=Table)


def _from(folder: Path, table: _AnyTable) -> _AnyTable:
    """Name the files of a table by their whole path; they are given from a folder."""
    changed: dict[str, Any] = {"file": str(folder / table.file)}
    if isinstance(table, Correction) and table.tag_efficiency is not None:
        changed["tag_efficiency"] = _from(folder, table.tag_efficiency)
    return table.model_copy(update=changed)


def flat(values: Mapping[str, Any], section: str = "") -> dict[str, Any]:
    """Every value of a dumped configuration by its full name, such as `jet.min_pt`."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{section}{key}.")
        else:
            found[section + key] = value
    return found
