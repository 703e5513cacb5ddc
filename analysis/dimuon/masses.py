"""Read a mass distribution from muon trees, a catalogue of them, a histogram or a CSV file."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
import uproot
import vector
from hist import Hist, axis
from numpy.typing import NDArray

from analysis import histograms
from analysis.common.errors import AnalysisError, did_you_mean
from analysis.common.folders import required_file
from analysis.datasets import remote
from analysis.datasets.bundled import DIMUON_SAMPLE
from analysis.datasets.catalogue import Catalogue, Dataset
from analysis.datasets.processes import DATA
from analysis.datasets.read_errors import describe
from analysis.dimuon.processor import (
    DimuonAnalysis,
    DimuonConfig,
    DimuonError,
    mass_of,
    opposite_sign,
)
from analysis.execution.runner import run
from analysis.execution.settings import Execution
from analysis.histograms import Histograms
from schemas.muons import TREE

CSV_COLUMNS = {
    "energy": ("e", "energy"),
    "px": ("px",),
    "py": ("py",),
    "pz": ("pz",),
    "charge": ("q", "charge", "ch"),
}
"""Quantity (GeV) -> its names in a CSV file, before the number of the muon: `E1`, `px_2`, `Q1`."""
PAIR_COLUMNS = ("e", "px", "py", "pz", "charge")
"""Columns of a CSV file of pairs, with or without a header."""
PAIR_CHARGES = {"pp": False, "mm": False, "pm": True, "mp": True}
"""Charges of the two muons -> whether they are opposite."""

_ENDINGS = (".root", ".zip")

logger = logging.getLogger(__name__)


class InputError(AnalysisError):
    """A file that holds no mass distribution, or not the one that was asked for."""


class Masses(NamedTuple):
    """A mass distribution in GeV, binned or not, and where it is from."""

    content: Hist | NDArray[np.floating[Any]]
    source: str
    label: str
    """Name of the events in figures."""


def read_masses(
    source: Path | str = DIMUON_SAMPLE,
    *,
    datasets: Iterable[str] | None = None,
    execution: Execution | None = None,
    unbinned: bool = False,
    any_charge: bool = False,
) -> Masses:
    """Read the dimuon mass distribution of a file.

    `source` is a catalogue (`.json`), a ROOT file with a tree of muons or, after a colon, the name
    of a tree or one-dimensional histogram in it, a file of saved histograms (`.zip`, the name after
    a colon), or a CSV file with two muons or a pair a line. Of a catalogue the collision data are read,
    or all if it has none, unless `datasets` are named. Of trees a fine histogram is filled or,
    `unbinned`, every mass is kept; a CSV file is never binned. Pairs are of opposite charge, or of
    `any_charge`; a histogram has what it has. Raises InputError, or what reading raises.
    """
    path, name = _split(str(source))
    if "://" not in path:
        required_file(Path(path))
    suffix = Path(path).suffix.lower()
    processor = DimuonAnalysis(DimuonConfig(any_charge=any_charge), keep_masses=unbinned)
    if suffix == ".json":
        return _of_catalogue(Catalogue.load(path), path, datasets, execution, processor)
    if datasets is not None:
        msg = f"{path}: datasets can be named for a catalogue only"
        raise InputError(msg)
    if suffix == ".root":
        return _of_root(path, name, execution, processor)
    if suffix == ".zip":
        return Masses(_one(histograms.load(path), name, path), str(source), _label(path))
    if suffix == ".csv":
        return Masses(read_csv(path, any_charge=any_charge), path, _label(path))
    msg = f"{path}: expected a file that ends with .root, .json, .zip or .csv"
    raise InputError(msg)


def read_csv(path: Path | str, *, any_charge: bool = False) -> NDArray[np.floating[Any]]:
    """Read masses in GeV of the muon pairs of a CSV file, of opposite charge or of `any_charge`.

    Two muons a line, in the columns of `CSV_COLUMNS` with 1 or 2 behind, in any order and case; or a
    pair a line, in `PAIR_COLUMNS`. Other columns are ignored. Raises InputError for columns that are
    missing and for a value that is no number.
    """
    try:
        header, *lines = Path(path).read_text(encoding="utf-8-sig").splitlines() or [""]
        names = [name.strip().lower() for name in header.split(",")]
        if names[-1] in PAIR_CHARGES:
            names, lines = list(PAIR_COLUMNS), [header, *lines]
        if not any(line.strip() for line in lines):
            msg = "no line after the header"
            raise ValueError(msg)
        if set(PAIR_COLUMNS) <= set(names):
            pairs, opposite = _pairs(lines, [names.index(name) for name in PAIR_COLUMNS])
        else:
            pairs, opposite = _muons(lines, _columns(header.split(","), path))
    except (OSError, ValueError) as error:
        msg = f"{path}: {getattr(error, 'strerror', None) or error}"
        raise InputError(msg) from error
    selected = pairs if any_charge else pairs[opposite]
    if not len(selected):
        msg = f"{path}: no pair of opposite charge in {len(pairs)} lines"
        raise InputError(msg)
    try:
        masses = mass_of(selected)
    except DimuonError as error:
        msg = f"{path}: {error}"
        raise InputError(msg) from error
    impossible = int(np.sum(masses < 0))
    if impossible:
        logger.warning(
            "%s: %d of %d pairs have more momentum than energy: they are in no window",
            path, impossible, len(masses),
        )  # fmt: skip
    return masses


def _muons(lines: list[str], columns: list[int]) -> tuple[ak.Array, ak.Array]:
    """Add up the two four-vectors of each line, and compare their charges: opposite or not.

    Raises ValueError for a charge that is not finite, as that is neither.
    """
    values = np.loadtxt(lines, delimiter=",", usecols=columns, ndmin=2)
    by_muon = values.reshape(len(values), 2, len(CSV_COLUMNS))
    columns_of = {name: by_muon[..., i] for i, name in enumerate(CSV_COLUMNS)}
    if not np.all(np.isfinite(columns_of["charge"])):
        msg = "a charge is not finite: expected 1 or -1"
        raise ValueError(msg)
    muons = _vectors({name: ak.from_regular(column) for name, column in columns_of.items()})
    return muons[:, 0] + muons[:, 1], opposite_sign(muons)


def _pairs(lines: list[str], columns: list[int]) -> tuple[ak.Array, ak.Array]:
    """Read the four-vector of each line, and whether the charges of its two muons are opposite.

    Raises ValueError for a charge that is not one of `PAIR_CHARGES`.
    """
    *momentum, charge = columns
    lines = [line for line in lines if line.strip()]
    values = np.loadtxt(lines, delimiter=",", usecols=momentum, ndmin=2)
    charges = [line.split(",")[charge].strip().lower() for line in lines]
    unknown = sorted(set(charges) - set(PAIR_CHARGES))
    if unknown:
        msg = f"charge {unknown[0]!r}: expected one of {', '.join(PAIR_CHARGES)}"
        raise ValueError(msg)
    sums = _vectors({n: values[:, i] for i, n in enumerate(("energy", "px", "py", "pz"))})
    return sums, np.array([PAIR_CHARGES[word] for word in charges])


def _vectors(fields: Mapping[str, Any]) -> ak.Array:
    return ak.zip(dict(fields), with_name="Momentum4D", behavior=vector.backends.awkward.behavior)


def _columns(header: list[str], path: Path | str) -> list[int]:
    """Find the columns, muon by muon. Raise InputError, naming all that are missing."""
    places = {name.strip().lower().replace("_", ""): i for i, name in enumerate(header)}
    found: list[int] = []
    missing: list[str] = []
    for muon in "12":
        for names in CSV_COLUMNS.values():
            indices = [places[name + muon] for name in names if name + muon in places]
            found += indices[:1]
            if not indices:
                missing.append(" or ".join(name + muon for name in names))
    if missing:
        msg = f"{path}: no column {', '.join(missing)}; there: {', '.join(header) or 'none'}"
        raise InputError(msg)
    return found


def _split(source: str) -> tuple[str, str]:
    """Split a source into the path and the name after a colon that follows the file's ending."""
    for ending in _ENDINGS:
        path, colon, name = source.rpartition(f"{ending}:")
        if colon:
            return path + ending, name
    return source, ""


def _label(path: str) -> str:
    """Turn a file's name into words for figures."""
    return re.sub(r"[^A-Za-z0-9.+-]+", " ", Path(path).stem).strip() or "events"


def _of_catalogue(
    catalogue: Catalogue,
    source: str,
    datasets: Iterable[str] | None,
    execution: Execution | None,
    processor: DimuonAnalysis,
) -> Masses:
    collisions = [name for name, d in catalogue.datasets.items() if not d.is_simulation]
    chosen = catalogue.select(datasets or collisions or None)
    if not (datasets or collisions):
        logger.warning("%s: no collision data; simulated events are added up, each as one", source)
    result = run(processor, chosen, execution=execution, catalogue_path=source)
    result.ledger.require_complete()
    total = sum(output["observable"].project("mass") for output in result.output.values())
    if not total.sum(flow=True).value:
        which = "" if processor.config.any_charge else " of opposite charge"
        msg = f"{source}: no event with exactly two muons{which}"
        raise InputError(msg)
    if processor.keep_masses:
        masses = np.concatenate([output["masses"].value for output in result.output.values()])
        return Masses(masses, source, catalogue.figure_label)
    return Masses(total, source, catalogue.figure_label)


_TREES = (uproot.behaviors.TTree.TTree, uproot.behaviors.RNTuple.HasFields)


def _of_root(
    path: str, name: str, execution: Execution | None, processor: DimuonAnalysis
) -> Masses:
    try:
        with uproot.open({path: None}, **remote.Access().options()) as file:
            keys = file.keys(cycle=False)
            found = file[name or TREE]
            if not isinstance(found, _TREES):
                where = f"{path}:{name}"
                return Masses(_histogram(found, where), where, _label(path))
            events = int(found.num_entries)
    except uproot.exceptions.KeyInFileError as error:
        msg = f"{path}: no object {name or TREE!r}, {did_you_mean(name or TREE, keys)}"
        raise InputError(msg) from error
    except AnalysisError:
        raise
    except Exception as error:
        msg = f"{path}: {describe(error)}"
        raise InputError(msg) from error
    catalogue = _catalogue_of_file(path, name or TREE, events)
    return _of_catalogue(catalogue, path, None, execution, processor)


def _catalogue_of_file(path: str, tree: str, events: int) -> Catalogue:
    """Build a catalogue of one file, taken for collision data."""
    folder, _, name = (path if "://" in path else str(Path(path).absolute())).rpartition("/")
    dataset = Dataset(process=DATA, kind="collision", files={name: events})
    return Catalogue(tree=tree, base=folder, label=_label(path), datasets={"data": dataset})


def _histogram(found: Any, where: str) -> Hist:
    try:
        return _one_dimensional(found.to_hist(), where)
    except AttributeError as error:
        msg = f"{where}: neither a tree nor a histogram, but {found.classname}"
        raise InputError(msg) from error


def _one(named: Histograms, name: str, path: str) -> Hist:
    """Find the histogram of that name, or the only one."""
    if not name and len(named) == 1:
        name = next(iter(named))
    if name not in named:
        hint = did_you_mean(name, named) if name else f"name one of: {', '.join(named)}"
        msg = f"{path}: no histogram {name!r}, {hint}" if name else f"{path}: {hint} (FILE:NAME)"
        raise InputError(msg)
    return _one_dimensional(named[name], f"{path}:{name}")


def _one_dimensional(histogram: Hist, where: str) -> Hist:
    """Sum a histogram over its categories.

    Raises InputError if that leaves other than one axis, or counts events more than once: variations
    are the same events again, and simulation is not to be added to data.
    """
    for found in histogram.axes:
        names = list(found) if isinstance(found, axis.StrCategory) else []
        if len(names) > 1 and (found.name == "variation" or DATA in names):
            msg = (
                f"{where}: the sum over its axis {found.name!r} ({', '.join(names[:3])}, ...) has "
                "no meaning: save one of them"
            )
            raise InputError(msg)
    kinds = (axis.StrCategory, axis.IntCategory)
    axes = [i for i, found in enumerate(histogram.axes) if not isinstance(found, kinds)]
    if len(axes) != 1:
        msg = f"{where}: expected a histogram of one axis, got {len(axes)}"
        raise InputError(msg)
    return histogram.project(*axes)
