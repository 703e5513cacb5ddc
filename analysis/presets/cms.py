"""Preset `cms`: the measurement as the CMS collaboration makes it, as far as the ntuples allow.

Selection, categories and observables follow CMS, JHEP 09 (2017) 051 (the same data); what differs from it
and from the lesson is in docs/physics.md. The categories of the electron and muon channels are fitted
apart.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.config import AnalysisConfig, Binning, JetScaleSources, TagShares
from analysis.presets import lesson
from analysis.presets.cms_fit import MODEL
from analysis.selection.kernels import Bools, scaled_by_part
from analysis.selection.preset import Preset
from analysis.selection.regions import Region
from analysis.selection.selection import Quantity, Selection
from analysis.selection.variations import Objects, Shift, Weight

CONFIG = AnalysisConfig.model_validate(
    {
        "further_leptons": {"excluded": True},
        "jet": {"min_lepton_delta_r": 0.4},
        "regions": {"min_jets": 3},
        "trigger": {"simulation": "channel"},
        "variations": {
            "btag_jets": 0,
            "btag_scale_factors": True,
            "scale_uncertainty": {"wjets": 0.0},
        },
        "control": {"n_jets": {"bins": 10, "low": 2.5, "high": 12.5}},
    }
)

MANY_JETS = 4
"""Categories have fewer jets than this, or as many and more."""

SOURCES = ("absolute", "pile_up", "relative")
"""Sources of the energy scale, as `kernels.scaled_by_part` counts them."""
_HEAVY = (4, 5)
"""Hadron flavours of c and b jets."""


def _few_jets(selection: Selection) -> Bools:
    mask: Bools = selection.enough_jets & (selection.n_jets < MANY_JETS)
    return mask


def _many_jets(selection: Selection) -> Bools:
    mask: Bools = selection.enough_jets & (selection.n_jets >= MANY_JETS)
    return mask


def _lepton_b_mass(selection: Selection) -> Quantity:
    return selection.lepton_b_mass


def _lepton_pt(selection: Selection) -> Quantity:
    values: Quantity = selection.lepton.pt
    return values


def _n_jets(selection: Selection) -> Quantity:
    return np.asarray(selection.n_jets, dtype=np.float64)


_WITH_LEPTON = frozenset({"lepton.phi"})
_MASS = Binning(bins=30, low=0, high=300)

REGIONS = (
    Region(
        "3j1b", (_few_jets, lesson.one_b_tag), _lepton_b_mass,
        r"$m_{\ell b}$ [GeV]", "3 jets, 1 b tag", _WITH_LEPTON, _MASS,
    ),
    Region(
        "3j2b", (_few_jets, lesson.two_b_tags), _lepton_b_mass,
        r"min $m_{\ell b}$ [GeV]", r"3 jets, $\geq$ 2 b tags", _WITH_LEPTON, _MASS,
    ),
    Region(
        "4j1b", (_many_jets, lesson.one_b_tag), lesson.ht, r"$H_T$ [GeV]", r"$\geq$ 4 jets, 1 b tag",
        binning=Binning(bins=24, low=120, high=600),
    ),
    Region(
        "4j2b", (_many_jets, lesson.two_b_tags), lesson.top_mass,
        r"$m_{bjj}$ [GeV]", r"$\geq$ 4 jets, $\geq$ 2 b tags",
    ),
)  # fmt: skip
"""Categories: no event is in two. `4j2b` has the configuration's axis, on which the top peak is fitted."""


_OTHERS = (
    ("ht", lesson.ht, r"$H_T$ [GeV]", Binning(bins=12, low=80, high=560)),
    ("lepton_b_mass", _lepton_b_mass, r"min $m_{\ell b}$ [GeV]", Binning(bins=12, low=0, high=240)),
    ("top_mass", lesson.top_mass, r"$m_{bjj}$ [GeV]", Binning(bins=12, low=80, high=440)),
    ("lepton_pt", _lepton_pt, r"Lepton $p_T$ [GeV]", Binning(bins=12, low=30, high=210)),
    ("n_jets", _n_jets, "Jets", Binning(bins=6, low=3.5, high=9.5)),
)
"""Observables: name, function, label, axis."""


def checks() -> list[Region]:
    """Histogram the events of each category by the observables that are not its own, to see them after the fit.

    The missing momentum is not among them: its uncertainty is not varied.
    """
    return [
        Region(
            f"{region.name}_{name}",
            region.where,
            observable,
            label,
            region.label,
            _WITH_LEPTON,
            binning,
        )
        for region in REGIONS
        for name, observable, label, binning in _OTHERS
        if observable is not region.observable and (name != "n_jets" or "4j" in region.name)
    ]


def _scaled(jets: Objects, source: int, column: str, sources: JetScaleSources) -> NDArray[Any]:
    """Shift the jets by the part of their energy scale's total uncertainty that is of one source."""
    shifted: NDArray[Any] = scaled_by_part(
        jets.pt, getattr(jets, column), jets.eta,
        sources.pile_up_pt, sources.central_abs_eta, sources.forward, source,
    )  # fmt: skip
    return shifted


def shifts(config: AnalysisConfig) -> list[Shift]:
    """Vary the jets' energy scale, source by source, and their resolution."""
    if not config.variations.jet_energy:
        return []
    given = config.variations.jet_scale_sources
    scales = [
        Shift(
            f"jes_{source}",
            up=partial(_scaled, source=number, column="corrptUp", sources=given),
            down=partial(_scaled, source=number, column="corrptDown", sources=given),
            uses=frozenset({"jet.corrptUp", "jet.corrptDown"}),
        )
        for number, source in enumerate(SOURCES)
    ]
    return [*scales, Shift("pt_res", up="corrptSmearUp", down="corrptSmearDown")]


def weights(config: AnalysisConfig) -> list[Weight]:
    """Vary the b tag of b and c jets, and that of light ones; the heavy flavour of W+jets."""
    found = lesson.scale_weights(config)
    if config.variations.btag_scale_factors:
        found += [_tag(flavour, config.variations.tag_shares) for flavour in ("heavy", "light")]
    if config.variations.heavy_flavour:
        found.append(
            Weight(
                "wjets_heavy_flavour",
                up=partial(_with_heavy_jet, factor=1 + config.variations.heavy_flavour),
                down=partial(_with_heavy_jet, factor=1 - config.variations.heavy_flavour),
                uses=frozenset({"jet.hflav"}),
                processes=frozenset({"wjets"}),
                group="samples",
            )
        )
    return found


def corrections(config: AnalysisConfig) -> list[Weight]:
    """Weight by the ntuples' b-tag scale factors."""
    if not config.variations.btag_scale_factors:
        return []
    return [Weight("btag_sf", nominal=partial(_column, name="btag.Weight"), uses={"btag.Weight"})]


def _column(selection: Selection, name: str) -> Quantity:
    values: Quantity = selection.column(name)
    return values


def _tag(flavour: str, shares: TagShares) -> Weight:
    varied = partial(_tag_weight, heavy=flavour == "heavy", shares=shares)
    return Weight(
        f"btag_{flavour}",
        up=partial(varied, column="btag.WeightUp", sign=1),
        down=partial(varied, column="btag.WeightDn", sign=-1),
        uses=frozenset({"btag.Weight", "btag.WeightUp", "btag.WeightDn", "jet.hflav"}),
        group="btag",
    )


def _tag_weight(
    selection: Selection, heavy: bool, column: str, sign: int, shares: TagShares
) -> Quantity:
    """Part of the ntuples' varied b-tag weight, over the nominal one, that one kind of flavours has.

    The logarithm of an event's ratio is what the scale factors of the jets of both kinds explain (method 1a:
    a factor of each tagged jet, and of each other one (1 - SF ε) / (1 - ε)), and a rest, which is shared as
    these are; without such jets it is of the heavy ones.
    """
    explained = selection.jets.once(
        ("b tags", sign, shares), lambda: _explained(selection, sign, shares)
    )
    own, other = explained if heavy else explained[::-1]
    total = np.log(selection.column(column) / selection.column("btag.Weight"))
    either = np.abs(own) + np.abs(other)
    part = np.full_like(own, float(heavy))
    np.divide(np.abs(own), either, out=part, where=either > 0)
    return np.asarray(np.exp(own + part * (total - own - other)))


def _explained(selection: Selection, sign: int, shares: TagShares) -> tuple[Quantity, Quantity]:
    """Logarithm of the change of an event's weight by its heavy, and by its light jets; shape (events,)."""
    flavour, tagged = (selection.jets.flat(field) for field in ("hflav", "btagged"))
    is_b, is_c = flavour == _HEAVY[1], flavour == _HEAVY[0]
    factor = 1 + sign * np.select(
        [is_b, is_c], [shares.uncertainty_b, shares.uncertainty_c], shares.uncertainty_light
    )
    efficiency = np.select(
        [is_b, is_c], [shares.efficiency_b, shares.efficiency_c], shares.efficiency_light
    )
    each = np.log(np.where(tagged, factor, (1 - factor * efficiency) / (1 - efficiency)))
    kind = is_b | is_c
    return selection.jets.summed(each * kind), selection.jets.summed(each * ~kind)


def _with_heavy_jet(selection: Selection, factor: float) -> Quantity:
    """`factor` for events with a good b or c jet, else 1."""
    heavy = np.isin(selection.jets.flat("hflav"), _HEAVY)
    return np.where(selection.jets.summed(heavy) > 0, factor, 1.0)


CMS = Preset(
    name="cms",
    summary="lepton+jets as CMS measures it: 3 and 4 jets by 1 and 2 b tags, cleaned jets, scale factors",
    config=CONFIG,
    channels=lambda _: lesson.CHANNELS,
    regions=lambda _: REGIONS,
    shifts=shifts,
    weights=weights,
    corrections=corrections,
    controls=lesson.controls,
    model=MODEL,
)

CHECKS = CMS._replace(
    name="cms-checks",
    summary="cms, and other observables of each category, which are shown after the fit and not fitted",
    regions=lambda _: (*REGIONS, *checks()),
)
