"""The POET flat layout of what is simulated: its branches, in float32 and int32; the precision of the sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np

from analysis.datasets.ntuples import COLLECTIONS, Columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

JETS = ("fatjet", "jet")
TRUTH_JET = "hflav"
TAG_WEIGHTS = ("btag_Weight", "btag_WeightUp", "btag_WeightDn")

SAMPLE_BRANCHES = (
    *(
        f"electron_{x}"
        for x in [
            "pt",
            "eta",
            "phi",
            "e",
            "ch",
            "iso",
            "veto",
            "isLoose",
            "isMedium",
            "isTight",
            "sip3d",
        ]
    ),
    *(
        f"jet_{x}"
        for x in [
            "pt",
            "eta",
            "phi",
            "e",
            "mass",
            "ch",
            "btag",
            "hflav",
            "corrpt",
            "corrptUp",
            "corrptDown",
            "corrptSmearUp",
            "corrptSmearDown",
            "corrmass",
            "corre",
        ]
    ),
    *TAG_WEIGHTS,
    "met_pt",
    "met_phi",
    *(
        f"muon_{x}"
        for x in [
            "pt",
            "eta",
            "phi",
            "e",
            "ch",
            "isLoose",
            "isTight",
            "isSoft",
            "pfreliso04DBCorr",
            "sip3d",
            "jetidx",
        ]
    ),
    "PV_npvs",
    "trig_Ele22_eta2p1_WPLoose_Gsf",
    "trig_IsoMu20",
    "trig_IsoTkMu20",
)
"""Branches of the bundled sample: what the analysis uses, nothing that follows from the rest."""

STAND_INS = {"electron_veto": "electron_isLoose", "muon_isLoose": "muon_isSoft"}
"""Branch of the bundled sample -> the tighter one of which it has the values."""

# Mantissa bits of the bundled sample, as NanoAOD does it; full float32 has 23.
DEFAULT_BITS = 10
BITS = {"btag": 8, "iso": 7, "pfreliso04DBCorr": 7, "sip3d": 6, "ch": 1, "mass": 6, "corrmass": 6}


def _momentum(objects: ak.Array, pt: Any, prefix: str = "") -> dict[str, Any]:
    return {
        f"{prefix}px": pt * np.cos(objects.phi),
        f"{prefix}py": pt * np.sin(objects.phi),
        f"{prefix}pz": pt * np.sinh(objects.eta),
    }


def branches(detector_columns: Columns) -> Columns:
    """Make the POET branches (without counters) of the pre-selected events of `response.respond`."""
    selected = detector_columns["selected"]
    result: Columns = {}
    for name, value in detector_columns.items():
        if name in COLLECTIONS:
            objects = value[selected]
            columns = {field: objects[field] for field in objects.fields}
            columns |= _momentum(objects, objects.pt)
            if name in JETS:
                del columns["px"], columns["py"], columns["pz"]
                columns |= _momentum(objects, objects.corrpt, "corr")
            result |= {f"{name}_{field}": values for field, values in columns.items()}
        elif name != "selected":
            result[name] = value[selected]
    return {name: _poet_type(result[name]) for name in sorted(result)}


def _poet_type(values: Any) -> Any:
    """Convert floats to float32, integers and flags to int32 (jagged or flat)."""
    values = ak.Array(values)
    kind = str(ak.to_numpy(ak.flatten(values, axis=None)[:1]).dtype.kind)
    return ak.values_astype(values, np.float32 if kind == "f" else np.int32)


def as_collisions(columns: Columns) -> Columns:
    """Take the truth out of events: no flavour, no weights, no resolution variations."""
    result = dict(columns)
    if f"jet_{TRUTH_JET}" in result:
        result[f"jet_{TRUTH_JET}"] = ak.zeros_like(result[f"jet_{TRUTH_JET}"])
    for name in TAG_WEIGHTS:
        result[name] = ak.ones_like(result[name])
    for name in ("jet_corrptSmearUp", "jet_corrptSmearDown"):
        result[name] = result["jet_corrpt"]
    return result


def truncate_mantissa(values: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """Round float32 `values` to `bits` explicit mantissa bits; the rest is zero and compresses.

    Round half up in magnitude, as NanoAOD's MiniFloatConverter::reduceMantissaToNbitsRounding.
    """
    shift = 23 - bits
    as_integer = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = (as_integer + np.uint32(1 << (shift - 1))) & np.uint32(
        (0xFFFFFFFF << shift) & 0xFFFFFFFF
    )
    return np.where(np.isfinite(values), rounded.view(np.float32), values).astype(np.float32)


def truncated(values: Any, bits: int) -> Any:
    """Keep `bits` mantissa bits of the float32 numbers of an awkward array."""
    return ak.transform(_Truncation(bits), values)


def reduced(columns: Columns) -> Columns:
    """Keep the branches of the bundled sample, with truncated mantissas."""
    return {
        name: truncated(
            columns[STAND_INS.get(name, name)], BITS.get(name.split("_", 1)[1], DEFAULT_BITS)
        )
        for name in SAMPLE_BRANCHES
    }


class _Truncation:
    """Acts on the numbers of an awkward array, whatever its nesting."""

    def __init__(self, bits: int) -> None:
        self.bits = bits

    def __call__(self, layout: Any, **_: Any) -> Any:
        if not layout.is_numpy:
            return None
        if layout.dtype != np.float32:
            return layout
        return ak.contents.NumpyArray(truncate_mantissa(layout.data, self.bits))
