"""The ledger of a run: what was to be processed, what was, and why the rest was not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from pydantic import NonNegativeInt, ValidationError

from analysis.catalogue import Catalogue, Dataset
from analysis.errors import IncompleteError, OutputError
from analysis.files import write_json
from analysis.validation import Strict, faults

FORMAT = "ttbar-opendata run 1"
FILE_NAME = "run.json"


class Failure(Strict):
    """A chunk that was not processed."""

    dataset: str
    file: str
    first_event: NonNegativeInt
    last_event: NonNegativeInt
    """Exclusive."""
    reason: str


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
    """Of everything that was generated, as the catalogue has it."""
    sum_of_weights_is: str
    comment: str | None
    events_in_catalogue: NonNegativeInt
    sum_of_weights_processed: float
    """Of the events that were read, as the processor counted them."""
    files: list[FileRecord]

    @property
    def events_expected(self) -> int:
        return sum(file.events_expected for file in self.files)

    @property
    def events_processed(self) -> int:
        return sum(file.events_processed for file in self.files)

    @property
    def fraction(self) -> float:
        """Part of the dataset's events in the catalogue that was processed."""
        if self.events_in_catalogue == 0:
            return 1.0
        return self.events_processed / self.events_in_catalogue


class Ledger(Strict):
    """Everything that a later stage, or a reader, has to know of a run."""

    format: str = FORMAT
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
    """What figures say the events are."""
    config: dict[str, Any]
    config_digest: str
    columns_read: list[str]
    bytes_read: NonNegativeInt
    datasets: dict[str, DatasetRecord]
    failures: list[Failure]

    @property
    def events_expected(self) -> int:
        return sum(dataset.events_expected for dataset in self.datasets.values())

    @property
    def events_processed(self) -> int:
        return sum(dataset.events_processed for dataset in self.datasets.values())

    @property
    def complete(self) -> bool:
        return self.events_processed == self.events_expected and not self.failures

    def require_complete(self) -> None:
        """Raises IncompleteError, saying what is missing."""
        if not self.complete:
            raise IncompleteError(self.what_is_missing())

    def what_is_missing(self) -> str:
        """One line: how much was not processed, and why for the first file."""
        missing = self.events_expected - self.events_processed
        files = sorted({failure.file for failure in self.failures})
        first = self.failures[0]
        more = f" (and {len(files) - 1} more files)" if len(files) > 1 else ""
        return (
            f"{missing} of {self.events_expected} events were not processed: "
            f"{first.file}: {first.reason}{more}"
        )

    def write(self, folder: Path) -> None:
        write_json(folder / FILE_NAME, {"complete": self.complete} | self.model_dump(mode="json"))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The ledger of a results folder.

        Raises OutputError if there is none or it is not one.
        """
        path = folder / FILE_NAME
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            msg = f"{folder} is no results folder of a finished run: {path.name}: {error.strerror}"
            raise OutputError(msg) from error
        try:
            values = cls.model_validate_json(text, extra="ignore")
        except ValidationError as error:
            msg = f"{path}: {'; '.join(faults(error, cls)[:3])}"
            raise OutputError(msg) from error
        return values


def dataset_record(
    dataset: Dataset, files: list[FileRecord], sum_of_weights_processed: float
) -> DatasetRecord:
    kept = set(DatasetRecord.model_fields) & set(Dataset.model_fields) - {"files"}
    return DatasetRecord(
        **dataset.model_dump(include=kept),
        events_in_catalogue=dataset.events,
        sum_of_weights_processed=sum_of_weights_processed,
        files=files,
    )


def file_records(
    expected: Iterable[tuple[str, str, int]], processed: Iterable[tuple[str, str, int]]
) -> dict[str, list[FileRecord]]:
    """Records by dataset, from (dataset, file, events) of what was planned and what was done."""
    done: dict[tuple[str, str], int] = defaultdict(int)
    for dataset, url, events in processed:
        done[dataset, url] += events
    records: dict[str, list[FileRecord]] = defaultdict(list)
    for dataset, url, events in expected:
        record = FileRecord(url=url, events_expected=events, events_processed=done[dataset, url])
        records[dataset].append(record)
    return records


def catalogue_fields(catalogue: Catalogue) -> dict[str, Any]:
    return {
        "luminosity": catalogue.luminosity,
        "labels": catalogue.labels,
        "figure_label": catalogue.figure_label,
    }
