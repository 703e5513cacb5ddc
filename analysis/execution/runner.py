"""Run a processor over a catalogue: plan, execute, account."""

from __future__ import annotations

import datetime
import logging
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import awkward as ak
from coffea.processor import ProcessorABC, Runner
from coffea.processor.executor import WorkItem
from pydantic_core import to_jsonable_python

from analysis.catalogue import Catalogue, metadata
from analysis.checksums import damaged
from analysis.config import Configuration
from analysis.errors import CatalogueError, ConfigError, did_you_mean
from analysis.execution import ledger as ledgers
from analysis.execution import remote
from analysis.execution.cluster_settings import Cluster, Local
from analysis.execution.environment import versions
from analysis.execution.executors import EXECUTORS, executor
from analysis.execution.failures import ChunkError
from analysis.execution.ledger import Failure, Ledger
from analysis.execution.plan import FILE_EVENTS, Limits, PlannedFile, chunks, planned_files
from schemas import AGCSchema
from schemas.agc import missing_branch_message

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Execution:
    """Where and in what pieces a run is done.

    Raises ConfigError for an unknown executor, no workers or no events a chunk.
    """

    executor: str = "iterative"
    workers: int = 1
    chunk_size: int = 100_000
    """Events."""
    progress: bool = False
    cluster: Cluster = field(default_factory=Local)
    """Of the executor `dask`."""
    max_workers: int | None = None
    """Of an adaptive cluster, that has `workers` at least; None for a fixed number."""
    access: remote.Access = field(default_factory=remote.Access)
    verify: bool = False
    """Hold local files against the catalogue's checksums before anything is read."""

    def __post_init__(self) -> None:
        if self.executor not in EXECUTORS:
            msg = f"unknown executor {self.executor!r}: {did_you_mean(self.executor, EXECUTORS)}"
            raise ConfigError(msg)
        if self.workers < 1:
            msg = f"the number of workers must be at least 1, got {self.workers}"
            raise ConfigError(msg)
        if self.chunk_size < 1:
            msg = f"the chunk size must be at least 1 event, got {self.chunk_size}"
            raise ConfigError(msg)


class Result(NamedTuple):
    """What a run gives: the processor's output by dataset, and the ledger."""

    output: dict[str, Any]
    ledger: Ledger


class _Checked(ProcessorABC):
    """Holds each chunk against the catalogue and the columns needed, then processes it."""

    def __init__(
        self, processor: ProcessorABC, branches: Mapping[str, frozenset[str] | None]
    ) -> None:
        self._processor = processor
        self._branches = branches

    def process(self, events: ak.Array) -> Any:
        told = events.metadata
        file = events.attrs["@events_factory"].file_handle
        tree = file[told["treename"]]
        if tree.num_entries != told[FILE_EVENTS]:
            msg = f"{tree.num_entries} events in the file, {told[FILE_EVENTS]} in the catalogue"
            raise ChunkError(msg)
        present = set(tree.keys())
        for branch in sorted((self._branches[told["dataset"]] or frozenset()) - present):
            raise ChunkError(missing_branch_message(branch, "the file", present))
        return self._processor.process(events)

    def postprocess(self, accumulator: Any) -> Any:
        return self._processor.postprocess(accumulator)


def run(
    processor: ProcessorABC,
    catalogue: Catalogue,
    *,
    execution: Execution | None = None,
    limits: Limits | None = None,
    catalogue_path: str = "",
    schema: type[Any] | None = None,
) -> Result:
    """Process the catalogue and say what became of each chunk.

    Of the processor, `columns(metadata)` (what it reads), `config` and `schema` (of its events,
    AGCSchema if neither it nor the caller names one) are used if it has them.

    A file that cannot be read does not stop the run: its chunks are failures in the ledger, and it is
    for the caller to ask `ledger.require_complete()`.
    """
    execution = execution or Execution()
    if schema is None:
        schema = getattr(processor, "schema", AGCSchema)
    config: Configuration | None = getattr(processor, "config", None)
    started = datetime.datetime.now(datetime.UTC)
    clock = time.monotonic()
    planned = planned_files(catalogue, limits or Limits())
    if not planned:
        msg = "nothing to process: no file is left under the limits asked for"
        raise CatalogueError(msg)
    remote.prepare([*(file.url for file, _ in planned), *execution.access.replicas])
    branches = {
        name: _branches(processor, schema, metadata(dataset))
        for name, dataset in catalogue.datasets.items()
    }
    refused = damaged(file for file, _ in planned) if execution.verify else {}
    items = chunks(planned, catalogue, execution.chunk_size, branches)
    logger.debug("%d chunks of %d files, %s", len(items), len(planned), execution)
    with executor(
        execution.executor,
        execution.workers,
        progress=execution.progress,
        cluster=execution.cluster,
        max_workers=execution.max_workers,
    ) as chosen:
        runner = Runner(chosen, schema=schema, savemetrics=True)
        wrapped = runner.run(
            items, _Checked(processor, branches), uproot_options=execution.access.options(refused)
        )
    output = wrapped["out"]
    for item, reason in wrapped.get("failed", ()):
        logger.debug(
            "%s, events %d to %d: %s", item.filename, item.entrystart, item.entrystop, reason
        )
    processed: set[WorkItem] = wrapped["processed"]
    metrics = wrapped.get("metrics", {})
    ledger = Ledger(
        command=list(sys.argv),
        started=started.isoformat(timespec="seconds"),
        duration_s=round(time.monotonic() - clock, 3),
        versions=versions(),
        executor=to_jsonable_python(execution),
        catalogue=catalogue_path,
        **ledgers.catalogue_fields(catalogue),
        config={} if config is None else config.model_dump(mode="json"),
        config_digest="" if config is None else config.digest,
        columns_read=sorted(
            {str(column).rsplit("-", 1)[0] for column in metrics.get("columns", [])}
        ),
        bytes_read=metrics.get("bytesread", 0),
        datasets=_dataset_records(catalogue, planned, processed, output),
        failures=_failures(wrapped.get("failed", set())),
    )
    return Result(output, ledger)


def _branches(processor: ProcessorABC, schema: Any, told: dict[str, Any]) -> frozenset[str] | None:
    """The branches that the processor says it reads; None if it does not say."""
    columns: Callable[[Mapping[str, Any]], frozenset[str]] | None
    columns = getattr(processor, "columns", None)
    return None if columns is None else schema.branches(columns(told))


def _dataset_records(
    catalogue: Catalogue,
    planned: list[PlannedFile],
    processed: set[WorkItem],
    output: Mapping[str, Any],
) -> dict[str, ledgers.DatasetRecord]:
    files = ledgers.file_records(
        ((file.dataset, file.url, events) for file, events in planned),
        ((item.dataset, item.filename, len(item)) for item in processed),
    )
    return {
        name: ledgers.dataset_record(catalogue.datasets[name], records, _counted(output, name))
        for name, records in files.items()
    }


def _counted(output: Mapping[str, Any], dataset: str) -> float:
    counts = output.get(dataset, {}).get("counts", {})
    return float(counts.get("sum_of_weights", 0.0))


def _failures(failed: set[tuple[WorkItem, str]]) -> list[Failure]:
    found = [
        Failure(
            dataset=item.dataset,
            file=item.filename,
            first_event=item.entrystart,
            last_event=item.entrystop,
            reason=reason,
        )
        for item, reason in failed
    ]
    return sorted(found, key=lambda failure: (failure.dataset, failure.file, failure.first_event))
