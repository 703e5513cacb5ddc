"""Presets `agc-v1` and `agc-v2`: the ttbar analysis of the Analysis Grand Challenge (IRIS-HEP) on NanoAOD.

They are as its code has it (https://github.com/iris-hep/analysis-grand-challenge), which differs from its
documentation: the b tag is strict, no trigger, no generator weight and no data are asked for, and the
energy scale of jets is varied one-sided with the masses kept. Its energy resolution is a random draw that
is other each time; here the draw of a jet is the same in every run.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.config import AnalysisConfig
from analysis.presets import lesson
from analysis.selection.channels import Channel
from analysis.selection.kernels import smeared
from analysis.selection.preset import CHANNEL_LABELS, Preset
from analysis.selection.selection import Quantity, Selection
from analysis.selection.variations import Objects, Shift, Weight

SCALE = 1.03
"""Factor of `pt_scale_up`."""
RESOLUTION = 0.05
"""Relative width of `pt_res_up`."""

_STRICTLY_ABOVE = {"btag_threshold": math.nextafter(0.5, 1.0)}
_NO_CUT = {"max_abs_eta": 100.0, "max_sip3d": 1e9}
_COMMON: dict[str, Any] = {
    "control": {"enabled": False},
    "multijet": {"enabled": False},
    "generator_weights": False,
}

V1 = AnalysisConfig.model_validate(
    {
        **_COMMON,
        "electron": {"min_pt": 25, "tight": False, **_NO_CUT},
        "muon": {"min_pt": 25, "tight": False, "max_isolation": 1e9, **_NO_CUT},
        "jet": {"min_pt": 25, "max_abs_eta": 100.0, **_STRICTLY_ABOVE},
    }
)

V2 = AnalysisConfig.model_validate(
    {**_COMMON, "jet": {"identification": "tight_lepton_veto", **_STRICTLY_ABOVE}}
)

CHANNELS = tuple(Channel(name, name, (), CHANNEL_LABELS[name]) for name in ("electron", "muon"))


def _scaled(jets: Objects) -> NDArray[Any]:
    return SCALE * np.asarray(jets.pt, dtype=np.float64)


def _smeared(jets: Objects) -> NDArray[Any]:
    """Multiply pT by a number of a normal distribution around 1 that belongs to the jet.

    The number follows from the jet's own momentum, by the mixing function of SplitMix64 (Steele, Lea,
    Flood, OOPSLA 2014) and the transformation of Box and Muller, so that chunks and executors agree.
    """
    return np.asarray(smeared(jets.pt, jets.eta, jets.phi, RESOLUTION))


SHIFTS = (
    Shift("pt_scale", up=_scaled, mass_scales=False),
    Shift("pt_res", up=_smeared, mass_scales=False),
)


def _btag(selection: Selection, jet: int, jets: int, slope: float) -> Quantity:
    """1 + slope × pT of a good jet, counted in the order of the file (slope in 1/GeV)."""
    factor: Quantity = 1.0 + slope * selection.jets.stored_pt(jets)[jet]
    return factor


def weights(config: AnalysisConfig) -> list[Weight]:
    """Vary the b tag of the first jets, and the yields that depend on the choice of scales."""
    btag = partial(_btag, jets=config.variations.btag_jets)
    return [*lesson.btag_weights(config, btag), *lesson.scale_weights(config)]


MODEL: dict[str, Any] = {
    "processes": ["ttbar", "single_top_s_chan", "single_top_t_chan", "single_top_tW", "wjets"],
    "observed": "pseudodata",
    "pseudodata_backgrounds": ["wjets"],
    "two_sided": "asymmetric",
    "significance": 1.0,
    "pruning": 0.0,
    "left_out": [
        "b-tag scale factors", "cross section t-channel", "cross section tW", "cross section W+jets",
        "cross section QCD",
    ],
}  # fmt: skip
"""The model of the fit (its cabinetry_config.yml): every shape of its samples is a prediction, no rate of a
background is uncertain, and jet energies have one direction, which is mirrored."""


def _preset(name: str, summary: str, config: AnalysisConfig) -> Preset:
    return Preset(
        name=name,
        summary=summary,
        config=config,
        channels=lambda _: CHANNELS,
        regions=lambda _: lesson.REGIONS,
        shifts=lambda config: SHIFTS if config.variations.jet_energy else (),
        weights=weights,
        corrections=lambda _: (),
        controls=lambda _: (),
        format="nanoaod",
        model=MODEL,
    )


AGC_V1 = _preset(
    "agc-v1", "the Analysis Grand Challenge v1 on NanoAOD: any lepton, jets above 25 GeV", V1
)
AGC_V2 = _preset(
    "agc-v2", "the Analysis Grand Challenge v2 on NanoAOD: tight leptons, jet identification", V2
)
