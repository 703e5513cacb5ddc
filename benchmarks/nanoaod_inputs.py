"""Inputs of the NanoAOD benchmark: the simulation's ttbar events, in files as large as those of CMS.

All ttbar events of the bundled sample, in an order of their own as often as is needed, with 900 branches: those
of the simulation, and such of zeros that nobody reads. The bundled events have a tight lepton each, as POET's
skim asks for. The files of CMS have no skim: here the leptons of four events in five fail their
identification. Made once in a folder and then reused.
"""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np

from analysis.datasets import ntuples
from analysis.datasets.bundled import SAMPLE
from analysis.datasets.catalogue import Catalogue, Dataset
from analysis.simulation.nanoaod import nanoaod

BRANCHES = 900
EVENTS_PER_CLUSTER = 10_000
"""Of fewer than the sample has, so that no basket has an event twice."""
CODECS = {"zstd": ("ZSTD", 5), "zlib": ("ZLIB", 1), "lzma": ("LZMA", 9)}
"""What the Grand Challenge's files, ROOT's own default, and CMS's NanoAOD are compressed with."""
WITH_LEPTON = 0.2
"""Share of ttbar events that pass POET's pre-selection: 0.196 here, 0.210 of CMS (docs/simulation.md)."""
SEED = 7


def catalogue(folder: Path, codec: str, events: int) -> Catalogue:
    """Catalogue of one file with so many events, which is made where it is not there yet."""
    path = folder / f"ttbar_all_{codec}_{events}.root"
    if not path.exists():
        _write(path, events, codec)
    dataset = Dataset(
        process="ttbar", kind="signal", sum_of_weights=events, files={path.name: events}
    )
    return Catalogue(
        base=str(folder), format="nanoaod", tree="Events", datasets={"ttbar__nominal": dataset}
    )


def _write(path: Path, events: int, codec: str) -> None:
    sample = Catalogue.load(SAMPLE)
    names = [name for name, dataset in sample.datasets.items() if dataset.process == "ttbar"]
    files = [Path(file.url) for name in names for file in sample.files_of(name)]
    poet = ntuples.concatenate([ntuples.read(file) for file in files])
    rng = np.random.default_rng(SEED)
    places = rng.permutation(ntuples.size(poet))
    columns = ntuples.select(nanoaod(poet), np.resize(places, events))
    kept = rng.random(events) < WITH_LEPTON
    for name in ("Electron_cutBased", "Muon_tightId"):
        columns[name] = ak.values_astype(columns[name] * kept, columns[name].layout.content.dtype)
    columns["event"] = np.arange(1, events + 1, dtype=np.uint64)
    name, level = CODECS[codec]
    ntuples.write_nanoaod(
        path, _filled_up(columns), codec=name, level=level, basket_events=EVENTS_PER_CLUSTER
    )


def _filled_up(columns: ntuples.Columns) -> ntuples.Columns:
    """Add branches of zeros up to `BRANCHES`: half of them bits, a third lists, as in files of CMS; of the
    lists as many in the collections that are read.
    """
    events = ntuples.size(columns)
    bits = np.zeros(events, dtype=bool)
    lists = ak.unflatten(np.zeros(events, np.float32), np.ones(events, np.int64))
    numbers = np.zeros(events, np.float32)
    result = dict(columns)
    collections = {name.partition("_")[0] for name, v in columns.items() if v.ndim > 1}
    missing = BRANCHES - len(columns) - len(collections)
    for number in range(missing):
        kind = number % 6
        if kind < 3:
            result[f"HLT_Extra{number}"] = bits
        elif kind < 5 and number < BRANCHES // 2:
            read = ("Electron", "Muon", "Jet")[number // 6 % 3]
            result[f"{read}_extra{number}"] = ak.zeros_like(columns[f"{read}_pt"])
        elif kind < 5:
            result[f"Extra{number % 10}_field{number}"] = lists
        else:
            result[f"Flag_extra{number}"] = numbers
    return result
