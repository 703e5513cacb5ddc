"""Histograms: booking, saving in an open format, loading, ROOT export.

Saved histograms are UHI histograms (JSON with NumPy arrays) in a zip file, which any library of the
UHI standard reads; nothing is pickled.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import hist
import uhi.io.zip
import uproot
from hist import Hist

from analysis.common.errors import OutputError
from analysis.common.files import atomic
from analysis.config import Binning
from analysis.datasets.sample import template_name

Histograms = dict[str, Hist]
"""Name -> histogram; a `/` in a name makes folders in a saved file."""

OBSERVABLE = "observable"
OWN = "observable/"
"""Regions with a binning of their own."""
CONTROL = "control/"
MULTIJET = "multijet/"

SCALED_TO = "cross_sections_pb"
"""Name in a ROOT file of the processes, and what each was scaled to in pb: null for not known."""

NOTE = "note"
"""Name in a ROOT file of what is to be known of its histograms, a line each."""

_SUFFIX = ".json"


def book_observable(
    binning: Binning,
    regions: list[str],
    process: str,
    variations: list[str],
    channels: list[str],
) -> Hist:
    """The tutorial's histogram with the channel as a fifth axis; weighted storage.

    Categories are booked ahead, so that they are there in any chunk and in the same order.
    """
    return Hist(
        _regular(binning, "observable", "observable [GeV]"),
        hist.axis.StrCategory(regions, name="region", label="Region"),
        hist.axis.StrCategory([process], name="process", label="Process", growth=True),
        hist.axis.StrCategory(
            variations, name="variation", label="Systematic variation", growth=True
        ),
        hist.axis.StrCategory(channels, name="channel", label="Channel", overflow=False),
        storage=hist.storage.Weight(),
    )


def book_control(binning: Binning, label: str, channels: list[str], process: str) -> Hist:
    """A histogram of one value, by channel and process; weighted storage."""
    return Hist(
        _regular(binning, "value", label),
        hist.axis.StrCategory(channels, name="channel", label="Channel", overflow=False),
        hist.axis.StrCategory([process], name="process", label="Process", growth=True),
        storage=hist.storage.Weight(),
    )


def book_plane(
    isolation: Binning, transverse_mass: Binning, regions: list[str], channel: str, process: str
) -> Hist:
    """Muon isolation and transverse mass of a region and process; weighted storage."""
    return Hist(
        _regular(isolation, "isolation", "Relative isolation"),
        _regular(transverse_mass, "transverse_mass", r"$m_T$ [GeV]"),
        hist.axis.StrCategory(regions, name="region", label="Region", overflow=False),
        hist.axis.StrCategory([channel], name="channel", label="Channel", overflow=False),
        hist.axis.StrCategory([process], name="process", label="Process", growth=True),
        storage=hist.storage.Weight(),
    )


class Numbered:
    """Fills a histogram with the places of its categories in place of their names: arrays of them
    at once, where names would need a fill for each. Used as a context; the histogram has the contents
    at its end.
    """

    def __init__(self, histogram: Hist) -> None:
        self._histogram = histogram
        self._counted = Hist(
            *(_numbered(axis) for axis in histogram.axes), storage=hist.storage.Weight()
        )

    def __enter__(self) -> Self:
        return self

    def fill(self, **values: Any) -> None:
        """As `Hist.fill`, categories by number."""
        self._counted.fill(**values)

    def __exit__(self, *_: object) -> None:
        self._histogram.view(flow=True)[...] += self._counted.view(flow=True)


def _numbered(axis: Any) -> Any:
    """The axis itself, or whole numbers in the same bins as its categories."""
    if not isinstance(axis, hist.axis.StrCategory):
        return axis
    return hist.axis.Integer(
        0, axis.size, name=axis.name, underflow=False, overflow=axis.traits.overflow
    )


def flatten(output: Mapping[str, Any]) -> Histograms:
    """Name the processor's histograms: `{dataset}/observable`, `{dataset}/observable/{region}` of regions
    with a binning of their own, `{dataset}/control/{name}`, `{dataset}/multijet/{name}`.
    """
    named = {}
    for dataset, booked in output.items():
        named[f"{dataset}/{OBSERVABLE}"] = booked["observable"]
        for region, histogram in booked["observables"].items():
            named[f"{dataset}/{OWN}{region}"] = histogram
        for name, histogram in booked["control"].items():
            named[f"{dataset}/{CONTROL}{name}"] = histogram
        for name, histogram in booked["multijet"].items():
            named[f"{dataset}/{MULTIJET}{name}"] = histogram
    return named


def by_region(histograms: Histograms) -> dict[str, Hist]:
    """Find the observable of each region, by (observable, process, variation, channel)."""
    return {
        region: histogram[{"region": region}]
        for name, histogram in histograms.items()
        if name == OBSERVABLE or name.startswith(OWN)
        for region in histogram.axes["region"]
    }


def of_kind(histograms: Histograms, kind: str) -> dict[str, Histograms]:
    """`{name: {dataset: histogram}}` of the histograms whose name begins with `kind`."""
    found: dict[str, Histograms] = {}
    for path, histogram in histograms.items():
        dataset, _, name = path.partition("/")
        if name.startswith(kind):
            found.setdefault(name, {})[dataset] = histogram
    return found


def export_root(
    path: Path,
    regions: Mapping[str, Hist],
    variations: Mapping[str, list[str]],
    note: str = "",
    cross_sections_pb: Mapping[str, float | None] | None = None,
) -> None:
    """Write `{region}_{process}` and `{region}_{process}_{variation}` as TH1D, overflow included.

    `regions` has the (observable, process, variation) of each; `variations` are those of each process. A `note` that
    is not empty is written beside them, and as JSON what each process was scaled to (`SCALED_TO`).
    """
    with atomic(path) as temporary, uproot.recreate(temporary) as file:
        for region, observable in regions.items():
            for process, names in variations.items():
                for variation in names:
                    file[template_name(region, process, variation)] = observable[
                        {"process": process, "variation": variation}
                    ]
        if note:
            file[NOTE] = note
        if cross_sections_pb is not None:
            file[SCALED_TO] = json.dumps(cross_sections_pb)


def _regular(binning: Binning, name: str, label: str) -> hist.axis.Regular:
    return hist.axis.Regular(binning.bins, binning.low, binning.high, name=name, label=label)


def save(path: Path, histograms: Mapping[str, Hist]) -> None:
    """Write all histograms to one file; the file is there whole or not at all."""
    with (
        atomic(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name, histogram in histograms.items():
            uhi.io.zip.write(archive, name, histogram)


def load(path: Path | str) -> Histograms:
    """Read back exactly what `save` wrote.

    Raises OutputError if the file is not there or is no such file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(_SUFFIX)]
            return {
                name.removesuffix(_SUFFIX): Hist(
                    uhi.io.zip.read(archive, name.removesuffix(_SUFFIX))
                )
                for name in names
            }
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, TypeError, zlib.error) as error:
        msg = f"histograms {path}: cannot be read: {error}"
        raise OutputError(msg) from error
