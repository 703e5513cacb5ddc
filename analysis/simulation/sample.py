"""The bundled sample: what `analysis/sample/` holds and how it is made.

Every dataset is generated in whole blocks from `SEED`, the pseudo-data from `PSEUDODATA_SEED`; the
files keep the events that the analysis can select under any of its variations (`may_be_selected`)
and the branches that it reads, with truncated mantissas. Sums of weights stay those generated.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np

from analysis.common.extras import require_extra
from analysis.common.files import write_json
from analysis.datasets import ntuples
from analysis.datasets.bundled import SAMPLE
from analysis.datasets.catalogue import Catalogue
from analysis.datasets.coverage import CLEANED
from analysis.simulation import dimuon, layout, nanoaod, processes
from analysis.simulation.config import DetectorConfig
from analysis.simulation.production import (
    CATALOGUE,
    RECORD,
    Dataset,
    Order,
    Pool,
    Progress,
    entry,
    make_dataset,
    preselection,
    read_records,
    require_own,
    write_catalogue,
    write_record,
)
from analysis.simulation.pseudodata import mix

if TYPE_CHECKING:
    from analysis.datasets.ntuples import Columns

SEED = 2015
PSEUDODATA_SEED = 20150603  # first collisions at 13 TeV
PSEUDODATA_IPB = 50.0
PSEUDODATA = "data__pseudo"
TTBAR_STRENGTH = 1.07
"""Cross section of ttbar in the pseudo-data over the reference: 831.76 x 1.07 = 889.98 pb."""

# Pre-selected events of each dataset, at least (the wjets and qcd ones after their parton filter):
# of the prediction and of the pseudo-data. The latter are what the luminosity needs and a tenth.
EVENTS: dict[str, tuple[int, int]] = {
    "ttbar__nominal": (18_000, 10_000),
    "ttbar__scaleup": (4_000, 0),
    "ttbar__scaledown": (4_000, 0),
    "ttbar__ME_var": (4_000, 0),
    "ttbar__PS_var": (4_000, 0),
    "single_top_t_chan__nominal": (2_500, 800),
    "single_atop_t_chan__nominal": (2_000, 500),
    "single_top_tW__nominal": (3_500, 1_000),
    "wjets__nominal__pthat40to80": (5_000, 14_250),
    "wjets__nominal__pthat80": (9_000, 20_200),
    "qcd__nominal": (500, 540),
}
EVENTS_PER_FILE = 5000
ZSTD_LEVEL = 19  # written once, read often: 15 % smaller than level 5
DIMUON_EVENTS = {"jpsi": 800, "drell_yan": 2000, "combinatorial": 9500}
DIMUON_BITS = 11

SKIM_JETS, SKIM_PT, SKIM_ETA, SKIM_TAG = 4, 28.0, 2.4, 0.8
"""Skim: four jets that reach 28 GeV in some variation, one of them b tagged."""
SKIM = {
    "jet.min_pt": SKIM_PT,
    "jet.max_abs_eta": SKIM_ETA,
    "jet.btag_threshold": SKIM_TAG,
    "regions.min_jets": SKIM_JETS,
    CLEANED: SKIM_JETS - 1,
}
"""The same as the catalogue's limits to cuts. A lepton that an analysis selects is a jet of its own."""
JET_PT = 20.0
"""Jets below it in every variation are left out."""


def _highest_pt(columns: Columns) -> Any:
    """Find the largest corrected pT of each jet under all variations."""
    highest = columns["jet_corrpt"]
    for name in ("jet_corrptUp", "jet_corrptSmearUp", "jet_corrptSmearDown"):
        highest = np.maximum(highest, columns[name])
    return highest


def without_soft_jets(columns: Columns) -> Columns:
    """Leave out the jets below `JET_PT`; `muon_jetidx` follows (-1: its jet went)."""
    kept = _highest_pt(columns) > JET_PT
    counts = ak.num(kept)
    flat = ak.to_numpy(ak.flatten(kept))
    before = np.cumsum(flat) - flat
    first = np.concatenate([[0], np.cumsum(ak.to_numpy(counts))])[:-1]
    start = np.concatenate([before, [flat.sum()]])[first]
    position = ak.unflatten(np.where(flat, before - np.repeat(start, counts), -1), counts)
    result = {
        name: values[kept] if name.startswith("jet_") else values
        for name, values in columns.items()
    }
    old = columns["muon_jetidx"]
    # Padded by one entry, so that -1 ("no jet") finds a -1 as well.
    padded = ak.concatenate([position, ak.from_regular(np.full((len(counts), 1), -1))], axis=1)
    new = padded[ak.where(old < 0, counts, old)]
    result["muon_jetidx"] = ak.values_astype(new, np.int32)
    return result


def may_be_selected(columns: Columns) -> Any:
    """Mask the events that the analysis (four jets above 30 GeV, a tag) can select."""
    highest = _highest_pt(columns)
    good = (highest > SKIM_PT) & (np.abs(columns["jet_eta"]) < SKIM_ETA)
    tagged = good & (columns["jet_btag"] >= SKIM_TAG)
    return (ak.sum(good, axis=1) >= SKIM_JETS) & ak.any(tagged, axis=1)


def _orders(column: int, seed: int) -> list[Order]:
    return [
        Order(processes.BY_NAME[name], events[column], seed, DetectorConfig())
        for name, events in EVENTS.items()
        if events[column]
    ]


def _all_events(folder: Path, dataset: Dataset) -> Columns:
    paths = [folder / dataset.process.name / file for file in dataset.files]
    return ntuples.concatenate([ntuples.read(path) for path in paths])


def _write_skimmed(output: Path, name: str, columns: Columns) -> dict[str, int]:
    """Skim, reduce and write the files of one dataset; return {file: events}."""
    chosen = ntuples.select(columns, may_be_selected(columns))
    columns = layout.reduced(without_soft_jets(chosen))
    shutil.rmtree(output / name, ignore_errors=True)  # an earlier sample may have had more files
    files = {}
    for number, start in enumerate(range(0, max(ntuples.size(columns), 1), EVENTS_PER_FILE)):
        part = ntuples.select(columns, slice(start, start + EVENTS_PER_FILE))
        file = f"{name}_{number}.root"
        ntuples.write(output / name / file, part, level=ZSTD_LEVEL)
        files[file] = ntuples.size(part)
    return files


def _simulated_entry(output: Path, work: Path, dataset: Dataset) -> dict[str, Any]:
    name = dataset.process.name
    result = entry(dataset, SEED)
    result["files"] = _write_skimmed(output, name, _all_events(work, dataset))
    result["comment"] += (
        f" The files keep the events with {SKIM_JETS} jets that reach {SKIM_PT:g} GeV in some "
        f"variation, one of them with the loose b tag ({SKIM_TAG:g}), and fewer branches."
    )
    write_record(output, dataset, skimmed_files=result["files"], seconds=None)
    return result


def _pseudodata_entry(output: Path, work: Path, datasets: list[Dataset]) -> dict[str, Any]:
    parts = [
        (d, _all_events(work, d), TTBAR_STRENGTH if d.process.process == "ttbar" else 1.0)
        for d in datasets
    ]
    events, drawn = mix(parts, PSEUDODATA_IPB, PSEUDODATA_SEED)
    files = _write_skimmed(output, PSEUDODATA, events)
    numbers = ", ".join(f"{name} {count}" for name, count in drawn.items())
    return {
        "process": "data",
        "variation": "nominal",
        "kind": "collision",
        "channel": None,
        "comment": (
            f"Pseudo-data, not collisions: simulation with seeds of its own ({PSEUDODATA_SEED}), "
            f"Poisson-thinned to {PSEUDODATA_IPB:g} /pb with sigma(ttbar) = "
            f"{processes.TTBAR_PB * TTBAR_STRENGTH:.2f} pb ({TTBAR_STRENGTH:g} x "
            f"{processes.TTBAR_PB:g} pb), the other processes as in the prediction. "
            f"Pre-selected events drawn, before the skim: {numbers}. Truth is taken out."
        ),
        "path": PSEUDODATA,
        "files": files,
    }


def write_as_nanoaod(output: Path) -> Path:
    """Write the events of the bundled sample as NanoAOD; return their catalogue.

    The first file of a dataset has the sum of its weights. Raises OutputError for a folder with other files.
    """
    catalogue = Catalogue.load(SAMPLE)
    require_own(output, catalogue.datasets)
    for name, dataset in catalogue.datasets.items():
        first_event, generated = 1, int(dataset.sum_of_weights or 0)
        for file, (file_name, events) in zip(
            catalogue.files_of(name), dataset.files.items(), strict=True
        ):
            nanoaod.write(
                output / dataset.path / file_name,
                ntuples.read(Path(file.url)),
                first_event=first_event,
                generated=generated if dataset.is_simulation else None,
                level=ZSTD_LEVEL,
            )
            first_event, generated = first_event + events, 0
    update = {"format": "nanoaod", "tree": ntuples.NANOAOD_TREE, "base": "."}
    catalogue.model_copy(update=update).write(output / CATALOGUE)
    write_json(output / RECORD, read_records(SAMPLE.parent))
    return output / CATALOGUE


def _make_dimuons(output: Path) -> None:
    samples = [dimuon.make(name, count, SEED) for name, count in DIMUON_EVENTS.items()]
    shutil.rmtree(output, ignore_errors=True)
    for made in samples:
        dimuon.write(made, output, SEED, DIMUON_BITS)
    dimuon.write_mixture(samples, output, SEED, DIMUON_BITS)


def make_sample(output: Path, *, workers: int, progress: Progress) -> Path:
    """Make the bundled sample in `output`; interrupted, the same call goes on. Its catalogue.

    The full ntuples wait in `output/.work`, removed at the end.
    """
    work = output / ".work"
    if not work.exists():
        require_own(output, [PSEUDODATA, dimuon.FOLDER, *EVENTS])
    require_extra("simulate", "simulation")
    made: dict[str, list[Dataset]] = {}
    with Pool(workers) as pool:
        for part, orders in (
            ("prediction", _orders(0, SEED)),
            ("pseudodata", _orders(1, PSEUDODATA_SEED)),
        ):
            made[part] = [make_dataset(order, work / part, pool, progress) for order in orders]
    (output / CATALOGUE).unlink(missing_ok=True)
    entries = {
        d.process.name: _simulated_entry(output, work / "prediction", d) for d in made["prediction"]
    }
    entries[PSEUDODATA] = _pseudodata_entry(output, work / "pseudodata", made["pseudodata"])
    _make_dimuons(output / dimuon.FOLDER)
    limits = preselection(DetectorConfig()) | SKIM
    path = write_catalogue(output, entries, PSEUDODATA_IPB, preselection=limits)
    shutil.rmtree(work)
    return path
