"""Inputs of the speed benchmark: random ttbar-like events in the layout of the POET ntuples.

All 275 branches and their counters, zstd, pre-selected as the files at CERN are (a tight lepton with
pT > 26 GeV, |eta| < 2.1); two fifths pass the selection. Made once in a folder and then reused.
"""

from __future__ import annotations

import uuid
from pathlib import Path

import awkward as ak
import numpy as np
import uproot

from analysis.datasets.catalogue import Catalogue, Dataset
from tests.ntuples import make_events, write

MEAN_JETS = 7.5
"""Of all jets in the files, leptons and soft ones included, as in simulated ttbar events of CMS."""
DISTINCT_EVENTS = 100_000
"""Made at random; a larger file has them several times."""
EVENTS_PER_CLUSTER = 10_000
SEED = 7


def folder_of(folder: Path, mean_jets: float) -> Path:
    """Where the files with so many jets are."""
    return folder if mean_jets == MEAN_JETS else folder / f"jets_{mean_jets:g}"


def catalogue(folder: Path, files: int, events: int, mean_jets: float = MEAN_JETS) -> Catalogue:
    """A dataset of `files` files with `events` each, made where they are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {f"ttbar_{events}_{i}.root": events for i in range(files)}
    first = folder / next(iter(names))
    if not first.exists():
        write_file(first, events, mean_jets)
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        content, identifier = first.read_bytes(), _identifier(first)
        for name in missing:
            # A copy would have the identifier by which uproot knows a file.
            copy = content.replace(identifier, uuid.uuid4().bytes)
            (folder / name).write_bytes(copy)
    dataset = Dataset(
        process="ttbar", kind="signal", cross_section=831.76, sum_of_weights=1e9, files=names
    )
    return Catalogue(base=str(folder), luminosity=1000, datasets={"ttbar__nominal": dataset})


def write_file(path: Path, events: int, mean_jets: float) -> None:
    distinct = min(events, DISTINCT_EVENTS)
    # Half of the random events are pre-selected.
    made = make_events(2 * distinct + 100, SEED, mean_jets=mean_jets)
    places = np.resize(np.flatnonzero(_preselected(made))[:distinct], events)
    temporary = path.with_suffix(".part")
    write(
        temporary,
        {name: ak.Array(values) for name, values in made.items()},
        step=EVENTS_PER_CLUSTER,
        places=places,
    )
    temporary.replace(path)


def _preselected(events: dict[str, ak.Array]) -> np.ndarray:
    passing = [
        ak.any(
            (events[f"{lepton}_pt"] > 26)
            & (abs(events[f"{lepton}_eta"]) < 2.1)
            & (events[f"{lepton}_isTight"] == 1),
            axis=1,
        )
        for lepton in ("electron", "muon")
    ]
    return np.asarray(passing[0] | passing[1])


def _identifier(path: Path) -> bytes:
    with uproot.open(path) as file:
        identifier: bytes = file.file.uuid.bytes
    return identifier
