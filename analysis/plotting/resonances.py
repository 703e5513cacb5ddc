"""The figures of one estimate of a resonance: count, fits, scan."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hist import Hist
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from analysis.common.files import writable_folder
from analysis.dimuon.resonances import PeakReport, coarser
from analysis.plotting.peaks import (
    Caption,
    count_figure,
    peak_figure,
    remove_figures,
    scan_figure,
    sideband_figure,
)
from analysis.plotting.style import save_figures

_NAMES = ("count", "sidebands", "peak", "scan")

MASS_LABEL = r"$m_{\mu\mu}$ [GeV]"


def make_figures(
    content: Hist | ArrayLike, report: PeakReport, caption: Caption, folder: Path
) -> list[Path]:
    """Write the figures of `report`, which is of `content`, to the folder; return the files.

    Those of an earlier report that this one has no fit for are removed.
    """
    remove_figures(writable_folder(folder), _NAMES)
    return save_figures(_figures(content, report, caption), folder)


def _figures(
    content: Hist | ArrayLike, report: PeakReport, caption: Caption
) -> Iterator[tuple[str, Figure]]:
    drawn = coarser(content, report.choice)
    count = report.counts[0]
    yield "count", count_figure(drawn, count, report.span, caption)
    if report.sideband_fit is not None:
        yield "sidebands", sideband_figure(drawn, report.sideband_fit, caption)
    if report.peak_fit is not None:
        yield "peak", peak_figure(report.peak_fit, caption)
    yield "scan", scan_figure(report.scan, caption)
