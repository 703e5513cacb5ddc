"""What is really in ntuple files: hold a catalogue against them, or make one from them."""

from __future__ import annotations

import csv
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import uproot
from pydantic import ValidationError

from analysis.common.errors import CatalogueError, did_you_mean
from analysis.common.files import read_text
from analysis.common.names import is_text
from analysis.common.strict import faults
from analysis.datasets import nanoaod, remote
from analysis.datasets.catalogue import (
    Catalogue,
    Dataset,
    Format,
    NtupleFile,
    Sample,
    address_fault,
    same_files,
)
from analysis.datasets.checksums import THREADS, checksum, difference
from analysis.datasets.coverage import CATALOGUE as SKIM_CATALOGUE
from analysis.datasets.processes import DATA, PROCESS_LABELS
from analysis.datasets.read_errors import describe
from analysis.datasets.sample import FLAVOURS, NOMINAL

NUMBERS = ("cross_section", "k_factor", "filter_efficiency", "sum_of_weights")
"""Fields of a dataset that a table or an option may give."""

_Read = TypeVar("_Read")
_DATASET = re.compile(r"(?P<process>[A-Za-z0-9-]+(?:_[A-Za-z0-9-]+)*)__(?P<variation>.+?)(?:__.+)?")
_PART_OF_DATASET = re.compile(r"_\d+$")


class Finding(NamedTuple):
    """A file that is not as the catalogue says."""

    file: NtupleFile
    problem: str


def check(
    catalogue: Catalogue,
    max_files: int | None = None,
    workers: int = 8,
    done: Callable[[], object] = lambda: None,
    *,
    checksums: bool = False,
) -> tuple[int, list[Finding]]:
    """Open the first `max_files` files of each dataset; return how many, and the findings.

    With `checksums`, local files are read as a whole, and of files on servers the size is asked.
    `done` is called after each file.
    """
    files = [file for name in catalogue.datasets for file in catalogue.files_of(name)[:max_files]]

    remote.prepare(file.url for file in files)
    doubles = {file.url: first for file, first in same_files(files, catalogue.samples)}

    def examine(file: NtupleFile) -> Finding | None:
        try:
            events = count_events(file.url, catalogue.tree)
        except Exception as error:  # noqa: BLE001 - reported, whatever it is
            return Finding(file, describe(error))
        finally:
            done()
        if events != file.events:
            return Finding(file, f"{events} events in the file, {file.events} in the catalogue")
        if file.url in doubles:
            return Finding(file, f"the same file as {doubles[file.url]}")
        return None

    def examine_whole(file: NtupleFile) -> Finding | None:
        try:
            problem = _difference(file)
        except Exception as error:  # noqa: BLE001 - reported, whatever it is
            problem = describe(error)
        return examine(file) if problem is None else Finding(file, problem)

    with ThreadPoolExecutor(workers) as pool:
        found = pool.map(examine_whole if checksums else examine, files)
        findings = [finding for finding in found if finding is not None]
    return len(files), findings


def _difference(file: NtupleFile) -> str | None:
    if file.checksum is None:
        return "no checksum in the catalogue"
    if file.is_local:
        return difference(checksum(file.url), file.checksum)
    size = remote.size(file.url)
    if size != file.checksum.size:
        return f"{size} bytes on the server, {file.checksum.size} in the catalogue"
    return None


def count_events(url: str, tree: str) -> int:
    """Count the entries of the tree; raises whatever uproot raises if there is none."""
    if fault := address_fault(url):
        raise CatalogueError(fault)
    with uproot.open({url: None}, **remote.Access().options()) as file:
        return int(file[tree].num_entries)


def build(
    folder: Path,
    output: Path,
    numbers: Mapping[str, Mapping[str, Any]],
    *,
    luminosity: float | str | None = None,
    tree: str | None = None,
    files_format: Format | None = None,
    checksums: bool = False,
) -> Catalogue:
    """Make a catalogue of the ntuples below `folder`, with paths relative to where it will be written.

    Sub-folders or files named `{process}__{variation}` are the datasets (`ttbar__nominal/a.root`,
    `wjets__nominal.root`, `wjets__nominal_1.root`; `data__SingleMuon` for a stream of data).
    `numbers` has fields of `NUMBERS` by dataset or process. Where no format is named, files with a tree
    `Events` of NanoAOD are that, else POET ntuples; of NanoAOD, generator weights and their sum before
    any selection (`Runs.genEventSumw`) are taken where they are. Raises CatalogueError, with one line
    for each file without a place or without the tree, and for one that is there twice; and for a skim
    or what was pre-selected, whose own catalogue tells of the events that are not there.
    """
    found = _files_by_dataset(folder)
    _require_all_events(folder)
    _require_meaning(numbers, found)
    listed = [NtupleFile(name, str(path), 0) for name, paths in found.items() for path in paths]
    samples = {name: _sample(name) for name in found}
    problems = [
        f"{file.url}: the same file as {first}" for file, first in same_files(listed, samples)
    ]
    if files_format is None:
        nano = tree in (None, nanoaod.TREE) and nanoaod.is_nanoaod(Path(listed[0].url))
        files_format = "nanoaod" if nano else "poet"
    tree = tree or ("events" if files_format == "poet" else nanoaod.TREE)
    make = _dataset if files_format == "poet" else _nano_dataset
    datasets = {
        name: make(name, folder, files, numbers, tree, problems) for name, files in found.items()
    }
    processes = {record["process"] for record in datasets.values()}
    values = {
        "luminosity": luminosity,
        "format": files_format,
        "tree": tree,
        "base": _beside(folder, output.parent),
        "processes": {name: name for name in sorted(processes - PROCESS_LABELS.keys())},
        "datasets": datasets,
    }
    try:
        catalogue = Catalogue.model_validate(values)
    except ValidationError as error:
        problems += faults(error, Catalogue)
    else:
        problems += catalogue.inconsistencies()
    if problems:
        raise CatalogueError("\n".join(problems))
    return _with_checksums(catalogue, folder) if checksums else catalogue


def _beside(folder: Path, other: Path) -> str:
    """Write the folder relative to the other one, whichever way a link leads to either."""
    if folder.absolute().is_relative_to(other.absolute()):
        return os.path.relpath(folder, other)
    return os.path.relpath(folder.resolve(), other.resolve())


def _with_checksums(catalogue: Catalogue, folder: Path) -> Catalogue:
    def known(dataset: Dataset, pool: ThreadPoolExecutor) -> Dataset:
        found = pool.map(checksum, [folder / file for file in dataset.files])
        return dataset.model_copy(
            update={"checksums": dict(zip(dataset.files, found, strict=True))}
        )

    with ThreadPoolExecutor(THREADS) as pool:
        datasets = {name: known(dataset, pool) for name, dataset in catalogue.datasets.items()}
    return catalogue.model_copy(update={"datasets": datasets})


def read_table(path: Path) -> dict[str, dict[str, str]]:
    """Read the normalisation by dataset or process from a CSV file: `name`, and columns of `NUMBERS`.

    Raises CatalogueError for another column, or if the file cannot be read.
    """
    try:
        columns, *rows = _cells(read_text(path)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        msg = f"table {path}: {getattr(error, 'strerror', None) or error}"
        raise CatalogueError(msg) from error
    valid = ("name", *NUMBERS)
    if "name" not in columns:
        msg = f"table {path}: no column 'name', there: {', '.join(columns) or 'nothing'}"
        raise CatalogueError(msg)
    for column in columns:
        if column not in valid or columns.count(column) > 1:
            what = "unknown column" if column not in valid else "two columns"
            msg = f"table {path}: {what} {column!r}, {did_you_mean(column, valid)}"
            raise CatalogueError(msg)
    table: dict[str, dict[str, str]] = {}
    for line, cells in enumerate(rows, start=2):
        if not cells:
            continue
        if len(cells) > len(columns):
            msg = f"table {path}: line {line}: {len(cells)} cells under {len(columns)} columns"
            raise CatalogueError(msg)
        row = dict(itertools.zip_longest(columns, cells, fillvalue=""))
        name = row.pop("name")
        if not name:
            msg = f"table {path}: line {line}: numbers without a name"
            raise CatalogueError(msg)
        if name in table:
            msg = f"table {path}: line {line}: {name!r} is given twice"
            raise CatalogueError(msg)
        table[name] = {key: value for key, value in row.items() if value}
    return table


def _cells(text: str) -> list[list[str]]:
    """Read the rows of a table as spreadsheets save them, without spaces and empty cells at their end.

    Cells stand between commas; in countries with a decimal comma between semicolons, or tabs.
    """
    header = text.partition("\n")[0]
    delimiter = next((sign for sign in ";\t" if sign in header), ",")
    rows = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, skipinitialspace=True)
    found = [[cell.strip() for cell in row] for row in rows]
    for row in found:
        while row and not row[-1]:
            row.pop()
    return found


def unknowns(catalogue: Catalogue) -> Iterable[str]:
    """Name each dataset of simulation whose normalisation is not known, in one line."""
    for name, dataset in catalogue.datasets.items():
        if not dataset.is_simulation:
            continue
        if dataset.cross_section is None:
            yield f"{name}: cross section not known: it will count events"
        elif dataset.sum_of_weights is None:
            yield f"{name}: sum of weights not known: taken from the events in the files"


def doubts(catalogue: Catalogue) -> Iterator[str]:
    """Say in one line each what may be meant otherwise: numbered files as parts of one dataset, and datasets
    of one sample, which are added up.
    """
    alike: dict[Any, list[str]] = {}
    for name, dataset in catalogue.datasets.items():
        numbered = re.compile(rf"(?:.*/)?(?<!{re.escape(name)}/){re.escape(name)}_(\d+)\.root")
        numbers = sorted(int(m[1]) for m in map(numbered.fullmatch, dataset.files) if m)
        if numbers and numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            yield (
                f"{name}: {name}_{numbers[0]}.root, {name}_{numbers[-1]}.root, ... are taken for parts of "
                "one dataset: put each into a folder of its own if they are not"
            )
        if dataset.cross_section is not None:
            alike.setdefault((*catalogue.samples[name], dataset.cross_section), []).append(name)
    for (process, *_, cross_section), names in alike.items():
        if len(names) > 1:
            yield (
                f"{process}: {', '.join(names)} have {cross_section:g} pb each, which are added up: files of "
                "one sample and its extension are one dataset"
            )


def _files_by_dataset(folder: Path) -> dict[str, list[Path]]:
    if not folder.is_dir():
        msg = f"{folder} is no folder"
        raise CatalogueError(msg)
    found: dict[str, list[Path]] = {}
    lost = []
    for path in _ntuples(folder):
        parents = [parent.name for parent in path.relative_to(folder).parents if parent.name]
        names = [*parents, _PART_OF_DATASET.sub("", path.stem)]
        name = next((name for name in names if _DATASET.fullmatch(name)), None)
        if name is None:
            lost.append(f"{path}: neither folder nor file is named {{process}}__{{variation}}")
        else:
            found.setdefault(name, []).append(path)
    if lost:
        raise CatalogueError("\n".join(lost))
    if not found:
        msg = f"{folder}: no file *.root"
        raise CatalogueError(msg)
    return found


def _ntuples(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Find the `*.root` below a folder, also where links to folders lead, in their order.

    Names with a dot in front are left out: snapshots of file systems, parts of what was not finished.
    Raises CatalogueError for a folder that cannot be read.
    """
    here = folder.resolve()
    if here in above:
        return
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        msg = f"{folder}: {error.strerror or error}"
        raise CatalogueError(msg) from error
    for path in inside:
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _ntuples(path, (*above, here))
        elif path.suffix == ".root":
            yield path


def _require_all_events(folder: Path) -> None:
    """Raise CatalogueError where another catalogue would take a skim's events, or those that passed
    a pre-selection, for all there were.
    """
    for path in sorted(folder.rglob(SKIM_CATALOGUE)):
        try:
            known = Catalogue.load(path)
        except CatalogueError:
            continue
        if known.skim is not None or known.preselection:
            which = "is pre-selected" if known.skim is None else "is a skim"
            msg = f"{path.parent} {which} and lacks events: use its own catalogue, {path}"
            raise CatalogueError(msg)


def _dataset(
    name: str,
    folder: Path,
    files: list[Path],
    numbers: Mapping[str, Mapping[str, Any]],
    tree: str,
    problems: list[str],
) -> dict[str, Any]:
    """Make the entry of a dataset in a catalogue; files that cannot be read are added to `problems`."""
    found = _read_each(files, folder, lambda path: count_events(path, tree), problems)
    names = (path.relative_to(folder).as_posix() for path in files)
    record: dict[str, Any] = _named(name) | {"files": {n: found.get(n, 0) for n in names}}
    if record["kind"] != "collision":
        record |= {**numbers.get(record["process"], {}), **numbers.get(name, {})}
    return record


def _nano_dataset(
    name: str,
    folder: Path,
    files: list[Path],
    numbers: Mapping[str, Mapping[str, Any]],
    tree: str,
    problems: list[str],
) -> dict[str, Any]:
    """As `_dataset`, with what NanoAOD says of its generator weights."""
    found = _read_each(files, folder, lambda path: nanoaod.inspect(path, tree), problems)
    names = (path.relative_to(folder).as_posix() for path in files)
    events = {n: found[n].events if n in found else 0 for n in names}
    record: dict[str, Any] = _named(name) | {"files": events}
    is_data = record["kind"] == "collision"
    if found:
        try:
            record |= nanoaod.fields(found, is_data=is_data)
        except CatalogueError as error:
            problems.append(f"{name}: {error}")
    if not is_data:
        record |= {**numbers.get(record["process"], {}), **numbers.get(name, {})}
    return record


def _read_each(
    files: list[Path], folder: Path, read: Callable[[str], _Read], problems: list[str]
) -> dict[str, _Read]:
    """Read every file; return name below the folder -> what was read, and add faults to `problems`."""
    found = {}
    for path in files:
        name = path.relative_to(folder).as_posix()
        if not is_text(name):
            problems.append(f"{path}: a name that is not UTF-8 cannot be listed: rename it")
            continue
        try:
            found[name] = read(str(path))
        except Exception as error:  # noqa: BLE001 - reported, whatever it is
            problems.append(f"{path}: {describe(error)}")
    return found


def _named(name: str) -> dict[str, Any]:
    """Read process, variation, kind and channel from the name of a dataset."""
    match = _DATASET.fullmatch(name)
    assert match is not None  # _files_by_dataset takes no other name
    process, variation = match["process"], match["variation"]
    if process == DATA:
        # A stream of two leptons (DoubleMuon, MuonEG) is of neither channel.
        channels = [c for c in FLAVOURS if re.search(f"(?<!double){c}(?!eg)", name.casefold())]
        channel = channels[0] if len(channels) == 1 else None
        return {"process": DATA, "kind": "collision", "channel": channel}
    kind = "signal" if process == "ttbar" else "background"
    return {"process": process, "variation": variation or NOMINAL, "kind": kind}


def _sample(name: str) -> Sample:
    record = _named(name)
    return record["process"], record.get("variation", NOMINAL), record.get("channel")


def _require_meaning(numbers: Mapping[str, Mapping[str, Any]], found: Mapping[str, Any]) -> None:
    """Raise CatalogueError for numbers of no dataset of simulation, or of a process with several."""
    simulated = {name: _named(name) for name in found if _named(name)["kind"] != "collision"}
    by_process: dict[str, list[str]] = {}
    for name, record in simulated.items():
        by_process.setdefault(record["process"], []).append(name)
    for name, fields in numbers.items():
        if name in simulated:
            continue
        if name not in by_process:
            msg = f"normalisation of an unknown dataset or process of simulation {name!r}: "
            raise CatalogueError(msg + did_you_mean(name, [*by_process, *simulated]))
        parts = by_process[name]
        samples = {simulated[part]["variation"] for part in parts}
        if len(samples) < len(parts) or ("sum_of_weights" in fields and len(parts) > 1):
            msg = (
                f"{name!r} has several datasets, give the numbers of each (cross sections are added up): "
                f"{', '.join(parts)}"
            )
            raise CatalogueError(msg)
