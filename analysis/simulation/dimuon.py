"""Dimuon trees for the sideband lesson: J/psi, Drell-Yan and a combinatorial background.

NanoAOD-like: TTree `Events` with `nMuon` and `Muon_pt`, `eta`, `phi`, `mass`, `charge`, the branches
of the CMS dimuon file of 2012. Generated without multiparton interactions: only the muons are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np

from analysis.common.extras import require_extra
from analysis.datasets import ntuples
from analysis.simulation import layout
from analysis.simulation.config import DetectorConfig
from analysis.simulation.generator import generate
from analysis.simulation.particles import MUON, kinematics
from analysis.simulation.processes import Process
from analysis.simulation.production import block_seeds, check_request, write_catalogue
from analysis.simulation.response import MUON_MASS

if TYPE_CHECKING:
    from pathlib import Path

TREE = "Events"
FOLDER = "dimuon"
"""Folder of the samples, in that of a production."""
MIXTURE = "data__dimuon"
MIN_PT, MAX_ABS_ETA = 3.0, 2.4
BLOCK_EVENTS = 2000
MAX_BLOCKS = 500
_MUONIC_HADRONS = tuple(
    setting
    for hadron in (411, 421, 431, 4122, 511, 521, 531, 5122)
    for setting in (f"{hadron}:onMode = off", f"{hadron}:onIfAny = 13")
)
_COMMON = ("PartonLevel:MPI = off",)


def _sample(name: str, settings: tuple[str, ...], note: str, branching: float) -> Process:
    return Process(
        process=name,
        kind="background" if name == "combinatorial" else "signal",
        settings=(*_COMMON, *settings),
        branching=branching,
        note=note,
    )


BY_NAME = {
    "jpsi": _sample(
        "jpsi",
        (
            "Charmonium:all = on",
            "PhaseSpace:pTHatMin = 10.",
            "443:onMode = off",
            "443:onIfMatch = 13 -13",
        ),
        "prompt charmonium, J/psi -> mu mu (5.96 %, PDG)",
        0.0596,
    ),
    "drell_yan": _sample(
        "drell_yan",
        (
            "WeakSingleBoson:ffbar2gmZ = on",
            "PhaseSpace:mHatMin = 2.",
            "23:mMin = 2.",
            "23:onMode = off",
            "23:onIfAny = 13",
        ),
        "q qbar -> gamma*/Z -> mu mu, m > 2 GeV",
        1.0,
    ),
    "combinatorial": _sample(
        "combinatorial",
        (
            "HardQCD:hardbbbar = on",
            "HardQCD:hardccbar = on",
            # Hard enough for two muons in one jet: the pairs below 5 GeV, around the J/psi.
            "PhaseSpace:pTHatMin = 25.",
            *_MUONIC_HADRONS,
        ),
        "muon pairs from b bbar and c cbar, pT-hat > 25 GeV; all their hadrons decay to muons (0.01 a "
        "pair assumed)",
        0.01,
    ),
}


def muon_columns(record: Any, rng: np.random.Generator, detector: DetectorConfig) -> dict[str, Any]:
    """Select muons with pT > 3 GeV, |eta| < 2.4 in the events that have two, with measured momenta."""
    final = record.prt[(record.prt.status > 0) & (np.abs(record.prt.id) == MUON)]
    counts = ak.num(final)
    flat = ak.flatten(final)
    px, py, pz = (ak.to_numpy(flat.p[axis]) for axis in ("px", "py", "pz"))
    pt, eta, phi = kinematics(px, py, pz)
    config = detector.muon
    width = np.where(np.abs(eta) < config.resolution_abs_eta, *config.resolution)
    pt = pt * (1 + width * rng.standard_normal(len(pt)))
    muons = ak.zip(
        {
            "pt": ak.unflatten(pt.astype(np.float32), counts),
            "eta": ak.unflatten(eta.astype(np.float32), counts),
            "phi": ak.unflatten(phi.astype(np.float32), counts),
            "mass": ak.unflatten(np.full(len(pt), MUON_MASS, dtype=np.float32), counts),
            "charge": ak.unflatten(-np.sign(ak.to_numpy(flat.id)).astype(np.int32), counts),
        }
    )
    muons = muons[(muons.pt > MIN_PT) & (np.abs(muons.eta) < MAX_ABS_ETA)]
    muons = muons[ak.argsort(muons.pt, ascending=False)]
    return {"Muon": muons[ak.num(muons) >= 2]}


@dataclass(frozen=True)
class Made:
    """Generated muon pairs of one sample, and how many events it took."""

    process: Process
    columns: dict[str, Any]
    generated: int
    cross_section_pb: float

    @property
    def found(self) -> int:
        """Events with two muons."""
        return ntuples.size(self.columns)


def make(name: str, events: int, seed: int) -> Made:
    """Make at least `events` dimuon events of sample `name` (whole blocks)."""
    check_request(events, seed, workers=1)
    require_extra("simulate", "simulation")
    process = BY_NAME[name]
    parts: list[dict[str, Any]] = []
    tried, sigma, found = 0, 0.0, 0
    for block in range(MAX_BLOCKS):
        pythia_seed, rng = block_seeds(seed, process.name, block)
        record, counts = generate(process, BLOCK_EVENTS, pythia_seed)
        parts.append(muon_columns(record, rng, DetectorConfig()))
        tried += counts.tried
        sigma += counts.cross_section_pb
        found += ntuples.size(parts[-1])
        if found >= events:
            break
    return Made(process, ntuples.concatenate(parts), tried, sigma / len(parts))


def _write(
    output: Path, name: str, columns: dict[str, Any], bits: int | None, entry: dict[str, Any]
) -> dict[str, Any]:
    """Write one file and add its entry to the catalogue; return the entry."""
    if bits is not None:
        columns = {key: layout.truncated(values, bits) for key, values in columns.items()}
    file = f"{name}_0.root"
    ntuples.write(output / name / file, columns, tree=TREE, level=19)
    entry |= {"path": name, "files": {file: ntuples.size(columns)}}
    write_catalogue(output, {name: entry}, tree=TREE)
    return entry


def write(made: Made, output: Path, seed: int, bits: int | None = None) -> dict[str, Any]:
    """Write a sample and add it to the catalogue of `output`; return its entry.

    `bits`: mantissa bits to keep (None: all).
    """
    process = made.process
    return _write(
        output,
        process.name,
        made.columns,
        bits,
        {
            "process": process.process,
            "variation": "nominal",
            "kind": process.kind,
            "cms_name": None,
            "record": None,
            "cross_section": f"{made.cross_section_pb:.6g} pb",
            "k_factor": 1.0,
            "filter_efficiency": process.branching,
            "sum_of_weights": made.generated,
            "sum_of_weights_is": "count",
            "comment": (
                f"Pythia 8, leading order, MPI off, seed {seed}: {process.note}; "
                f"{made.generated} generated, {made.found} with two muons of pT > {MIN_PT:g} GeV"
            ),
        },
    )


def write_mixture(
    samples: list[Made], output: Path, seed: int, bits: int | None = None
) -> dict[str, Any]:
    """Write all events of `samples`, shuffled, as data to take apart; return the entry."""
    columns = ntuples.concatenate([made.columns for made in samples])
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, len(samples)])))
    columns = ntuples.select(columns, rng.permutation(ntuples.size(columns)))
    numbers = ", ".join(f"{made.process.process} {made.found}" for made in samples)
    return _write(
        output,
        MIXTURE,
        columns,
        bits,
        {
            "process": "data",
            "variation": "nominal",
            "kind": "collision",
            "channel": None,
            "comment": (
                "Pseudo-data for the sideband lesson: the other samples of this catalogue, "
                f"shuffled and in proportions of no meaning; true numbers: {numbers}"
            ),
        },
    )
