"""The tables of a run in short, for the terminal and the top of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from analysis import results
from analysis.common.tables import Row
from analysis.datasets.processes import DATA
from analysis.datasets.sample import NOMINAL
from analysis.inference import tables as fit_tables
from analysis.inference.measurement import Measurement
from analysis.postprocess.abcd.multijet import estimate_table, verdicts
from analysis.postprocess.top_peak import TopPeakResult, remarks, top_peak_table
from analysis.postprocess.yields import yield_table
from analysis.report.loaded import Run

COMPATIBLE = (
    "Alone: a fit of these channels only. Together: a strength for each part in one fit, with all other "
    "parameters in common; χ² is how much better that is than one strength for all."
)


class Table(NamedTuple):
    """A table and the sentences below it."""

    title: str
    header: Row
    rows: list[Row]
    notes: Sequence[str] = ()


def tables(run: Run) -> list[Table]:
    """Cutflow, yields, top peak, multijet estimate of the data, measurement: of what the run has."""
    found = []
    if run.cutflow is not None:
        found.append(cutflow(run))
    if run.normalised is not None:
        found.append(yields(run))
    if run.top_peak is not None and run.top_peak.fits:
        found.append(transposed(top_peak(run.top_peak)))
    if run.multijet is not None:
        whole = multijet(run)
        of_data = [row for row in whole.rows if row[1] == run.data_label]
        found.append(whole._replace(rows=of_data))
    if run.measurement is not None:
        found += measurement(run.measurement)
    return found


def cutflow(run: Run) -> Table:
    """Events after each step, unscaled, both channels; the nominal datasets of a process together."""
    flows = run.cutflow or {}
    totals: dict[str, dict[str, int]] = {}
    for name, flow in flows.items():
        record = run.ledger.datasets[name]
        if record.variation == NOMINAL:
            total = totals.setdefault(record.process, {})
            for step, events in _steps(flow).items():
                total[step] = total.get(step, 0) + events
    steps = list(dict.fromkeys(step for total in totals.values() for step in total))
    rows: list[Row] = [
        [process, *(f"{total.get(step, 0)}" for step in steps)]
        for process, total in sorted(totals.items(), key=lambda item: _place(run, item[0]))
    ]
    return Table("Cutflow: events read, not scaled", ["process", *steps], rows)


def top_peak(result: TopPeakResult) -> Table:
    """The fits of data and prediction."""
    header, rows = top_peak_table(result)
    return Table("Top peak", header, list(rows), remarks(result))


def transposed(table: Table) -> Table:
    """Rows as columns: many quantities of a few things fit a terminal only so."""
    header, *rows = zip(table.header, *table.rows, strict=True)
    return table._replace(header=header, rows=list(rows))


def multijet(run: Run) -> Table:
    """The estimate of each region, and its tests."""
    estimates = run.multijet or {}
    header, rows = estimate_table(estimates, run.data_label)
    title = "Multijet background, muon channel (ABCD)"
    return Table(title, header, list(rows), verdicts(estimates, run.data_label))


def yields(run: Run) -> Table:
    """Scaled events of each process in each region."""
    if run.normalised is None:
        return Table("Yields", ["process"], [])
    scaling = run.normalised.normalisation
    header, rows = yield_table(run.normalised.regions, run.normalised.labels)
    known = luminosity(run)
    title = f"Yields at {known}" if known else "Yields"
    return Table(title, header, list(rows), scaling.notes)


def measurement(measured: Measurement) -> list[Table]:
    """The result of the fit, with what makes it doubtful, and what its error is made of."""
    return [
        Table(*fit_tables.summary(measured), measured.remarks),
        Table(*fit_tables.uncertainties(measured), [fit_tables.definition(measured)]),
        *(
            [Table(*parts, [COMPATIBLE])]
            if (parts := fit_tables.compatibility(measured))[2]
            else []
        ),
    ]


def luminosity(run: Run) -> str:
    """Give the luminosity of the processed data in 1/pb, by channel where they differ; empty if not known."""
    known = {} if run.normalised is None else run.normalised.normalisation.luminosity
    values = [f"{value:.6g}" for value in known.values()]
    if len(set(values)) > 1:
        values = [f"{value} ({name})" for name, value in zip(known, values, strict=True)]
    return f"{', '.join(dict.fromkeys(values))} /pb" if values else ""


def observed(run: Run) -> str:
    """What was fitted, in words: pseudo-data of a catalogue are not to be taken for data."""
    name = "" if run.measurement is None else run.measurement.observed
    return run.data_label if name == DATA else name


def status(run: Run) -> str:
    """One line: how much was processed, and how long it took."""
    ledger = run.ledger
    text = f"{ledger.events_processed:,} of {ledger.events_expected:,} events processed"
    word = f"incomplete: {'; '.join(ledger.missing)}" if ledger.missing else "complete"
    return f"{text} in {ledger.duration_s:.1f} s; {word}"


def speed(run: Run) -> str:
    """One line: rate, bytes, columns, what the workers used; of chunks from checkpoints no rate is known."""
    ledger = run.ledger
    parts = [f"{ledger.bytes_read / 1e6:,.1f} MB read", f"{len(ledger.columns_read)} columns"]
    if ledger.cpu_s:
        parts.append(f"{ledger.cpu_s:,.1f} s of processor time")
    if ledger.peak_memory_mb:
        parts.append(f"at most {ledger.peak_memory_mb:,.0f} MB of memory a worker")
    resumed = ledger.chunks is not None and ledger.chunks.resumed > 0
    if ledger.duration_s > 0 and not resumed:
        parts.insert(0, f"{ledger.events_processed / ledger.duration_s:,.0f} events/s")
    return ", ".join([*parts, ledger.executor.get("executor", ""), _workers(ledger.executor)])


def _workers(execution: Mapping[str, Any]) -> str:
    """How many there were, as far as the run could know: a scheduler that ran already has its own."""
    kind = execution.get("cluster", {}).get("kind")
    if execution.get("executor") == "dask" and kind == "scheduler":
        return "the scheduler's own workers"
    fewest, most = execution.get("workers", 1), execution.get("max_workers")
    if most is not None:
        return f"{fewest} to {most} workers"
    return f"{fewest} worker{'s' if fewest != 1 else ''}"


def files(folder: Path) -> dict[str, Path]:
    """What a reader may want to open -> where it is; of what there is."""
    candidates = {
        "report": folder / results.REPORT,
        "figures": folder / results.FIGURES,
        "histograms": folder / results.ROOT_HISTOGRAMS,
        "fit": folder / results.FIT_TABLES[0],
    }
    return {what: path for what, path in candidates.items() if path.exists()}


def _steps(flow: Mapping[str, Any]) -> dict[str, int]:
    """Step -> events, channels added up, of one dataset."""
    steps = {"all": int(flow["all"]["events"])}
    for channel, counts in flow.items():
        if channel != "all":
            for step, count in counts.items():
                steps[step] = steps.get(step, 0) + int(count["events"])
    return steps


def _place(run: Run, process: str) -> int:
    order = list(run.labels)
    return order.index(process) if process in order else len(order)
