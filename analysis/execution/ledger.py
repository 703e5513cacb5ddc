"""The ledger of a run: what was to be processed, what was, and why the rest was not."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from coffea.processor.executor import WorkItem
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, ValidationError

from analysis.common.errors import IncompleteError, OutputError
from analysis.common.files import write_json
from analysis.common.folders import LEDGER, run_folder
from analysis.common.strict import Strict, faults
from analysis.config import Configuration
from analysis.datasets.catalogue import Catalogue, Dataset, LeftOut
from analysis.datasets.processes import DATA
from analysis.datasets.sample import NOMINAL
from analysis.execution.account import Account
from analysis.execution.plan import Chunk


class Failure(Chunk):
    """A chunk that was tried and could not be processed."""

    reason: str
    attempts: PositiveInt = 1


class Doubtful(Chunk):
    """A chunk that was processed, with values that cannot be."""

    found: str
    """Columns, and how many of their values."""


class ChunkCounts(Strict):
    """Numbers of chunks: each one is done, failed or not reached."""

    planned: NonNegativeInt
    done: NonNegativeInt
    failed: NonNegativeInt
    not_reached: NonNegativeInt
    resumed: NonNegativeInt = 0
    """Chunks among those done that came from checkpoints of an earlier run."""
    retries: NonNegativeInt = 0
    """Attempts beyond the first ones, of all chunks."""


class FileRecord(Strict):
    """A file that the run was to read."""

    url: str
    events_expected: NonNegativeInt
    events_processed: NonNegativeInt


class DatasetRecord(Strict):
    """A dataset: what is known of it, and what was read of it."""

    process: str
    variation: str
    kind: str
    channel: str | None
    cross_section: float | None
    """pb."""
    k_factor: float
    filter_efficiency: float
    sum_of_weights: float | None
    """Sum over all generated events, from the catalogue."""
    sum_of_weights_is: str
    comment: str | None
    events_in_catalogue: NonNegativeInt
    events_in_source: NonNegativeInt
    """Events before a skim; as many as in the catalogue where there was none."""
    sum_of_weights_processed: float
    """Sum over the events that were read, as the processor counted them."""
    files: list[FileRecord]

    @property
    def events_expected(self) -> int:
        return sum(file.events_expected for file in self.files)

    @property
    def events_processed(self) -> int:
        return sum(file.events_processed for file in self.files)

    @property
    def source_events_processed(self) -> float:
        """Events before a skim that the processed ones stand for."""
        if self.events_in_catalogue == 0:
            return self.events_in_source
        return self.events_processed * self.events_in_source / self.events_in_catalogue

    @property
    def fraction(self) -> float:
        """Part of the dataset's events in the catalogue that was processed."""
        if self.events_in_catalogue == 0:
            return 1.0
        return self.events_processed / self.events_in_catalogue


class Ledger(Strict):
    """Everything that a later stage, or a reader, has to know of a run."""

    format: Literal["ttbar-opendata run 2"] = "ttbar-opendata run 2"
    command: list[str]
    started: str
    duration_s: float
    versions: dict[str, str]
    executor: dict[str, Any]
    catalogue: str
    luminosity: float | None
    """1/pb, of all the collision data in the catalogue."""
    labels: dict[str, str]
    """Process -> label for figures."""
    figure_label: str
    """Name of the events in figures."""
    config: dict[str, Any]
    config_digest: str
    analysis: dict[str, Any] = Field(default_factory=dict)
    """What the processor says of itself: names and labels of what it filled."""
    columns_read: list[str]
    bytes_read: NonNegativeInt
    cpu_s: NonNegativeFloat = 0.0
    """Processor time of the workers for the chunks, reading included, start and merging not."""
    peak_memory_mb: NonNegativeFloat = 0.0
    """The most that a worker had in this run; 0 if all chunks are from checkpoints."""
    datasets: dict[str, DatasetRecord]
    left_out: dict[str, LeftOut] = Field(default_factory=dict)
    """Datasets of the catalogue that were not asked for."""
    failures: list[Failure]
    stopped: str = ""
    """Reason why chunks were not reached; empty if the run was not stopped."""
    not_reached: list[Chunk] = Field(default_factory=list)
    doubtful: list[Doubtful] = Field(default_factory=list)
    chunks: ChunkCounts | None = None
    written: dict[str, str] = Field(default_factory=dict)
    """File beside the ledger -> digest of what the run wrote there."""

    @property
    def data_label(self) -> str:
        """Name of the data within a line: pseudo-data must not be taken for data."""
        return self.labels.get(DATA, DATA).lower()

    @property
    def events_expected(self) -> int:
        return sum(dataset.events_expected for dataset in self.datasets.values())

    @property
    def events_processed(self) -> int:
        return sum(dataset.events_processed for dataset in self.datasets.values())

    @property
    def missing(self) -> list[str]:
        """A line for each process of which some datasets were processed and others left out, nominal or
        of the same variation, and for events that were not processed.
        """
        records = self.datasets.values()
        here = {(r.process, variation) for r in records for variation in (r.variation, NOMINAL)}
        lost: dict[str, list[str]] = defaultdict(list)
        for name, dataset in self.left_out.items():
            if (dataset.process, dataset.variation) in here:
                lost[dataset.process].append(name)
        lines = [f"{process} lacks {', '.join(names)}" for process, names in lost.items()]
        return lines if self.complete else [*lines, self.what_is_missing()]

    @property
    def complete(self) -> bool:
        everything = self.events_processed == self.events_expected
        return everything and not self.failures and not self.not_reached

    def require_complete(self) -> None:
        """Raise IncompleteError, with what is missing, for a run that is not complete."""
        if not self.complete:
            raise IncompleteError(self.what_is_missing())

    def what_is_missing(self) -> str:
        """Say in one line how much was not processed, and why: the first file, and what stopped the run."""
        missing = self.events_expected - self.events_processed
        reasons = []
        if self.failures:
            files = sorted({failure.file for failure in self.failures})
            first = self.failures[0]
            tries = f", {first.attempts} attempts" if first.attempts > 1 else ""
            more = f" (and {len(files) - 1} more files)" if len(files) > 1 else ""
            reasons.append(f"{first.file}: {first.reason}{tries}{more}")
        if self.not_reached:
            reasons.append(f"{len(self.not_reached)} chunks were not reached: {self.stopped}")
        return (
            f"{missing} of {self.events_expected} events were not processed: {'; '.join(reasons)}"
        )

    def write(self, folder: Path) -> None:
        write_json(folder / LEDGER, {"complete": self.complete} | self.model_dump(mode="json"))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load the ledger of a results folder.

        Raises OutputError if there is none or it is not one.
        """
        path = run_folder(folder) / LEDGER
        try:
            values = json.loads(
                path.read_bytes()
            )  # pydantic's own parser refuses names that are not UTF-8
            return cls.model_validate(values, extra="ignore")
        except OSError as error:
            msg = f"cannot read {path}: {error.strerror or error}"
            raise OutputError(msg) from error
        except ValidationError as error:
            msg = f"{path}: not of this version ({faults(error, cls)[0]}): run 'process' again"
            raise OutputError(msg) from error
        except ValueError as error:
            msg = f"{path}: not JSON ({error}): run 'process' again"
            raise OutputError(msg) from error


def dataset_record(
    dataset: Dataset, files: list[FileRecord], sum_of_weights_processed: float
) -> DatasetRecord:
    kept = set(DatasetRecord.model_fields) & set(Dataset.model_fields) - {"files"}
    return DatasetRecord(
        **dataset.model_dump(include=kept),
        events_in_catalogue=dataset.events,
        events_in_source=dataset.events_in_source,
        sum_of_weights_processed=sum_of_weights_processed,
        files=files,
    )


def file_records(
    expected: Iterable[tuple[str, str, int]], processed: Iterable[WorkItem]
) -> dict[str, list[FileRecord]]:
    """Return records by dataset, from planned (dataset, file, events) and processed work items."""
    done: dict[tuple[str, str], int] = defaultdict(int)
    for item in processed:
        done[item.dataset, item.filename] += len(item)
    records: dict[str, list[FileRecord]] = defaultdict(list)
    for dataset, url, events in expected:
        record = FileRecord(url=url, events_expected=events, events_processed=done[dataset, url])
        records[dataset].append(record)
    return records


def chunk_fields(items: Sequence[WorkItem], account: Account, resumed: int) -> dict[str, Any]:
    """Return fields of the ledger for the fate of each chunk, in the order of the catalogue."""
    failed = sorted(account.failed)
    reached = account.done | account.failed.keys()
    not_reached = [n for n in range(len(items)) if n not in reached]
    return {
        "failures": [
            Failure.of(items[n], reason=account.failed[n], attempts=max(1, account.attempts[n]))
            for n in failed
        ],
        "stopped": account.stopped,
        "not_reached": [Chunk.of(items[n]) for n in not_reached],
        "doubtful": [
            Doubtful.of(items[n], found=account.warnings[n]) for n in sorted(account.warnings)
        ],
        "chunks": ChunkCounts(
            planned=len(items),
            done=len(account.done),
            failed=len(failed),
            not_reached=len(not_reached),
            resumed=resumed,
            retries=sum(tries - 1 for tries in account.attempts.values() if tries),
        ),
    }


def catalogue_fields(catalogue: Catalogue) -> dict[str, Any]:
    return {
        "luminosity": catalogue.luminosity,
        "left_out": catalogue.left_out,
        "labels": catalogue.labels,
        "figure_label": catalogue.figure_label,
    }


def config_fields(config: Configuration | None) -> dict[str, Any]:
    """Return fields of the ledger for the configuration, empty for a processor without one."""
    return {
        "config": {} if config is None else config.model_dump(mode="json"),
        "config_digest": "" if config is None else config.digest,
    }


def usage_fields(metrics: Mapping[str, Any], account: Account) -> dict[str, Any]:
    """Return fields of the ledger for columns, bytes, time and memory, from the merged metrics."""
    # coffea lists the parts of each, such as `jet_pt-data` and `jet_pt-offsets`.
    columns = {str(column).rsplit("-", 1)[0] for column in metrics.get("columns", [])}
    return {
        "columns_read": sorted(columns),
        "bytes_read": metrics.get("bytesread", 0),
        "cpu_s": round(metrics.get("cpu_s", 0.0), 3),
        "peak_memory_mb": round(account.peak_mb, 1),
    }
