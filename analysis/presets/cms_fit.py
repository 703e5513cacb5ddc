"""The model of the fit that preset `cms` brings, as a TOML file of `--model` would have it.

The binnings are coarse enough for samples smaller than the data, and the last bins have what lies beyond
them; docs/measurement.md says how each uncertainty is treated, and why.
"""

from __future__ import annotations

from typing import Any

_SIMULATED = ["ttbar", "single_top_t_chan", "single_atop_t_chan", "single_top_tW", "wjets"]
_ACCEPTANCE = {"acceptance": "apart"}


def _two_sided(name: str, **more: Any) -> dict[str, Any]:
    return {"up": f"{name}_up", "down": f"{name}_down", **more}


MODEL: dict[str, Any] = {
    "regions": ["3j1b", "3j2b", "4j1b", "4j2b"],
    "channels": "apart",
    "binnings": {
        "3j1b": {"bins": 7, "low": 30, "high": 240},
        "3j2b": {"bins": 5, "low": 30, "high": 180},
        "4j1b": {"bins": 11, "low": 160, "high": 600},
    },
    "overflow": True,
    "splits": {
        "jets": {"3": ["3j1b", "3j2b"], "4 or more": ["4j1b", "4j2b"]},
        "b tags": {"1": ["3j1b", "4j1b"], "2 or more": ["3j2b", "4j2b"]},
    },
    "smoothing": True,
    "luminosity_uncertainty": 0.016,  # Eur. Phys. J. C 81 (2021) 800; record 1055 of the portal
    "variations": {
        "ME variation": _ACCEPTANCE,
        "PS variation": _ACCEPTANCE,
        "ttbar scale variations": _ACCEPTANCE,
        **{
            f"Jet energy scale, {words}": _two_sided(f"jes_{source}")
            for source, words in (
                ("absolute", "absolute"), ("pile_up", "pile-up"), ("relative", "relative")
            )
        },
        "b-tag heavy flavour": _two_sided("btag_heavy"),
        "b-tag light flavour": _two_sided("btag_light"),
        "W+jets heavy flavour": _two_sided("wjets_heavy_flavour", processes=["wjets"]),
    },
    "cross_section_uncertainties": {
        # aMC@NLO without its negative weights is high by 1.5 with three jets and more with four: measured.
        "W+jets with 3 jets": {
            "processes": ["wjets"], "relative": "free", "regions": ["3j1b", "3j2b"]
        },
        "W+jets with 4 jets": {
            "processes": ["wjets"], "relative": "free", "regions": ["4j1b", "4j2b"]
        },
        # The inclusive 4 and 5.4 % do not cover the rate with so many jets: assumed.
        "cross section t-channel": {"relative": 0.15},
        "cross section tW": {"relative": 0.15},
        "cross section QCD": {"correlated": "in a channel"},
        # Trigger, identification and isolation, for which the ntuples have no scale factors: assumed.
        "Lepton efficiency": {
            "processes": _SIMULATED, "relative": 0.015, "correlated": "in a channel"
        },
    },
    "left_out": [
        "Jet energy scale", "b-tag scale factors", *(f"b-tag NP {i}" for i in range(1, 5)),
        "W+jets scale variations", "cross section W+jets",
    ],
}  # fmt: skip
