"""The sections of the page, in their order: text, tables, charts; or why there are none."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from analysis.common.names import public
from analysis.common.tables import Row, measured
from analysis.config import AnalysisConfig, flat
from analysis.datasets.processes import DATA
from analysis.dimuon.resonances import report_table
from analysis.plotting.captions import Caption, FitCaption, jets_label
from analysis.plotting.peaks import MASS_LABEL
from analysis.postprocess.top_peak import REGION
from analysis.report import summary
from analysis.report.charts import Chart, plain
from analysis.report.distributions import control_chart, elsewhere_chart, fit_charts, region_charts
from analysis.report.fit_charts import peak_chart, pulls_chart, ranking_chart
from analysis.report.loaded import Run
from analysis.report.summary import Table

QUESTION = (
    "How often do proton collisions at 13 TeV make a top quark and its antiquark? One of the two W bosons "
    "of their decay becomes an electron or a muon and its neutrino, the other one two quarks: the events "
    "have exactly one lepton, at least {jets} jets, and b jets among them. {regions}"
)


class Section(NamedTuple):
    """A part of the page."""

    name: str
    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    charts: Sequence[Chart] = ()
    code: Mapping[str, str] = MappingProxyType({})
    """Title of a listing -> the listing."""
    missing: str = ""
    """Why there is nothing; empty if there is."""


def sections(run: Run) -> list[Section]:
    """All of them, also those of stages that the run does not have."""
    return [
        _question(run),
        _data(run),
        _cutflow(run),
        _regions(run),
        _top_peak(run),
        *_dimuon(run),
        _multijet(run),
        _measurement(run),
        _configuration(run),
        _reproduce(run),
    ]


def _question(run: Run) -> Section:
    of_label: dict[str, dict[str, str]] = {}
    for name, region in run.description.regions.items():
        axis = plain(region.axis_label).partition(" [")[0]
        of_label.setdefault(plain(region.label), {})[name] = axis
    shown = [
        f"{', '.join(axes)} ({label}) by {', '.join(axes.values())}"
        for label, axes in of_label.items()
    ]
    regions = f"Events are shown in the regions {'; '.join(shown)}."
    text = QUESTION.format(jets=run.config.regions.min_jets, regions=regions)
    return Section("question", "The question", [text])


def _data(run: Run) -> Section:
    ledger = run.ledger
    scaling = None if run.normalised is None else run.normalised.normalisation
    rows: list[Row] = []
    for name, record in ledger.datasets.items():
        scale = None if scaling is None else scaling.datasets.get(name)
        factors = {} if scale is None else scale.factors
        section = record.cross_section if scale is None else scale.cross_section
        rows.append([
            name, record.kind, f"{len(record.files)}", f"{record.events_in_catalogue:,}",
            f"{record.events_processed:,}", f"{record.fraction:.1%}",
            "-" if section is None else f"{section:.5g}",
            "-" if record.kind == "collision" else f"{record.k_factor:.4g}",
            " / ".join(dict.fromkeys(f"{factor:.4g}" for factor in factors.values())) or "-",
        ])  # fmt: skip
    header = [
        "dataset", "kind", "files", "events", "processed", "part", "σ [pb]", "k-factor", "scale factor",
    ]  # fmt: skip
    text = [_sentence(summary.status(run)), _sentence(summary.speed(run))]
    if known := summary.luminosity(run):
        text.append(f"Integrated luminosity of the processed data: {known}.")
    if scaling is not None:
        text += map(_sentence, scaling.remarks)
    tables = [Table("Datasets", header, rows)]
    if ledger.failures:
        failures: list[Row] = [
            [f.dataset, public(f.file), f"{f.first_event}-{f.last_event}", public(f.reason)]
            for f in ledger.failures
        ]
        failed = ["dataset", "file", "events", "reason"]
        tables.insert(0, Table("Not processed", failed, failures))
    return Section("data", "Data and completeness", text, tables)


def _cutflow(run: Run) -> Section:
    if run.cutflow is None:
        return Section("cutflow", "Cutflow", missing=run.missing["cutflow"])
    text = ["Events that pass each step and all before it, all channels together."]
    for names, events in shared(run.description.overlaps):
        which = " and ".join(names) if len(names) == 2 else f"Any two of {', '.join(names)}"
        text.append(f"{which} share {events:,} events.")
    return Section("cutflow", "Cutflow", text, [_labelled(summary.cutflow(run), run)])


def shared(overlaps: Mapping[str, Mapping[str, int]]) -> list[tuple[list[str], int]]:
    """Put regions together that have as many events in common, each pair of them."""
    pairs = {
        frozenset((one, other)): events
        for one, others in overlaps.items()
        for other, events in others.items()
        if events
    }
    every = dict.fromkeys(name for pair in pairs for name in sorted(pair))
    found: list[tuple[list[str], int]] = []
    for pair, events in pairs.items():
        if any(pair <= {*names} for names, _ in found):
            continue
        names = sorted(pair)
        for name in every:
            if all(pairs.get(frozenset((name, other))) == events for other in names):
                names.append(name)
        found.append((names, events))
    return found


def _regions(run: Run) -> Section:
    if run.normalised is None:
        return Section("regions", "Regions", missing=run.missing["normalised"])
    charts = region_charts(run.normalised)
    control = control_chart(run.normalised)
    if control is not None:
        charts.append(control)
    text = (
        "The grey band is the statistical uncertainty of the simulation. Variations are drawn as lines, up "
        "whole and down dashed; those of a process that is switched off go with it."
    )
    return Section("regions", "Regions", [text], [_labelled(summary.yields(run), run)], charts)


def _top_peak(run: Run) -> Section:
    result = run.top_peak
    if result is None:
        return Section("top-peak", "Top peak and its sidebands", missing=run.missing["top_peak"])
    charts = []
    axis = plain(run.description.regions[REGION].axis_label)
    for name, fits in result.fits.items():
        if fits.peak is not None:
            label = plain(run.labels.get(name, name.title())) if name == DATA else "Prediction"
            charts.append(
                peak_chart(f"peak-{name}", f"{label}: top peak", fits.peak, axis, result.window)
            )
    tables = [summary.transposed(_labelled(summary.top_peak(result), run))] if result.fits else []
    text = (
        f"The mass of the three jets with the largest summed momentum, in {REGION}. A Gaussian peak over a "
        "polynomial, which wrong combinations and background follow, gives position, width and events of "
        f"the peak. The bands beside {result.window} GeV, fitted alone, give the background between them."
    )
    return Section("top-peak", "Top peak and its sidebands", [text], tables, charts)


def _dimuon(run: Run) -> list[Section]:
    report = run.dimuon
    if report is None:
        return []
    header, rows = report_table(report)
    table = Table("Estimates", header, [list(row) for row in rows])
    charts = []
    if report.peak_fit is not None:
        charts.append(
            peak_chart(
                "peak-dimuon",
                report.choice.title,
                report.peak_fit,
                plain(MASS_LABEL),
                report.choice.regions.signal,
            )
        )
    title = f"{report.choice.title}: background from sidebands"
    source = f"Muon pairs of {public(report.source)}, which are not events of this run."
    return [Section("dimuon", title, [source, *map(public, report.lines)], [table], charts)]


def _multijet(run: Run) -> Section:
    title = "Multijet background from data (ABCD)"
    if run.multijet is None:
        return Section("abcd", title, missing=run.missing["multijet"])
    text = (
        "In the muon channel, from relative isolation and transverse mass: A = B·C/D, prompt leptons of the "
        "other processes subtracted. A is isolated at large transverse mass, B at small, C and D are the "
        "same for muons that are not isolated. Found is what A has beyond prompt leptons. The validation "
        "takes muons that are a little less isolated for A and B; the same is done with simulated multijet "
        "events. "
        "The pull is the difference of found and predicted over its error."
    )
    rows: list[Row] = []
    for region, estimate in run.multijet.items():
        if estimate.data is not None:
            prediction = estimate.data.prediction
            for row, yields in (
                (run.data_label, prediction.observed), ("prompt leptons", prediction.contamination)
            ):  # fmt: skip
                rows.append([region, row, *(measured(count.value) for count in yields)])
    tables = [summary.multijet(run)]
    if rows:
        tables.append(Table("Events", ["region", "of", "A", "B", "C", "D"], rows))
    return Section("abcd", title, [text], tables)


def _measurement(run: Run) -> Section:
    measurement = run.measurement
    if measurement is None:
        title = "Measurement of the cross section"
        return Section("measurement", title, missing=run.missing["measurement"])
    nothing = Caption("")
    caption = FitCaption(
        nothing, nothing, run.labels, measurement.observed.capitalize(), measurement.binning,
        run.regions, jets_label(run.ledger), measurement.binnings, measurement.overflow,
    )  # fmt: skip
    charts = fit_charts(measurement.fit.yields, caption)
    if (others := elsewhere_chart(measurement.elsewhere, caption)) is not None:
        charts.append(others)
    charts.append(pulls_chart(measurement.fit.parameters))
    if measurement.ranking:
        charts.append(ranking_chart(measurement.ranking, measurement.fit.poi))
    result, *more = summary.measurement(measurement)
    tables = [result._replace(title="Result of the fit"), *more]
    remarks = [public(str(r)) for r in (*measurement.findings, *measurement.notes)]
    if remarks:
        rows: list[Row] = [[remark] for remark in remarks]
        tables.append(Table("Findings of the check, and changes of the templates", [""], rows))
    title = f"Measurement of {measurement.quantity}"
    text = [
        f"{measurement.quantity} = {measurement.cross_section}, fitted to {summary.observed(run)}."
    ]
    return Section("measurement", title, text, tables, charts)


def _configuration(run: Run) -> Section:
    changes = differences(run.ledger.config)
    title = "Configuration"
    digest = f"Digest of the whole configuration: {run.ledger.config_digest}."
    every: list[Row] = [[key, _word(value)] for key, value in flat(run.ledger.config).items()]
    tables = [Table("Every value", ["setting", "in this run"], every)]
    if not changes:
        return Section("configuration", title, [f"The default, unchanged. {digest}"], tables)
    rows: list[Row] = [[c.key, _word(c.value), _word(c.default)] for c in changes]
    tables.insert(0, Table("Changed", ["setting", "in this run", "default"], rows))
    text = f"Values that are not the default: {len(changes)}. {digest}"
    return Section("configuration", title, [text], tables)


def _reproduce(run: Run) -> Section:
    ledger = run.ledger
    code = {"Command": f"python {shlex.join(map(public, ledger.command))}"}
    changes = differences(ledger.config)
    if changes:
        code["Configuration (for --config)"] = toml([c for c in changes if c.value is not None])
    pins = " ".join(
        f"'{name}=={version}'"
        for name, version in ledger.versions.items()
        if name not in ("python", "ttbar-opendata")
    )
    code["Installation of these versions"] = f"pip install {pins}"
    text = (
        f"Started {ledger.started}, catalogue {public(ledger.catalogue)}. "
        "All settings of the execution are in run.json."
    )
    rows: list[Row] = [[name, version] for name, version in ledger.versions.items()]
    tables = [Table("Versions", ["package", "version"], rows)]
    return Section("reproduce", "How to make it again", [text], tables, code=code)


def _labelled(table: Table, run: Run) -> Table:
    """Processes by the names that figures have."""
    labels = {name: plain(label) for name, label in run.labels.items()}
    rows: list[Row] = [[labels.get(row[0], row[0]), *row[1:]] for row in table.rows]
    notes = [note.partition(":") for note in table.notes]
    said = [f"{labels.get(name, name)}{colon}{rest}" for name, colon, rest in notes]
    return table._replace(rows=rows, notes=said)


def _sentence(line: str) -> str:
    return f"{line[0].upper()}{line[1:]}."


def _word(value: object) -> str:
    return "-" if value is None else json.dumps(value, ensure_ascii=False)


class Difference(NamedTuple):
    """A value that is not the default; None stands for no value."""

    key: str
    """Name with its section: `jet.min_pt`."""
    value: Any
    default: Any


def differences(config: Mapping[str, Any]) -> list[Difference]:
    """List what a dumped configuration changes, in the order of the default."""
    default = flat(AnalysisConfig().model_dump(mode="json"))
    given = flat(config)
    return [
        Difference(key, given.get(key), default.get(key))
        for key in {**default, **given}
        if given.get(key) != default.get(key)
    ]


def toml(changes: list[Difference]) -> str:
    """Write the configuration file that makes these changes."""
    sections: dict[str, list[str]] = {}
    for change in changes:
        section, _, name = change.key.rpartition(".")
        # A TOML number, string, truth value or list is written as in JSON.
        sections.setdefault(section, []).append(f"{name} = {json.dumps(change.value)}")
    return "\n".join("\n".join([f"[{section}]", *lines, ""]) for section, lines in sections.items())
