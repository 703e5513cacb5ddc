"""A results folder: what each stage leaves there, and reads of the stage before."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter

from analysis import histograms
from analysis.common.errors import OutputError
from analysis.common.files import file_digest, writable_folder, write_json, write_text
from analysis.common.folders import FIT, LEDGER, MADE_OF, NORMALISATION, WORKSPACE, require_of_run
from analysis.common.tables import markdown
from analysis.execution.ledger import Ledger
from analysis.histograms import Histograms
from analysis.postprocess import normalisation
from analysis.postprocess.abcd import multijet
from analysis.postprocess.normalisation import Normalisation, Normalised
from analysis.postprocess.yields import cutflow_table, yield_table

# Of fits of peaks: what no other stage needs to import.
if TYPE_CHECKING:
    from analysis.dimuon.resonances import PeakReport
    from analysis.postprocess.top_peak import TopPeakResult

logger = logging.getLogger(__name__)

_Stored = TypeVar("_Stored")

CHECKPOINTS = "checkpoints"
UNSCALED = "unscaled.zip"
CUTFLOW = "cutflow.json"
CUTFLOW_TABLE = "cutflow.md"
SCALED = "scaled.zip"
ROOT_HISTOGRAMS = "scaled.root"
YIELDS_TABLE = "yields.md"
FIGURES = "figures"
TOP_PEAK = "top_peak.json"
TOP_PEAK_TABLE = "top_peak.md"
MULTIJET = "abcd.json"
MULTIJET_TABLE = "abcd.md"
SIDEBAND_FOLDER = "sideband"
SIDEBAND = "sideband.json"
SIDEBAND_TEXT = "sideband.md"
REPORT = "report.html"
FIT_TABLES = ("measurement.md", "measurement.tex")
LIMIT = "limit.json"
HEPDATA = "hepdata"

# What tells that the others are there goes last.
_OF_FIT = (WORKSPACE, *FIT_TABLES, LIMIT, HEPDATA, FIT)
_OF_NORMALISATION = (
    REPORT, *_OF_FIT, SCALED, ROOT_HISTOGRAMS, YIELDS_TABLE, FIGURES, TOP_PEAK, TOP_PEAK_TABLE, MULTIJET,
    MULTIJET_TABLE, NORMALISATION,
)  # fmt: skip
_OF_RUN = (UNSCALED, CUTFLOW, CUTFLOW_TABLE, LEDGER)
_OF_EARLIER_VERSIONS = (
    "histograms.zip", "normalised.zip", "histograms.root", "results.json", "results.md", "results.tex",
)  # fmt: skip


def begin_run(folder: Path) -> None:
    """Make the folder ready: writable, and without results of an earlier run to be taken for these.

    To be called when nothing can refuse the new run any more. In a folder that is no results folder
    nothing is removed. Raises OutputError if it cannot be.
    """
    writable_folder(folder)
    if (folder / LEDGER).exists():
        _remove(folder, _OF_NORMALISATION + _OF_RUN + _OF_EARLIER_VERSIONS)


def save_run(folder: Path, output: dict[str, Any], ledger: Ledger) -> None:
    """Write the unscaled histograms, the cutflow and, last, the ledger."""
    histograms.save(folder / UNSCALED, histograms.flatten(output))
    cutflow = {name: {"all": out["counts"], **out["cutflow"]} for name, out in output.items()}
    write_json(folder / CUTFLOW, cutflow)
    write_text(folder / CUTFLOW_TABLE, markdown(*cutflow_table(cutflow)))
    written = {name: file_digest(folder / name) for name in (UNSCALED, CUTFLOW)}
    ledger.model_copy(update={"written": written}).write(folder)


def load_unscaled(folder: Path, ledger: Ledger) -> Histograms:
    """Read the unscaled histograms of a run. Raise OutputError for those of another run."""
    _require_written(folder, UNSCALED, ledger)
    return histograms.load(folder / UNSCALED)


def save_normalised(folder: Path, normalised: Normalised) -> Normalised:
    """Write scaled histograms and their tables; return them with the digests of the files.

    Results of an earlier normalisation are removed.
    """
    if (folder / NORMALISATION).exists():
        if (folder / FIGURES).exists():
            logger.info("the figures of the earlier normalisation are removed: run 'plot' again")
        _remove(folder, _OF_NORMALISATION)
    regions, found = normalised.regions, normalised.normalisation
    note = "\n".join(found.notes)
    histograms.export_root(
        folder / ROOT_HISTOGRAMS, regions, found.variations, note, found.cross_sections_pb
    )
    histograms.save(folder / SCALED, normalised.histograms)
    unscaled = normalised.ledger.written[UNSCALED]
    digests = {"unscaled": unscaled, "scaled": file_digest(folder / SCALED)}
    found = found.model_copy(update=digests)
    table = markdown(*yield_table(regions, normalised.labels))
    beyond = "Events beyond the ends of the observable's axis are included."
    write_text(folder / YIELDS_TABLE, "\n".join([table, beyond, *found.notes]) + "\n")
    write_json(folder / NORMALISATION, found.model_dump(mode="json"))
    return normalised._replace(normalisation=found)


def save_top_peak(folder: Path, result: TopPeakResult, normalised: Normalised) -> None:
    """Write the fit of the top quark's peak, and its table."""
    from analysis.postprocess.top_peak import remarks, top_peak_table

    lines = [markdown(*top_peak_table(result)), *remarks(result), *normalised.normalisation.notes]
    write_text(folder / TOP_PEAK_TABLE, "\n".join(lines) + "\n")
    save_stored(folder / TOP_PEAK, result.model_dump(mode="json"), normalised)


def save_multijet(
    folder: Path, estimates: dict[str, multijet.RegionEstimate], normalised: Normalised
) -> None:
    """Write the estimates of the multijet background, region by region, and their table."""
    lines = [
        markdown(*multijet.estimate_table(estimates, normalised.ledger.data_label)),
        *multijet.verdicts(estimates, normalised.ledger.data_label),
        *normalised.normalisation.notes,
    ]
    write_text(folder / MULTIJET_TABLE, "\n".join(lines) + "\n")
    values = {region: result.model_dump(mode="json") for region, result in estimates.items()}
    save_stored(folder / MULTIJET, values, normalised)


def load_normalised(folder: Path) -> Normalised:
    """Read what `normalise` left in the folder.

    Raises OutputError if there is nothing, or if it was made of another run's histograms.
    """
    ledger = Ledger.load(folder)
    scaling = load_stored(
        folder, NORMALISATION, Normalisation, "normalise", what="normalised histograms"
    )
    written = ledger.written.get(UNSCALED), file_digest(folder / SCALED)
    if (scaling.unscaled, scaling.scaled) != written:
        msg = f"{folder / SCALED} was made of another run's histograms: run 'normalise' again"
        raise OutputError(msg)
    return Normalised(
        histograms.load(folder / SCALED), scaling, normalisation.labelled(ledger, scaling)
    )


def load_top_peak(folder: Path) -> TopPeakResult:
    """What `top_peak` left. Raises OutputError if it has not been run there."""
    from analysis.postprocess import top_peak

    return load_stored(folder, TOP_PEAK, top_peak.TopPeakResult, "toppeak")


def load_multijet(folder: Path) -> dict[str, multijet.RegionEstimate]:
    """What `estimate_multijet` left. Raises OutputError if it has not been run there."""
    return load_stored(folder, MULTIJET, dict[str, multijet.RegionEstimate], "abcd")


def load_peak(folder: Path) -> PeakReport:
    """What `save_peak` left. Raises OutputError if there is none."""
    from analysis.dimuon import resonances

    return load_stored(folder, SIDEBAND, resonances.PeakReport, "sideband")


def load_cutflow(folder: Path) -> dict[str, Any]:
    """Dataset -> channel -> step -> events, as `save_run` left it. Raises OutputError without it."""
    found = load_stored(folder, CUTFLOW, dict[str, Any], "process")
    _require_written(folder, CUTFLOW, Ledger.load(folder))
    return found


def save_stored(path: Path, values: dict[str, Any], normalised: Normalised) -> None:
    """Write a result as JSON, with the digest of the histograms that it was made of."""
    write_json(path, {MADE_OF: normalised.normalisation.scaled} | values)


def load_stored(
    folder: Path, name: str, model: type[_Stored], command: str, *, what: str | None = None
) -> _Stored:
    """Read what `command` left in the file `name` of a results folder; `what` is its name in words.

    Raises OutputError if there is none of this version, and for a result of another run's histograms.
    """
    path = folder / name
    try:
        values = json.loads(path.read_bytes())
        made_of = values.pop(MADE_OF, None) if isinstance(values, dict) else None
        stored = TypeAdapter(model).validate_python(values)
    except OSError as error:
        msg = f"{folder} has no {what or name}: run '{command}' on it first"
        raise OutputError(msg) from error
    except ValueError as error:
        msg = f"{path}: not of this version: run '{command}' again"
        raise OutputError(msg) from error
    require_of_run(folder, name, command, made_of)
    return stored


def save_peak(folder: Path, report: PeakReport) -> None:
    """Write an estimate of a peak over its background: numbers, and in words with the scan's table."""
    from analysis.dimuon.resonances import report_table

    lines = "\n".join(f"- {line}" for line in report.lines)
    table = markdown(*report_table(report))
    text = f"# {report.choice.title}: {report.source}\n\nGeV.\n\n{lines}\n\n{table}"
    write_text(folder / SIDEBAND_TEXT, text)
    write_json(folder / SIDEBAND, report.model_dump(mode="json"))


def _require_written(folder: Path, name: str, ledger: Ledger) -> None:
    """Raise OutputError if the file is not the one that the run of the ledger wrote."""
    if file_digest(folder / name) != ledger.written.get(name):
        msg = f"{folder / name} is not what the run of {LEDGER} wrote: run 'process' again"
        raise OutputError(msg)


def _remove(folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        path = folder / name
        try:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        except OSError as error:
            msg = f"cannot replace {path}: {error.strerror or error}"
            raise OutputError(msg) from error
