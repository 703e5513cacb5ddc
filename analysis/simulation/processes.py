"""What can be generated: Pythia settings, filters and reference cross sections of every dataset.

Reference cross sections are those of the 12 CMS 2015 datasets (tt̄: 831.76 pb, NNLO+NNLL). Where the
leading-order cross section of Pythia is different, the catalogue says both and their ratio.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from analysis.common.errors import SimulationError, did_you_mean

Kind = Literal["signal", "background"]

COMMON = (
    "Print:quiet = on",
    "Beams:eCM = 13000.",  # Run 2 of 2015
    "Random:setSeed = on",
)
LEPTONIC_W = ("24:onMode = off", "24:onIfAny = 11 13 15")
# A b̄ quark's hadrons decay to a muon, those of the b quark freely: every event has the muon that is
# asked for, `branching` carries what was forced. A hadron and its antiparticle share one table of
# decays, so all channels first go off for the one that holds the b̄ (3: off for the particle, 2: for
# the antiparticle) and then the muonic ones on for both.
MUONIC_BBAR = tuple(
    setting
    for hadron, mode in ((511, 3), (521, 3), (531, 3), (5122, 2))
    for setting in (f"{hadron}:onMode = {mode}", f"{hadron}:onIfAny = 13")
)


@dataclass(frozen=True)
class Filters:
    """Vetoes inside the generator; every one of them is counted, so that rates stay exact."""

    lepton_pt: float = 0.0
    """An e, mu or tau of the hard process above this pT [GeV] (0: no filter)."""
    lepton_abs_eta: float = 2.6
    """Acceptance of that lepton; the analysis stops at 2.1, directions hardly change after."""
    top_charge: int = 0
    """Keep hard processes with a top (1), an antitop (-1) or any (0); others are no trials."""
    parton_jets: int = 0
    """Parton clusters asked for when the shower has come down to `shower_scale`."""
    parton_jet_pt: float = 18.0
    """pT of such a cluster [GeV]."""
    showered_jet_pt: float = 18.0
    """The same once all showers are over, where Pythia asks again: after decays of resonances."""
    parton_jet_abs_eta: float = 2.9
    """Acceptance of such a cluster; jets count up to 2.4, cone 0.4."""
    shower_scale: float = 12.0
    """pT of the shower evolution [GeV] at which clusters are counted."""


@dataclass(frozen=True)
class Process:
    """One dataset: `settings` are Pythia's, cross sections in pb."""

    process: str
    settings: tuple[str, ...]
    kind: Kind
    variation: str = "nominal"
    slice: str = ""
    reference_pb: float | None = None
    """Cross section to normalise to; None: Pythia's own, times `k_factor`."""
    k_factor: float = 1.0
    branching: float = 1.0
    """Branching fraction that the settings force and Pythia's cross section does not contain."""
    filters: Filters = field(default_factory=Filters)
    responses: int = 1
    """Detector responses drawn for each generated event, for processes that seldom have a trigger."""
    user_process: str = ""
    """A matrix element of this package (`tW`)."""
    note: str = ""

    @property
    def name(self) -> str:
        """Name of the dataset: `process__variation` and, with several, `__slice`."""
        return "__".join(part for part in (self.process, self.variation, self.slice) if part)

    def content(self) -> dict[str, Any]:
        """What determines the events (not the normalisation or the words), for a digest."""
        content = asdict(self)
        for key in ("reference_pb", "k_factor", "branching", "note", "kind"):
            del content[key]
        return content


# The shower of a t-channel event stops at the factorisation scale, which gives 0.6 of the CMS yields
# with four jets; without a limit it is 1.2 to 1.6 of them. 1.6 times that scale is tuned.
T_CHANNEL = ("Top:qq2tq(t:W) = on", *LEPTONIC_W, "SpaceShower:pTmaxFudge = 1.6")
LEPTON = Filters(lepton_pt=20.0)
# 22 GeV in place of 18 loses 6 % (p̂T 40 to 80) and 2 % (above 80) of the events with four jets of
# 28 GeV, and spares a third of the showers.
MULTIJET = Filters(lepton_pt=20.0, parton_jets=3, parton_jet_pt=22.0)
TTBAR = ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on")
TTBAR_PB = 831.76


def _alpha_s_scales(factor: float) -> tuple[str, ...]:
    """Multiply the renormalisation scale of hard process, initial- and final-state shower by `factor`."""
    squared = f"{factor**2:.6g}"
    return (
        f"SigmaProcess:renormMultFac = {squared}",
        f"SpaceShower:renormMultFac = {squared}",
        f"TimeShower:renormMultFac = {squared}",
    )


def _ttbar(variation: str, settings: tuple[str, ...], note: str) -> Process:
    return Process(
        process="ttbar",
        variation=variation,
        kind="signal",
        settings=TTBAR + settings,
        reference_pb=TTBAR_PB,
        filters=LEPTON,
        note=note,
    )


def _wjets(slice_name: str, low: float, high: float) -> Process:
    limit = (f"PhaseSpace:pTHatMax = {high:g}",) if high else ()
    return Process(
        process="wjets",
        slice=slice_name,
        kind="background",
        settings=(
            "WeakBosonAndParton:qqbar2Wg = on",
            "WeakBosonAndParton:qg2Wq = on",
            *LEPTONIC_W,
            f"PhaseSpace:pTHatMin = {low:g}",
            *limit,
        ),
        k_factor=8.2,
        filters=MULTIJET,
        note=(
            "W + 1 parton at leading order with parton showers: it has no multi-jet matrix elements "
            "and too few events with four jets. k_factor normalises the selected events to the CMS "
            "template of the region 4j1b (38578 events at 2256.38 /pb); it is no k-factor of QCD"
        ),
    )


ALL = (
    _ttbar("nominal", (), "Pythia 8 default (Monash) tune"),
    _ttbar("scaleup", _alpha_s_scales(2**0.5), "alpha_s scales of process and showers x sqrt(2)"),
    _ttbar("scaledown", _alpha_s_scales(0.5**0.5), "alpha_s scales of process, showers / sqrt(2)"),
    _ttbar(
        "ME_var",
        ("SpaceShower:pTdampFudge = 4.0", "SpaceShower:alphaSvalue = 0.15"),
        "more and harder initial-state radiation, damped above four times the usual pT",
    ),
    _ttbar(
        "PS_var",
        (
            "SpaceShower:pTmaxMatch = 1",
            "SpaceShower:alphaSvalue = 0.12",
            "TimeShower:alphaSvalue = 0.115",
        ),
        "showers that start at the factorisation scale, with smaller alpha_s",
    ),
    Process(
        process="single_top_t_chan",
        kind="background",
        settings=T_CHANNEL,
        reference_pb=44.33,
        filters=Filters(lepton_pt=20.0, top_charge=1),
        note="leptonic top decays only, as in the CMS dataset",
    ),
    Process(
        process="single_atop_t_chan",
        kind="background",
        settings=T_CHANNEL,
        reference_pb=26.38,
        filters=Filters(lepton_pt=20.0, top_charge=-1),
        note="leptonic top decays only, as in the CMS dataset",
    ),
    Process(
        process="single_top_tW",
        kind="background",
        settings=(),
        reference_pb=71.2,
        filters=LEPTON,
        user_process="tW",
        note="b g -> t W at leading order, top and antitop together (35.6 pb each)",
    ),
    _wjets("pthat40to80", 40.0, 80.0),
    _wjets("pthat80", 80.0, 0.0),
    Process(
        process="qcd",
        kind="background",
        settings=(
            "HardQCD:gg2bbbar = on",
            "HardQCD:qqbar2bbbar = on",
            "PhaseSpace:pTHatMin = 60.",
            *MUONIC_BBAR,
        ),
        branching=0.21,
        responses=2,
        filters=Filters(parton_jets=4, parton_jet_pt=25.0),
        note=(
            "b bbar with the hadrons of the bbar forced to a muon; branching = 2 x 0.105 (PDG: "
            "b -> mu X 10.95 % per b quark, direct) multiplies the leading-order cross section"
        ),
    ),
)
BY_NAME = {process.name: process for process in ALL}
PROCESS_NAMES = tuple(dict.fromkeys(process.process for process in ALL))


def find(names: list[str]) -> list[Process]:
    """Find the datasets that `names` mean: a process (nominal), `all`, or a dataset's full name.

    A process name gives all its slices of the nominal variation, `ttbar__scaleup` just that one.
    Raises SimulationError, with the nearest names, for an unknown one.
    """
    chosen: dict[str, Process] = {}
    for name in names:
        if name == "all":
            found = list(ALL)
        elif name in BY_NAME:
            found = [BY_NAME[name]]
        else:
            found = [p for p in ALL if name in (p.process, f"{p.process}__{p.variation}")]
            if name in PROCESS_NAMES:
                found = [p for p in found if p.variation == "nominal"]
        if not found:
            hint = did_you_mean(name, [*PROCESS_NAMES, *BY_NAME, "all"])
            msg = f"unknown process {name!r}: {hint}"
            raise SimulationError(msg)
        chosen.update({process.name: process for process in found})
    return list(chosen.values())
