"""Datasets and their files: `ntuples.json` <-> typed records. The only room that knows its layout."""

from __future__ import annotations

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveFloat, ValidationError

from analysis.common.errors import CatalogueError, did_you_mean
from analysis.common.files import write_json
from analysis.common.strict import Strict, faults
from analysis.datasets.coverage import TIGHTER_BEFORE, Skim, SkimmedDataset
from analysis.datasets.processes import DATA, PROCESS_LABELS
from analysis.datasets.sample import SampleInfo
from analysis.datasets.units import cross_section_pb, luminosity_ipb

Kind = Literal["collision", "signal", "background"]
Channel = Literal["electron", "muon"]

_URL = re.compile(r"^[a-z]+://")
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")


def _adler32(given: Any) -> Any:
    """Eight digits, also of what the portal writes: `adler32:9719ed04`."""
    if not isinstance(given, str):
        return given
    digits = given.removeprefix("adler32:").lower().zfill(8)
    if not re.fullmatch("[0-9a-f]{8}", digits):
        msg = f"expected eight hexadecimal digits, got {given!r}"
        raise ValueError(msg)
    return digits


class Checksum(Strict):
    """What a file was when the catalogue was made."""

    size: NonNegativeInt
    """Bytes."""
    adler32: Annotated[str, BeforeValidator(_adler32)]


class Dataset(Strict):
    """One set of ntuple files with one normalisation."""

    process: str
    variation: str = "nominal"
    kind: Kind
    channel: Channel | None = None
    """Collision data: the channel that this stream provides; None for both."""
    cms_name: str | None = None
    record: int | None = None
    """Number of the record at opendata.cern.ch."""
    comment: str | None = None
    cross_section: Annotated[float, BeforeValidator(cross_section_pb)] | None = None
    """pb; None if unknown: the dataset counts events."""
    k_factor: PositiveFloat = 1.0
    filter_efficiency: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    sum_of_weights: PositiveFloat | None = None
    """Of all generated events that passed the generator's filter; None if unknown."""
    sum_of_weights_is: Literal["count", "weights"] = "count"
    """Whether `sum_of_weights` is a plain number of events or the sum of generator weights."""
    skim: SkimmedDataset | None = None
    path: str = ""
    """Folder of the files, below the catalogue's base."""
    files: Annotated[dict[str, NonNegativeInt], Field(min_length=1)]
    """File name -> number of events in it."""
    checksums: dict[str, Checksum] = Field(default_factory=dict)
    """File name -> its size and Adler-32, as far as they are known."""

    @property
    def events(self) -> int:
        return sum(self.files.values())

    @property
    def is_simulation(self) -> bool:
        return self.kind != "collision"


class NtupleFile(NamedTuple):
    """A file of a dataset."""

    dataset: str
    url: str
    events: int
    checksum: Checksum | None = None

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine, not on a server."""
        return "://" not in self.url


class Catalogue(Strict):
    """All datasets of an analysis."""

    description: str | None = None
    luminosity: Annotated[float, BeforeValidator(luminosity_ipb)] | None = None
    """1/pb, of all the collision data in the catalogue."""
    tree: str = "events"
    base: str = "."
    """Address or folder that every path stands below; a relative one is beside the catalogue."""
    label: str | None = None
    """What figures say the events are; by default `CMS Open Data` if a dataset has a CMS name."""
    processes: dict[str, str] = Field(default_factory=dict)
    """Processes beyond the usual ones, with their labels for figures."""
    preselection: dict[str, float] = Field(default_factory=dict)
    """Cut of the configuration -> the loosest value that the files have all events for."""
    skim: Skim | None = None
    """How the files were made, if they are a skim."""
    datasets: Annotated[dict[str, Dataset], Field(min_length=1)]

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read and check a catalogue.

        Raises CatalogueError, one line for each fault of the file with its place.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            msg = f"catalogue {path}: {getattr(error, 'strerror', None) or error}"
            raise CatalogueError(msg) from error
        repeated: list[str] = []
        try:
            values = json.loads(text, object_pairs_hook=lambda pairs: _unique(pairs, repeated))
        except json.JSONDecodeError as error:
            msg = f"catalogue {path}: line {error.lineno}: not JSON: {error.msg}"
            raise CatalogueError(msg) from error
        try:
            catalogue = cls.model_validate(values)
        except ValidationError as error:
            found = [f"{key}: given twice" for key in repeated] + faults(error, cls)
        else:
            found = [f"{key}: given twice" for key in repeated] + list(catalogue.inconsistencies())
        if found:
            raise CatalogueError("\n".join(f"catalogue {path}: {fault}" for fault in found))
        base = catalogue.base
        if not _URL.match(base):
            base = os.path.normpath(path.absolute().parent / base)
        return catalogue.model_copy(update={"base": base})

    def write(self, path: Path) -> None:
        """Write the catalogue as `load` reads it, one file a line."""
        values = self.model_dump(mode="json", exclude_defaults=True)
        write_json(path, values)

    @property
    def files(self) -> list[NtupleFile]:
        """Every file, in the order of the catalogue."""
        return [file for name in self.datasets for file in self.files_of(name)]

    def files_of(self, dataset: str) -> list[NtupleFile]:
        record = self.datasets[dataset]
        folder = record.path.strip("/")
        prefix = self.base.rstrip("/") + "/" + (folder + "/" if folder else "")
        return [
            NtupleFile(dataset, prefix + name, n, record.checksums.get(name))
            for name, n in record.files.items()
        ]

    @property
    def events(self) -> int:
        return sum(dataset.events for dataset in self.datasets.values())

    @property
    def labels(self) -> dict[str, str]:
        """Process -> label for figures."""
        return PROCESS_LABELS | self.processes

    @property
    def figure_label(self) -> str:
        if self.label is not None:
            return self.label
        from_cms = any(dataset.cms_name for dataset in self.datasets.values())
        return "CMS Open Data" if from_cms else "Private work"

    def select(
        self, datasets: Iterable[str] | None = None, processes: Iterable[str] | None = None
    ) -> Self:
        """The catalogue with some of its datasets or processes only.

        Raises CatalogueError for a name that is not there.
        """
        names = _known("dataset", datasets, self.datasets)
        kinds = _known("process", processes, {d.process for d in self.datasets.values()})
        chosen = {
            name: dataset
            for name, dataset in self.datasets.items()
            if name in names and dataset.process in kinds
        }
        if not chosen:
            msg = "no dataset is left: the datasets and the processes asked for have none in common"
            raise CatalogueError(msg)
        return self.model_copy(update={"datasets": chosen})

    def fileset(self) -> dict[str, dict[str, Any]]:
        """As `coffea.processor.Runner` takes it, with what the processor asks of the metadata."""
        return {
            name: {
                "files": {file.url: self.tree for file in self.files_of(name)},
                "metadata": metadata(dataset),
            }
            for name, dataset in self.datasets.items()
        }

    def inconsistencies(self) -> Iterator[str]:
        """What is wrong between fields that are right by themselves: one line each, with its place."""
        known = self.labels
        for cut in sorted(self.preselection.keys() - TIGHTER_BEFORE):
            yield f"preselection.{cut}: no cut to limit, {did_you_mean(cut, TIGHTER_BEFORE)}"
        for name, dataset in self.datasets.items():
            place = f"datasets.{name}"
            if not _NAME.match(name):
                yield f"{place}: a name has letters, digits, '_', '-' and '.' only"
            if dataset.process not in known:
                hint = did_you_mean(dataset.process, known)
                yield (
                    f"{place}.process: unknown process {dataset.process!r}, {hint} "
                    "(a new one is declared under 'processes')"
                )
            yield from (f"{place}.{fault}" for fault in _data_or_simulation(dataset))
            for file in sorted(dataset.checksums.keys() - dataset.files.keys()):
                hint = did_you_mean(file, dataset.files)
                yield f"{place}.checksums.{file}: of no file of the dataset, {hint}"
        streams = [d.channel for d in self.datasets.values() if not d.is_simulation]
        if len(streams) > 1 and None in streams:
            yield (
                "datasets: collision data in several datasets need a 'channel' each, or events that "
                "are in two count twice"
            )
        listed = defaultdict(list)
        for ntuple in self.files:
            listed[_plain(ntuple.url)].append(ntuple.url)
        yield from (f"{urls[0]}: listed {len(urls)} times" for urls in listed.values() if urls[1:])


def same_files(files: Iterable[NtupleFile]) -> Iterator[tuple[NtupleFile, str]]:
    """Local files that are, by links, one that is before them: its events would count twice.

    What is not there, and files on servers, are nobody's double.
    """
    known: dict[tuple[int, int], str] = {}
    for file in files:
        if not file.is_local:
            continue
        with suppress(OSError):
            status = Path(file.url).stat()
            first = known.setdefault((status.st_dev, status.st_ino), file.url)
            if first != file.url:
                yield file, first


def metadata(dataset: Dataset) -> dict[str, Any]:
    """What the processor is told of a dataset."""
    return SampleInfo(
        dataset.process, dataset.variation, dataset.is_simulation, dataset.channel
    )._asdict()


def _data_or_simulation(dataset: Dataset) -> Iterator[str]:
    if (dataset.process == DATA) != (dataset.kind == "collision"):
        yield f"kind: process {DATA!r} and kind 'collision' go together, got {dataset.kind!r}"
    if dataset.is_simulation and dataset.channel is not None:
        yield "channel: only collision data have one"
    if not dataset.is_simulation and dataset.cross_section is not None:
        yield "cross_section: collision data have none"


def _plain(url: str) -> str:
    """The address without `.`, `..` and doubled slashes."""
    scheme, separator, path = url.rpartition("://")
    return scheme + separator + os.path.normpath(path)


def _known(what: str, asked: Iterable[str] | None, valid: Iterable[str]) -> set[str]:
    names = set(valid)
    if asked is None:
        return names
    wanted = set(asked)
    for name in sorted(wanted - names):
        msg = f"unknown {what} {name!r}: {did_you_mean(name, sorted(names))}"
        raise CatalogueError(msg)
    return wanted


def _unique(pairs: list[tuple[str, Any]], repeated: list[str]) -> dict[str, Any]:
    counts = Counter(key for key, _ in pairs)
    repeated.extend(key for key, n in counts.items() if n > 1)
    return dict(pairs)
