"""Preset `lesson`: the CMS Open Data workshop's ttbar analysis, the default.

Selection and variations follow the workshop's lesson of 2022, which follows CMS, JHEP 09 (2017) 051.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from analysis.config import AnalysisConfig
from analysis.selection.channels import Channel
from analysis.selection.control_plots import Control, enough_jets
from analysis.selection.kernels import Bools
from analysis.selection.preset import CHANNEL_LABELS, Preset
from analysis.selection.regions import Region
from analysis.selection.selection import Quantity, Selection
from analysis.selection.variations import Shift, Weight

CHANNELS = (
    Channel("electron", "electron", ("Ele22_eta2p1_WPLoose_Gsf",), CHANNEL_LABELS["electron"]),
    Channel("muon", "muon", ("IsoMu20", "IsoTkMu20"), CHANNEL_LABELS["muon"]),
)


def one_b_tag(selection: Selection) -> Bools:
    """Select events with one b tag."""
    mask: Bools = selection.n_btags == 1
    return mask


def two_b_tags(selection: Selection) -> Bools:
    """Select events with two b tags or more."""
    mask: Bools = selection.n_btags >= 2
    return mask


def ht(selection: Selection) -> Quantity:
    """Read H_T of events, GeV."""
    return selection.ht


def top_mass(selection: Selection) -> Quantity:
    """Read the mass of the hadronic top candidate of events, GeV."""
    return selection.top_mass


REGIONS = (
    Region("4j1b", (enough_jets, one_b_tag), ht, r"$H_T$ [GeV]", "1 b tag"),
    Region("4j2b", (enough_jets, two_b_tags), top_mass, r"$m_{bjj}$ [GeV]", r"$\geq$ 2 b tags"),
)

SHIFTS = (
    Shift("pt_scale", up="corrptUp", down="corrptDown"),
    Shift("pt_res", up="corrptSmearUp", down="corrptSmearDown"),
)
"""Energy scale and resolution of the jets, from the shifted momenta of the ntuples."""


def weights(config: AnalysisConfig) -> list[Weight]:
    """Vary the b tag of the leading jets, and the yields that depend on the choice of scales."""
    tag = partial(_btag, jets=config.variations.btag_jets)
    return [*btag_weights(config, tag), *scale_weights(config)]


def btag_weights(config: AnalysisConfig, factor: Callable[..., Quantity]) -> list[Weight]:
    """Vary the b tag of one jet each by `factor`, a function of the selection, `jet` and `slope`."""
    settings = config.variations
    slope = settings.btag_slope / settings.btag_reference_pt
    return [
        Weight(
            f"btag_var_{jet}",
            up=partial(factor, jet=jet, slope=slope),
            down=partial(factor, jet=jet, slope=-slope),
            group="btag",
        )
        for jet in range(settings.btag_jets)
    ]


def scale_weights(config: AnalysisConfig) -> list[Weight]:
    """Vary the yields that depend on the choice of scales; empty where none does."""
    scales = {name: value for name, value in config.variations.scale_uncertainty.items() if value}
    if not scales:
        return []
    return [
        Weight(
            "scale_var",
            up=partial(_scale, uncertainties=scales, sign=1.0),
            down=partial(_scale, uncertainties=scales, sign=-1.0),
            processes=frozenset(scales),
            group="samples",
        )
    ]


def _btag(selection: Selection, jet: int, jets: int, slope: float) -> Quantity:
    """1 + slope × pT of the jet, as in the Analysis Grand Challenge (slope in 1/GeV)."""
    factor: Quantity = 1.0 + slope * selection.jets.leading_pt(jets)[jet]
    return factor


def _scale(selection: Selection, uncertainties: dict[str, float], sign: float) -> float:
    return 1.0 + sign * uncertainties[selection.sample.process]


def corrections(config: AnalysisConfig) -> list[Weight]:
    """Weight by the ntuples' b-tag scale factors, if the configuration asks for them."""
    if not config.variations.btag_scale_factors:
        return []
    return [
        Weight(
            "btag_sf",
            nominal=partial(_column, name="btag.Weight"),
            up=partial(_column, name="btag.WeightUp"),
            down=partial(_column, name="btag.WeightDn"),
            uses=frozenset({"btag.Weight", "btag.WeightUp", "btag.WeightDn"}),
            group="btag",
        )
    ]


def _column(selection: Selection, name: str) -> Quantity:
    values: Quantity = selection.column(name)
    return values


def controls(config: AnalysisConfig) -> list[Control]:
    """Plot the lepton, jets and event before b tagging."""
    axes = config.control
    if not axes.enabled:
        return []
    return [
        Control("lepton_pt", lambda s: s.lepton.pt, axes.lepton_pt, r"Lepton $p_T$ [GeV]"),
        Control("lepton_eta", lambda s: s.lepton.eta, axes.lepton_eta, r"Lepton $\eta$"),
        Control("jet_pt", lambda s: s.jets.values("pt"), axes.jet_pt, r"Jet $p_T$ [GeV]"),
        Control("n_jets", lambda s: s.n_jets, axes.n_jets, "Jets"),
        Control("n_btags", lambda s: s.n_btags, axes.n_btags, "b-tagged jets"),
        Control(
            "met",
            lambda s: s.met.pt,
            axes.met,
            r"$p_T^{miss}$ [GeV]",
            uses=frozenset({"met.pt"}),
        ),
        Control(
            "n_vertices",
            lambda s: s.n_vertices,
            axes.n_vertices,
            "Primary vertices",
            uses=frozenset({"PV.npvs"}),
        ),
    ]


LESSON = Preset(
    name="lesson",
    summary="lepton+jets as the CMS Open Data workshop has it: 4j1b by H_T, 4j2b by the top mass",
    config=AnalysisConfig(),
    channels=lambda _: CHANNELS,
    regions=lambda _: REGIONS,
    shifts=lambda config: SHIFTS if config.variations.jet_energy else (),
    weights=weights,
    corrections=corrections,
    controls=controls,
)
