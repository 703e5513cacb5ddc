"""Datasets and their files: `ntuples.json` <-> typed records. The only room that knows its layout."""

from __future__ import annotations

import filecmp
import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self
from urllib.parse import unquote

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveFloat

from analysis.common.errors import CatalogueError, did_you_mean
from analysis.common.files import write_json
from analysis.common.names import name_fault, one_or_more
from analysis.common.strict import Strict, read_json
from analysis.common.tables import html
from analysis.datasets.coverage import TIGHTER_BEFORE, Skim, SkimmedDataset
from analysis.datasets.processes import DATA, PROCESS_LABELS
from analysis.datasets.sample import NOMINAL, SampleInfo, template_name
from analysis.datasets.units import cross_section_pb, luminosity_ipb

Kind = Literal["collision", "signal", "background"]
Channel = Literal["electron", "muon"]
Format = Literal["poet", "nanoaod", "nanoaod-deepjet", "nanoaod-pfmet"]
Sample = tuple[str, str, str | None]
"""Process, variation and channel: an event is in it once."""

_HEAD_BYTES = 1024
"""Beginning of a ROOT file, with the identifier that no other file has."""
_ROOT_OF_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^/]*/{0,2}")
"""Server, and the slashes that begin a path there: the path after `root://HOST//` is absolute."""


def _adler32(given: Any) -> Any:
    """Read an Adler-32 as eight digits, also as the portal writes it: `adler32:9719ed04`."""
    if not isinstance(given, str):
        return given
    digits = given.removeprefix("adler32:").lower().zfill(8)
    if not re.fullmatch("[0-9a-f]{8}", digits):
        msg = f"expected eight hexadecimal digits, got {given!r}"
        raise ValueError(msg)
    return digits


class Checksum(Strict):
    """Size and Adler-32 of a file when the catalogue was made."""

    size: NonNegativeInt
    """Bytes."""
    adler32: Annotated[str, BeforeValidator(_adler32)]


class LeftOut(Strict):
    """A dataset of the whole catalogue that was not asked for."""

    process: str
    variation: str
    channel: Channel | None = None
    events: NonNegativeInt


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
    """Sum of weights of all generated events that passed the generator's filter; None if unknown."""
    sum_of_weights_is: Literal["count", "weights"] = "count"
    """Whether `sum_of_weights` is a plain number of events or the sum of generator weights."""
    generator_weights: bool = False
    """Whether events have a generator weight (NanoAOD), which histograms and sums are to be of."""
    event_numbers: bool = False
    """Collision data: whether events have run, luminosity section and event number (NanoAOD)."""
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
    def events_in_source(self) -> int:
        """Events of the dataset before it was skimmed."""
        return self.events if self.skim is None else self.skim.events

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
        """Whether the file is on this machine, not on a server."""
        return "://" not in self.url


class Catalogue(Strict):
    """All datasets of an analysis."""

    description: str | None = None
    luminosity: Annotated[float, BeforeValidator(luminosity_ipb)] | None = None
    """1/pb, of all the collision data in the catalogue."""
    format: Format = "poet"
    """Layout of the files: flat POET ntuples, or NanoAOD with CSVv2 or DeepJet as b-tag discriminator, or
    with DeepJet and `PFMET` (v13 to v15)."""
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
    left_out: dict[str, LeftOut] = Field(default_factory=dict)
    """Datasets that a selection of a larger catalogue has left out."""

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read and check a catalogue.

        Raises CatalogueError, one line for each fault of the file with its place.
        """
        read = read_json(path, cls, "catalogue", CatalogueError)
        base = joined(str(Path(path).parent.absolute()), read.base)
        catalogue = read.model_copy(update={"base": base})
        if found := list(catalogue.inconsistencies()):
            raise CatalogueError("\n".join(f"catalogue {path}: {fault}" for fault in found))
        return catalogue

    def write(self, path: Path) -> None:
        """Write the catalogue as `load` reads it, one file a line."""
        values = self.model_dump(mode="json", exclude_defaults=True)
        write_json(path, values)

    def __repr__(self) -> str:
        names = ", ".join(self.datasets)
        return f"<Catalogue: {self.events:,} events in {len(self.files)} files of {names}>"

    def _repr_html_(self) -> str:
        header = ("dataset", "process", "variation", "files", "events")
        rows = [
            (name, d.process, d.variation, str(len(d.files)), f"{d.events:,}")
            for name, d in self.datasets.items()
        ]
        return html(header, rows)

    @property
    def files(self) -> list[NtupleFile]:
        """Every file, in the order of the catalogue."""
        return [file for name in self.datasets for file in self.files_of(name)]

    def files_of(self, dataset: str) -> list[NtupleFile]:
        record = self.datasets[dataset]
        folder = joined(self.base, record.path)
        return [
            NtupleFile(dataset, joined(folder, name), n, record.checksums.get(name))
            for name, n in record.files.items()
        ]

    @property
    def events(self) -> int:
        return sum(dataset.events for dataset in self.datasets.values())

    @property
    def samples(self) -> dict[str, Sample]:
        """Dataset -> the sample that it is a part of."""
        return {name: (d.process, d.variation, d.channel) for name, d in self.datasets.items()}

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
        """Return the catalogue with some of its datasets or processes only; it knows what was left out.

        `datasets`, `processes`: names, or one name.

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
        left_out = {
            name: LeftOut(events=dataset.events_in_source, **dataset.model_dump(include=_KEPT))
            for name, dataset in self.datasets.items()
            if name not in chosen
        }
        return self.model_copy(update={"datasets": chosen, "left_out": self.left_out | left_out})

    def fileset(self) -> dict[str, dict[str, Any]]:
        """Make the fileset for a `coffea.processor.Runner`, with the metadata that the processor asks for."""
        return {
            name: {
                "files": {file.url: self.tree for file in self.files_of(name)},
                "metadata": metadata(dataset),
            }
            for name, dataset in self.datasets.items()
        }

    def inconsistencies(self) -> Iterator[str]:
        """Find what is wrong between fields that are right by themselves: one line each, with its place."""
        known = self.labels
        for cut in sorted(self.preselection.keys() - TIGHTER_BEFORE):
            yield f"preselection.{cut}: no cut to limit, {did_you_mean(cut, TIGHTER_BEFORE)}"
        for process in self.processes:
            if fault := _meant(DATA, process) or name_fault(process):
                yield f"processes.{process}: {fault}"
        for name, dataset in self.datasets.items():
            place = f"datasets.{name}"
            if fault := name_fault(name):
                yield f"{place}: {fault}"
            if dataset.process not in known:
                hint = did_you_mean(dataset.process, known)
                yield (
                    f"{place}.process: unknown process {dataset.process!r}, {hint} "
                    "(a new one is declared under 'processes')"
                )
            if fault := _meant(NOMINAL, dataset.variation) or name_fault(dataset.variation):
                yield f"{place}.variation: {dataset.variation!r}: {fault}"
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
        yield from self._files_at_fault()
        yield from clashes((d.process, d.variation) for d in self.datasets.values())

    def _files_at_fault(self) -> Iterator[str]:
        """Find files that are listed twice, by name or by content, or that cannot be read by their name."""
        listed = defaultdict(list)
        alike: dict[Any, list[str]] = defaultdict(list)
        samples = self.samples
        for file in self.files:
            listed[_plain(file.url)].append(file.url)
            alike[*samples[file.dataset], file.checksum].append(file.url)
            if fault := address_fault(file.url):
                yield f"{file.url}: {fault}"
        yield from (f"{urls[0]}: listed {len(urls)} times" for urls in listed.values() if urls[1:])
        for (*_, checksum), urls in alike.items():
            if checksum is not None and checksum.size and urls[1:]:
                yield (
                    f"{urls[1]}: size and Adler-32 of {urls[0]}: a copy, whose events would count twice"
                )

    def require_counts(self, *, weighted: bool) -> None:
        """Raise CatalogueError for a sum of generator weights, where each event counts one.

        `weighted`: events that have a generator weight are weighted with it.
        """
        for name, dataset in self.datasets.items():
            if dataset.sum_of_weights is None or dataset.sum_of_weights_is == "count":
                continue
            if not dataset.generator_weights or not weighted:
                why = "the ntuples have no" if weighted else "the analysis takes no"
                msg = (
                    f"datasets.{name}.sum_of_weights_is: 'weights', but {why} generator "
                    "weights and each event counts one: give the number of generated events"
                )
                raise CatalogueError(msg)

    def require_distinct(self, regions: Iterable[str], filled: Mapping[str, Iterable[str]]) -> None:
        """Raise CatalogueError where two things would fill one template.

        `filled`: process -> variations that its nominal datasets fill besides nominal.
        """
        own = {name: (d.process, d.variation) for name, d in self.datasets.items()}
        faults = [
            f"datasets.{name}.variation: {variation!r} is a variation that the nominal datasets of "
            f"{process!r} fill: call the sample otherwise, or turn that variation off"
            for name, (process, variation) in own.items()
            if variation != NOMINAL and variation in filled.get(process, ())
        ]
        every = [*own.values(), *((p, v) for p, names in filled.items() for v in names)]
        faults += list(clashes(every)) or clashes(every, regions)
        if faults:
            raise CatalogueError("\n".join(dict.fromkeys(faults)))


_KEPT = {"process", "variation", "channel"}


def clashes(samples: Iterable[tuple[str, str]], regions: Iterable[str] = ("",)) -> Iterator[str]:
    """Find pairs of (process, variation) whose templates have one name, in these regions."""
    users: dict[str, dict[tuple[str, str, str], None]] = defaultdict(dict)
    places = list(regions)
    for process, variation in samples:
        for region in places:
            name = template_name(region, process, variation).lstrip("_")
            users[name][region, process, variation] = None
    for name, found in users.items():
        if len(found) > 1:
            words = " and ".join(" ".join(part for part in user if part) for user in found)
            yield f"processes: the templates of {words} would both be called {name!r}: rename one"


def address_fault(url: str) -> str | None:
    """Say why no file can be read by this address; None if it may be."""
    if re.match(r"\w+://[^/]*\[[^/]*::", url):
        return "an IPv6 address with '::' cannot be read: write it in full, as [0:0:0:0:0:0:0:1]"
    if "::" in url:
        return "a name with '::' cannot be read, as it stands for a file within another: rename it"
    return None


def joined(base: str, name: str) -> str:
    """Join a name to the folder or address below which it stands; a whole address stands for itself.

    `..` goes up from the folder that a link leads to, as in the file system.
    """
    if name.startswith("file://"):
        name = unquote(name.removeprefix("file://").removeprefix("localhost"))
    if _ROOT_OF_URL.match(name):
        return name
    if server := _ROOT_OF_URL.match(base):
        parts = [part.strip("/") for part in (base[server.end() :], name)]
        start = server[0] if server[0].count("/") > 2 else f"{server[0]}/"
        return start + "/".join(part for part in parts if part not in ("", "."))
    here = Path(base)
    for part in Path(os.path.expanduser(name) if name.startswith("~/") else name).parts:  # noqa: PTH111
        here = here.resolve().parent if part == ".." else here / part
    return str(here)


def same_files(
    files: Iterable[NtupleFile], samples: Mapping[str, Sample]
) -> Iterator[tuple[NtupleFile, str]]:
    """Find each local file that is an earlier one, by a link or, in the same sample, byte for byte: its
    events would count twice. Yield the file and the address of the earlier one.

    `samples`: dataset -> the sample that it is a part of. Files that are not there, and files on servers, are left out.
    """
    known: dict[Any, str] = {}
    for file in files:
        if not file.is_local:
            continue
        with suppress(OSError):
            path = Path(file.url)
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                continue
            first = known.setdefault((status.st_dev, status.st_ino), file.url)
            if first == file.url:
                with path.open("rb") as content:
                    head = content.read(_HEAD_BYTES)
                other = known.setdefault((samples[file.dataset], status.st_size, head), file.url)
                if other != file.url and filecmp.cmp(other, path, shallow=False):
                    first = other
            if first != file.url:
                yield file, first


def metadata(dataset: Dataset) -> dict[str, Any]:
    """Make the metadata of a dataset for the processor."""
    return SampleInfo(
        dataset.process,
        dataset.variation,
        dataset.is_simulation,
        dataset.channel,
        dataset.generator_weights,
        dataset.event_numbers,
    )._asdict()


def _meant(word: str, name: str) -> str | None:
    """Say which word of the package a name is but for capitals; None if it is not."""
    return f"did you mean {word!r}?" if name != word and name.casefold() == word else None


def _data_or_simulation(dataset: Dataset) -> Iterator[str]:
    if (dataset.process == DATA) != (dataset.kind == "collision"):
        yield f"kind: process {DATA!r} and kind 'collision' go together, got {dataset.kind!r}"
    if dataset.is_simulation:
        yield from _simulation_faults(dataset)
        return
    if dataset.variation != NOMINAL:
        yield f"variation: collision data are {NOMINAL!r}, got {dataset.variation!r}"
    for field in (
        "cross_section",
        "k_factor",
        "filter_efficiency",
        "sum_of_weights",
        "generator_weights",
    ):
        if getattr(dataset, field) != Dataset.model_fields[field].default:
            yield f"{field}: collision data have none"


def _simulation_faults(dataset: Dataset) -> Iterator[str]:
    if dataset.channel is not None:
        yield "channel: only collision data have one"
    if dataset.event_numbers:
        yield "event_numbers: only those of collision data are read"
    generated, kept = dataset.sum_of_weights, max(dataset.events, dataset.events_in_source)
    if generated is None:
        if not kept and dataset.cross_section is not None:
            yield "files: no events, and no sum_of_weights: there is nothing to scale"
    elif dataset.sum_of_weights_is == "count" and generated < kept:
        yield f"sum_of_weights: {generated:.12g} generated events, but the files have {kept}"
    elif dataset.sum_of_weights_is == "count" and not generated.is_integer():
        yield (
            f"sum_of_weights: {generated:.12g} is no number of events: a sum of generator weights "
            "needs sum_of_weights_is = 'weights'"
        )
    if dataset.generator_weights and generated and dataset.sum_of_weights_is == "count":
        yield "sum_of_weights_is: 'weights' is needed where events have generator weights, got 'count'"


def _plain(url: str) -> str:
    """Write the address without `.`, `..` and doubled slashes."""
    scheme, separator, path = url.rpartition("://")
    return scheme + separator + os.path.normpath(path)


def _known(what: str, asked: Iterable[str] | None, valid: Iterable[str]) -> set[str]:
    names = set(valid)
    if asked is None:
        return names
    wanted = set(one_or_more(asked))
    for name in sorted(wanted - names):
        msg = f"unknown {what} {name!r}: {did_you_mean(name, sorted(names))}"
        raise CatalogueError(msg)
    return wanted
