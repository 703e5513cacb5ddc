"""Makes POET flat ntuples for the tests, and NanoAOD: events that pass often."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

from analysis.datasets import ntuples
from analysis.simulation import nanoaod
from schemas import layout

INTEGERS = {
    "ch", "isLoose", "isMedium", "isTight", "isSoft", "isHighPt", "veto", "hflav", "jetidx",
    "genpartidx", "npvs", "npvsGood", "decaymode", *layout.FLAT_FIELDS["trig"],
}  # fmt: skip


FEW = {
    "electron": ("e", "pt", "eta", "phi", "ch", "veto", "isLoose", "isTight", "sip3d"),
    "muon": (
        "e", "pt", "eta", "phi", "ch", "isLoose", "isTight", "pfreliso04DBCorr", "jetidx", "ip3d",
        "sip3d",
    ),
    "jet": (
        "pt", "eta", "phi", "mass", "btag", "hflav", "corrpt", "corrptUp", "corrptDown",
        "corrptSmearUp", "corrptSmearDown", "corrmass",
    ),
    "met": ("pt", "phi"),
    **{name: tuple(layout.FLAT_FIELDS[name]) for name in ("PV", "trig", "btag")},
}  # fmt: skip
"""What analyses read; uproot takes twenty times as long to write all of the 275 branches."""


def make_events(
    n_events: int,
    seed: int,
    *,
    mean_jets: float = 5.5,
    whole: bool = False,
    also: tuple[str, ...] = (),
) -> dict[str, ak.Array]:
    """Branch -> values, without counters, of `FEW` and `also`, or of all branches. Not to be changed in place."""
    made = _made(n_events, seed, mean_jets)
    few = [f"{collection}_{name}" for collection, names in FEW.items() for name in names]
    return dict(made) if whole else {name: made[name] for name in (*few, *also)}


@lru_cache(maxsize=8)
def _made(n_events: int, seed: int, mean_jets: float) -> dict[str, ak.Array]:
    rng = np.random.default_rng(seed)
    branches: dict[str, Any] = {}
    for collection, fields in layout.JAGGED_FIELDS.items():
        mean = {"jet": mean_jets, "electron": 0.8, "muon": 0.8, "PV": 12}.get(collection, 0.5)
        counts = rng.poisson(mean, n_events)
        values = {name: _values(rng, name, int(counts.sum())) for name in fields}
        values |= _consistent(rng, collection, values)
        for name in fields:
            branches[f"{collection}_{name}"] = ak.unflatten(values[name], counts)
    n_jets = ak.num(branches["jet_pt"])
    branches["muon_jetidx"] = _indices(rng, branches["muon_pt"], n_jets)
    for collection, fields in layout.FLAT_FIELDS.items():
        for name in fields:
            branches[f"{collection}_{name}"] = _values(rng, name, n_events)
    return branches


def _values(rng: np.random.Generator, name: str, size: int) -> np.ndarray[Any, Any]:
    if name in ("isTight", *layout.FLAT_FIELDS["trig"]):
        return rng.integers(0, 5, size).clip(0, 1).astype(np.int32)
    if name == "ch":
        return rng.choice([-1, 1], size).astype(np.int32)
    if name == "npvs":
        return rng.poisson(15, size).astype(np.int32)
    if name in INTEGERS:
        return rng.integers(0, 6, size).astype(np.int32)
    if name == "eta":
        return rng.normal(0, 1.3, size).astype(np.float32)
    if name == "phi":
        return rng.uniform(-np.pi, np.pi, size).astype(np.float32)
    if name == "btag":
        return rng.beta(0.5, 0.5, size).astype(np.float32)
    if name == "sip3d":
        return rng.exponential(1.5, size).astype(np.float32)
    if name == "pfreliso04DBCorr":
        return rng.exponential(0.08, size).astype(np.float32)
    if name.startswith("Weight"):
        return rng.normal(1, 0.05, size).astype(np.float32)
    return (15 + rng.exponential(45, size)).astype(np.float32)


def _consistent(
    rng: np.random.Generator, collection: str, values: dict[str, Any]
) -> dict[str, Any]:
    """Momentum components that agree with each other."""
    if "pt" not in values:
        return {}
    pt, eta, phi = (values[name].astype(float) for name in ("pt", "eta", "phi"))
    mass = values.get("mass", np.full_like(pt, 0.1)) * 0.1
    made = {
        "mass": mass,
        "px": pt * np.cos(phi),
        "py": pt * np.sin(phi),
        "pz": pt * np.sinh(eta),
        "e": np.sqrt((pt * np.cosh(eta)) ** 2 + mass**2),
    }
    if collection in ("jet", "fatjet"):
        corrected = pt * rng.normal(1.05, 0.02, len(pt))
        made |= {"corrpt": corrected, "corrmass": mass * corrected / pt}
        spread = np.abs(rng.normal(0, 0.03, len(pt)))
        made |= {"corrptUp": corrected * (1 + spread), "corrptDown": corrected * (1 - spread)}
        made |= {"corrptSmearUp": corrected * rng.normal(1, 0.05, len(pt))}
        made |= {"corrptSmearDown": corrected * rng.normal(1, 0.02, len(pt))}
    return {name: made[name].astype(np.float32) for name in made if name in values}


def _indices(rng: np.random.Generator, muons: ak.Array, n_jets: ak.Array) -> ak.Array:
    """A jet of the event for each muon, or -1."""
    limit = ak.flatten(ak.broadcast_arrays(n_jets, muons)[0])
    index = np.floor(rng.uniform(-1, 1, len(limit)) * np.asarray(limit)).clip(-1)
    index[np.asarray(limit) == 0] = -1
    return ak.unflatten(index.astype(np.int32), ak.num(muons))


def write(
    path: Path,
    branches: dict[str, Any],
    *,
    tree: str = "events",
    compression: Any = None,
    step: int = 10_000,
    places: Any = None,
) -> Path:
    """Write the branches as the POET files are: a TTree with one counter a jagged branch.

    `places`: of the events to write, in this order, instead of all of them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: ak.Array(values) for name, values in branches.items()}
    arrays |= _number_branches(arrays)
    kinds = {name: ak.type(values).content for name, values in arrays.items()}
    n_events = len(next(iter(arrays.values()))) if arrays else 0
    chosen = np.arange(n_events) if places is None else places
    with uproot.recreate(path, compression=compression or uproot.ZSTD(1)) as file:
        output = file.mktree(tree, kinds)
        for start in range(0, len(chosen), step):
            rows = chosen[start : start + step]
            output.extend({name: values[rows] for name, values in arrays.items()})
    return path


def _number_branches(arrays: dict[str, Any]) -> dict[str, Any]:
    firsts = {name: f"{name}_pt" for name in layout.OBJECTS}
    return {
        f"number{name}": ak.values_astype(ak.num(arrays[branch]), np.int32)
        for name, branch in firsts.items()
        if branch in arrays
    }


def write_random(
    path: Path, n_events: int, seed: int, *, whole: bool = False, **options: Any
) -> Path:
    return write(path, make_events(n_events, seed, whole=whole), **options)


def as_nanoaod(branches: dict[str, Any], *, seed: int = 1) -> dict[str, Any]:
    """NanoAOD branches of the same events; generator weights of 1 and -1."""
    made = nanoaod.nanoaod(branches)
    signs = np.random.default_rng(seed).choice([1, 1, 1, -1], len(made["genWeight"]))
    return {**made, "genWeight": signs.astype(np.float32)}


def write_nanoaod(
    path: Path, branches: dict[str, Any], *, runs: bool = False, rntuple: bool = False
) -> Path:
    """Write NanoAOD branches as CMS does, one counter a collection; `runs` with the sum of weights."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: ak.Array(values) for name, values in branches.items()}
    sums = nanoaod.runs(ntuples.size(arrays), float(ak.sum(arrays["genWeight"]))) if runs else None
    ntuples.write_nanoaod(path, arrays, sums, rntuple=rntuple, codec="ZLIB", level=1)
    return path
