"""Run a processor over a catalogue: plan, execute, account."""

from __future__ import annotations

import datetime
import json
import logging
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coffea.processor import ProcessorABC, Runner
from coffea.processor.executor import WorkItem
from pydantic_core import to_jsonable_python

from analysis.common.errors import CatalogueError, ConfigError, OutputError
from analysis.common.tables import html
from analysis.datasets import remote
from analysis.datasets.addresses import shown, shown_apart
from analysis.datasets.catalogue import Catalogue, metadata, same_files
from analysis.datasets.checksums import damaged
from analysis.datasets.open_files import OfCollections
from analysis.execution import ledger as ledgers
from analysis.execution.account import Account, Output
from analysis.execution.checked import CheckedProcessor, counts
from analysis.execution.checkpoints.definition import parts
from analysis.execution.checkpoints.provenance import other_code, provenance, selecting_code
from analysis.execution.checkpoints.store import Checkpoints, Known, Restored
from analysis.execution.ledger import Ledger
from analysis.execution.loop import ChunkLoop, workers
from analysis.execution.plan import PlannedFile, chunks, identity, planned_files
from analysis.execution.processor import CatalogueProcessor, Plain, described
from analysis.execution.settings import Execution, Limits
from analysis.execution.signals import handled, held
from analysis.execution.workers import shipping
from schemas import FORMATS, MissingBranchError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Result:
    """Output of the processor, by dataset as a rule, and the ledger of the same run.

    Raises OutputError for output with other events than the ledger has, as that of two runs together.
    """

    output: Any
    ledger: Ledger

    def __post_init__(self) -> None:
        for name, record in self.ledger.datasets.items():
            counted = counts(self.output, name).get("events", record.events_processed)
            if counted != record.events_processed:
                msg = (
                    f"{name}: the output has {counted} events, the ledger {record.events_processed}: "
                    "they are of different runs"
                )
                raise OutputError(msg)

    def __repr__(self) -> str:
        ledger = self.ledger
        names = ", ".join(ledger.datasets)
        missing = "" if ledger.complete else f"; incomplete: {ledger.what_is_missing()}"
        return f"<Result: {ledger.events_processed:,} events of {names}{missing}>"

    def _repr_html_(self) -> str:
        header = ("dataset", "process", "variation", "events", "processed")
        rows = [
            (name, d.process, d.variation, f"{d.events_expected:,}", f"{d.events_processed:,}")
            for name, d in self.ledger.datasets.items()
        ]
        return html(header, rows)


def run(
    processor: ProcessorABC,
    catalogue: Catalogue,
    *,
    execution: Execution | None = None,
    limits: Limits | None = None,
    catalogue_path: str = "",
    schema: type[Any] | None = None,
    checkpoints: Path | None = None,
    resume: bool = False,
    begin: Callable[[], None] | None = None,
) -> Result:
    """Process the catalogue and account for each chunk.

    A processor that is a `CatalogueProcessor` says itself what it reads, and of which schema; of
    another one each column is read when it is used. `schema` takes the place of the processor's; where
    none is named it is that of the catalogue's format.

    Raises ConfigError for a skim or pre-selection that may lack events that the processor selects, and
    for a negative limit; CatalogueError where no file is left, or one is there twice; DefinitionError, at
    the first chunk, for a function of the analysis that fails.

    A file that cannot be read does not stop the run: its chunks are failures in the ledger, and it is
    for the caller to ask `ledger.require_complete()`. Finished chunks are saved in the folder
    `checkpoints`, if there is one; with `resume` those that are there are not processed again.
    `begin` is called when nothing can refuse the run any more, the workers are there, and no event has
    been read: for what makes room for its results.
    Ctrl-C and SIGTERM raise KeyboardInterrupt (`signals.Interrupted`) when they have been saved.
    """
    execution = execution or Execution()
    processor = described(processor)
    layout: type[Any] = schema or processor.schema or FORMATS[catalogue.format]
    started = datetime.datetime.now(datetime.UTC)
    clock = time.monotonic()
    processor.require_events(catalogue)
    _require_known_code(processor, execution)
    _warn_of_other_code(catalogue, processor, layout)
    names = shown_apart(file.url for file in catalogue.files)
    planned = [
        plan._replace(file=plan.file._replace(url=names[plan.file.url]))
        for plan in _planned(catalogue, limits or Limits())
    ]
    if secrets := {name: url for url, name in names.items() if name != url}:
        execution = replace(execution, access=replace(execution.access, secrets=secrets))
    remote.prepare([*(file.url for file, _ in planned), *execution.access.replicas])
    told = {name: metadata(dataset) for name, dataset in catalogue.datasets.items()}
    columns = {name: processor.columns(values) for name, values in told.items()}
    branches = _branches(layout, columns)
    refused = damaged(file for file, _ in planned) if execution.verify else {}
    items = chunks(planned, catalogue, execution.chunk_size, branches)
    logger.debug("%d chunks of %d files, %s", len(items), len(planned), shown(str(execution)))
    wrapped = CheckedProcessor(
        processor,
        {name: known or frozenset() for name, known in columns.items()},
        branches,
        _collections(layout, frozenset[str]().union(*filter(None, columns.values()))),
    )
    store = None
    restored = Restored(set(), None, {}, {})
    if checkpoints is not None:
        known_chunks = _known(items, planned, catalogue)
        store = Checkpoints(checkpoints, provenance(processor, layout), known_chunks)
        if resume:
            restored = store.restore(execution.access, refused)
        elif store.has_some():
            logger.warning("finished chunks of an earlier run are there: --resume uses them")
    with handled():
        output, account = _execute(
            items,
            wrapped,
            execution,
            execution.access.options(refused, _expected(planned, catalogue)),
            _form_options(branches, only=processor.reads_declared_only),
            layout,
            restored,
            store,
            begin or _nothing,
        )
    if store is not None and len(account.done) == len(items):
        store.finish(output, account.warnings)
    final = _postprocessed(processor, output["out"], catalogue) if account.done else {}
    ledger = Ledger(
        command=list(map(shown, sys.argv)),
        started=started.isoformat(timespec="seconds"),
        duration_s=round(time.monotonic() - clock, 3),
        versions=shipping.versions(),
        executor=_settings(execution),
        catalogue=shown(catalogue_path),
        **ledgers.catalogue_fields(catalogue),
        **ledgers.config_fields(processor.config),
        analysis=processor.description(final),
        **ledgers.usage_fields(output["metrics"], account),
        datasets=_dataset_records(
            catalogue, planned, [items[n] for n in account.done], output["out"]
        ),
        **ledgers.chunk_fields(items, account, len(restored.done)),
    )
    return Result(final, ledger)


def _planned(catalogue: Catalogue, limits: Limits) -> list[PlannedFile]:
    """Plan the files. Raises CatalogueError if none is left, or one is there twice under other names."""
    planned = planned_files(catalogue, limits)
    if not planned:
        msg = "nothing to process: no file is left under the limits asked for"
        raise CatalogueError(msg)
    for file, first in same_files((file for file, _ in planned), catalogue.samples):
        msg = f"{file.url} is the same file as {first}: its events would count twice"
        raise CatalogueError(msg)
    return planned


def _expected(planned: list[PlannedFile], catalogue: Catalogue) -> dict[str, tuple[str, int]]:
    return {file.url: (catalogue.tree, file.events) for file, _ in planned}


def _settings(execution: Execution) -> dict[str, Any]:
    """Return the execution as JSON values, without passwords and tokens."""
    values = to_jsonable_python(execution, exclude={"access": {"secrets"}})
    found: dict[str, Any] = json.loads(shown(json.dumps(values)))
    return found


def _execute(
    items: list[WorkItem],
    processor: CheckedProcessor,
    execution: Execution,
    uproot_options: dict[str, Any],
    iteritems_options: dict[str, Any],
    schema: type[Any],
    restored: Restored,
    store: Checkpoints | None,
    begin: Callable[[], None],
) -> tuple[Output, Account]:
    """Process the chunks that were not restored; return the merged output of all and the account."""
    missing = [number for number in range(len(items)) if number not in restored.done]
    account = Account(done=set(restored.done), warnings=dict(restored.warnings))
    output = restored.output
    if not missing:
        begin()
    else:
        with workers(execution) as found:
            begin()
            loop = ChunkLoop(found, execution, missing, account, output, restored.fingerprints)
            if store is not None:
                loop.keep = store.keep
            runner = Runner(loop, schema=schema, savemetrics=True)
            try:
                runner.run(
                    [items[number] for number in missing],
                    processor,
                    uproot_options=uproot_options,
                    iteritems_options=iteritems_options,
                )
            finally:
                if store is not None:
                    with held():
                        store.flush()
            output = loop.total
    return output or {"out": {}, "metrics": {}}, account


def _postprocessed(processor: CatalogueProcessor, output: Any, catalogue: Catalogue) -> Any:
    """Return the processor's last word on the merged output, in the order of the catalogue.

    Chunks and checkpoints come in any order.
    """
    merged = output
    if isinstance(output, dict):
        merged = {name: output[name] for name in catalogue.datasets if name in output} | output
    final = processor.postprocess(merged)
    return merged if final is None else final


def _nothing() -> None:
    pass


def _require_known_code(processor: CatalogueProcessor, execution: Execution) -> None:
    """Raise ConfigError if workers cannot have the processor, or code as this process has it."""
    if execution.executor != "iterative" or not isinstance(processor, Plain):
        shipping.require_portable([*parts(processor.parts()), ("the processor", processor)])
    if not (modules := shipping.changed()):
        return
    msg = f"the code was changed since it was loaded ({', '.join(modules[:3])}): restart Python"
    if execution.executor == "iterative":
        logger.warning(msg)
    else:
        raise ConfigError(msg)


def _warn_of_other_code(
    catalogue: Catalogue, processor: CatalogueProcessor, schema: type[Any]
) -> None:
    """Warn of a skim by other code: a cut that was changed since may select events that it lacks."""
    if catalogue.skim is None or not catalogue.skim.code:
        return
    if code := other_code(catalogue.skim.code, selecting_code(type(processor), schema)):
        logger.warning("the skim was made by %s: it may lack events that this one selects", code)


def _known(items: list[WorkItem], planned: list[PlannedFile], catalogue: Catalogue) -> list[Known]:
    identities = {(f.dataset, f.url): identity(f, catalogue) for f, _ in planned}
    return [Known.of(item, identity=identities[item.dataset, item.filename]) for item in items]


def _branches(
    schema: type[Any], columns: Mapping[str, frozenset[str] | None]
) -> dict[str, frozenset[str] | None]:
    """Dataset -> branches of its columns. Raises ConfigError for a column that its format has not."""
    try:
        return {
            name: None if known is None else schema.branches(known)
            for name, known in columns.items()
        }
    except MissingBranchError as error:
        raise ConfigError(str(error)) from error


def _form_options(branches: Mapping[str, frozenset[str] | None], *, only: bool) -> dict[str, Any]:
    """Return options for the form of the events: of the collections that are read, if they are known; `only`
    of the branches themselves.
    """
    known = [read for read in branches.values() if read is not None]
    if len(known) < len(branches):
        return {}
    return {
        "filter_name": OfCollections(frozenset[str]().union(*known), only=only),
        "recursive": False,
    }


def _collections(schema: type[Any], columns: Iterable[str]) -> dict[str, str]:
    """Return the collection of each branch that is one column."""
    of_branch: dict[str, str] = {}
    for column in columns:
        branches = schema.branches({column})
        if len(branches) == 1:
            of_branch |= dict.fromkeys(branches, column.partition(".")[0])
    return of_branch


def _dataset_records(
    catalogue: Catalogue,
    planned: list[PlannedFile],
    processed: Iterable[WorkItem],
    output: Any,
) -> dict[str, ledgers.DatasetRecord]:
    files = ledgers.file_records(
        ((file.dataset, file.url, events) for file, events in planned), processed
    )
    return {
        name: ledgers.dataset_record(catalogue.datasets[name], records, _weights(output, name))
        for name, records in files.items()
    }


def _weights(output: Any, dataset: str) -> float:
    return float(counts(output, dataset).get("sum_of_weights", 0.0))
