"""Skims: the events that fill a histogram and the branches that are read, in slim ntuples.

Every chunk is selected by the analysis itself and written to a part; at the end the parts of a dataset
become its files, in the order of the ntuples. The catalogue of a skim is written last, and only if every
event was read, so that there is no incomplete one to be used.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import awkward as ak
import numpy as np

from analysis.common.errors import CatalogueError, OutputError
from analysis.common.files import short_digest, writable_folder
from analysis.datasets import ntuples
from analysis.datasets.addresses import shown_apart
from analysis.datasets.catalogue import Catalogue, Dataset, metadata
from analysis.datasets.coverage import CATALOGUE, Skim, SkimmedDataset
from analysis.execution.checkpoints.definition import definition
from analysis.execution.checkpoints.provenance import selecting_code
from analysis.execution.ledger import Ledger
from analysis.execution.processor import CatalogueProcessor
from analysis.execution.runner import run
from analysis.execution.settings import Execution
from analysis.processor import TtbarAnalysis
from analysis.results import UNSCALED
from schemas import FORMATS

EVENTS_PER_FILE = 500_000
EVENTS_PER_BASKET = 50_000
"""Larger than in the ntuples: to read few large baskets takes less time than many small ones."""

CODEC, LEVEL = "LZ4", 4
"""A quarter larger than with zstd, and read in less than half of the time."""

_PARTS = ".parts"


class Skimmed(NamedTuple):
    """A skim that was made."""

    catalogue: Catalogue
    path: Path
    """Path of its catalogue."""
    ledger: Ledger
    """Ledger of the run that made it."""


class SkimWriter(CatalogueProcessor):
    """Writer of the events that the analysis would use, a file in `folder` for each chunk."""

    reads_declared_only = True

    def __init__(self, analysis: TtbarAnalysis, folder: Path, files: str = "poet") -> None:
        self.config = analysis.config
        self._analysis = analysis
        self._folder = folder
        self._format = files

    def process(self, events: ak.Array) -> dict[str, Any]:
        told = events.metadata
        used, early_steps = self._analysis.used_events(events)
        path = _part(self._folder, told["dataset"], told["filename"], told["entrystart"])
        schema: Any = FORMATS[self._format]
        rows = np.flatnonzero(used)
        columns = {
            branch: ak.without_parameters(schema.values(events, branch)[rows])
            for branch in sorted(schema.branches(self.columns(told)))
        }
        ntuples.write(path, columns, codec=CODEC, level=LEVEL)
        counts = self._analysis.counts(events)
        kept = int(np.sum(used))
        return {told["dataset"]: {"counts": counts, "cutflow": early_steps, "kept": kept}}

    def require_events(self, catalogue: Catalogue) -> None:
        self._analysis.require_events(catalogue)

    def parts(self) -> Mapping[str, Any]:
        return self._analysis.parts()

    def columns(self, told: Mapping[str, Any]) -> frozenset[str]:
        return self._analysis.columns(told)


def make_skim(
    catalogue: Catalogue,
    folder: Path,
    analysis: TtbarAnalysis | None = None,
    *,
    execution: Execution | None = None,
    source: str = "",
    rntuple: bool = False,
) -> Skimmed:
    """Write the skim of a catalogue into `folder`, its catalogue as `ntuples.json`.

    Raises IncompleteError where a file could not be read, CatalogueError for a catalogue of a skim and
    for a dataset without events or a sum of weights, OutputError for a folder with files that no skim
    made.
    """
    analysis = analysis or TtbarAnalysis()
    if catalogue.skim is not None:
        msg = f"the catalogue is a skim already, made of {catalogue.skim.source}"
        raise CatalogueError(msg)
    _require_weights(catalogue)
    _require_apart(catalogue, folder)
    path = writable_folder(folder) / CATALOGUE
    parts = folder / _PARTS

    def begin() -> None:
        path.unlink(missing_ok=True)
        shutil.rmtree(parts, ignore_errors=True)

    try:
        writer = SkimWriter(analysis, parts.absolute(), catalogue.format)
        result = run(writer, catalogue, execution=execution, catalogue_path=source, begin=begin)
        result.ledger.write(folder)
        result.ledger.require_complete()
        datasets = {
            name: _finished(name, catalogue, folder, result.output[name], analysis, rntuple=rntuple)
            for name in catalogue.datasets
        }
    finally:
        shutil.rmtree(parts, ignore_errors=True)
    made = catalogue.model_copy(
        update={
            "base": ".",
            "tree": ntuples.TREE,
            "label": catalogue.figure_label,
            "datasets": datasets,
            "skim": Skim(
                source=source,
                config=analysis.config.model_dump(mode="json"),
                parts={name: definition(p).digest for name, p in analysis.selecting().items()},
                code=selecting_code(TtbarAnalysis, FORMATS[catalogue.format]),
            ),
        }
    )
    made.write(path)
    return Skimmed(Catalogue.load(path), path, result.ledger)


def _require_weights(catalogue: Catalogue) -> None:
    """Raise CatalogueError for simulation whose sum of weights nothing can tell."""
    for name, dataset in catalogue.datasets.items():
        if dataset.is_simulation and dataset.sum_of_weights is None and not dataset.events:
            msg = f"{name} has no events and no 'sum_of_weights': name its sum, or leave it out"
            raise CatalogueError(msg)


def _require_apart(catalogue: Catalogue, folder: Path) -> None:
    """Raises OutputError where the skim would take the place of files that it did not make: of ntuples,
    and of the ledger that says how histograms are to be scaled.
    """
    if (folder / UNSCALED).exists():
        msg = f"{folder} has the results of a run: name another folder for the skim"
        raise OutputError(msg)
    made_before: set[str] = set()
    if (folder / CATALOGUE).exists():
        before = Catalogue.load(folder / CATALOGUE)
        if before.skim is None:
            msg = f"{folder / CATALOGUE} is the catalogue of other ntuples: name another folder"
            raise OutputError(msg)
        made_before = set(before.datasets)
    inputs = {Path(file.url).resolve().parent for file in catalogue.files if file.is_local}
    for name in catalogue.datasets:
        target = folder / name
        if target.resolve() in inputs:
            msg = f"{target} has ntuples of the input: name another folder for the skim"
            raise OutputError(msg)
        if name not in made_before and target.is_dir() and any(target.iterdir()):
            msg = (
                f"{target} has files that no finished skim made: remove it, or name another folder"
            )
            raise OutputError(msg)


def restore_cutflow(output: Mapping[str, Any], catalogue: Catalogue) -> None:
    """Put the events that are no longer in a skim back into the cutflow and the counts of `output`,
    which has all events of the skim.
    """
    for name, out in output.items():
        before = catalogue.datasets[name].skim
        if before is None:
            continue
        out["counts"] = {"events": before.events, "sum_of_weights": before.sum_of_weights}
        for channel, steps in before.cutflow.items():
            out["cutflow"][channel] |= steps


def _part(parts: Path, dataset: str, url: str, start: int) -> Path:
    """Path of the events of a chunk; `url` as a run knows the file."""
    return parts / dataset / f"{short_digest(url)}_{start:012d}.root"


def _finished(
    name: str,
    catalogue: Catalogue,
    folder: Path,
    output: Any,
    analysis: TtbarAnalysis,
    *,
    rntuple: bool,
) -> Dataset:
    """Write the files of a dataset; return its entry in the catalogue.

    Raises OutputError where parts are not there that workers have written.
    """
    shutil.rmtree(folder / name, ignore_errors=True)
    files: dict[str, int] = {}
    for number, columns in enumerate(_in_files(name, catalogue, folder / _PARTS)):
        file = f"{name}_{number}.root"
        ntuples.write(
            folder / name / file,
            columns,
            codec=CODEC,
            level=LEVEL,
            basket_events=EVENTS_PER_BASKET,
            rntuple=rntuple,
        )
        files[file] = ntuples.size(columns)
    if not files or sum(files.values()) != output["kept"]:
        msg = (
            f"{name}: {sum(files.values())} of {output['kept']} selected events are in {folder / _PARTS}: "
            "the workers have to write to the same folder as this process"
        )
        raise OutputError(msg)
    dataset = catalogue.datasets[name]
    before = SkimmedDataset(
        events=output["counts"]["events"],
        sum_of_weights=output["counts"]["sum_of_weights"],
        cutflow=output["cutflow"],
        columns=sorted(analysis.columns(metadata(dataset))),
    )
    known = dataset.sum_of_weights
    if known is None and dataset.is_simulation:
        known = before.sum_of_weights
    update = {
        "path": name,
        "files": files,
        "checksums": {},  # of the files before
        "sum_of_weights": known,
        "sum_of_weights_is": "weights" if dataset.generator_weights else dataset.sum_of_weights_is,
        "skim": before,
    }
    return dataset.model_copy(update=update)


def _in_files(name: str, catalogue: Catalogue, parts: Path) -> Iterator[ntuples.Columns]:
    """Yield the events of a dataset in pieces of whole parts, at most one part above EVENTS_PER_FILE."""
    waiting: list[ntuples.Columns] = []
    names = shown_apart(file.url for file in catalogue.files)
    for file in catalogue.files_of(name):
        first = _part(parts, name, names[file.url], 0)
        for path in sorted(first.parent.glob(f"{first.stem.partition('_')[0]}_*.root")):
            waiting.append(ntuples.read(path))
            if sum(map(ntuples.size, waiting)) >= EVENTS_PER_FILE:
                yield ntuples.concatenate(waiting)
                waiting = []
    if waiting:
        yield ntuples.concatenate(waiting)
