"""The figures of the top peak's fits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from matplotlib.figure import Figure

from analysis.common.files import writable_folder
from analysis.datasets.processes import DATA
from analysis.histograms import OBSERVABLE
from analysis.plotting.annotations import run_label, run_luminosity
from analysis.plotting.peaks import Caption, peak_figure, remove_figures, sideband_figure
from analysis.plotting.style import save_figures
from analysis.postprocess.normalisation import Normalised, summed
from analysis.postprocess.top_peak import PREDICTION, REGION, TopPeakResult, distribution


def make_figures(results: Normalised, result: TopPeakResult, folder: Path) -> list[Path]:
    """Write the figures of the top peak's fits to the folder; return the files.

    Those of earlier fits are removed.
    """
    names = (f"top_peak_{part}{name}" for part in ("", "bands_") for name in (DATA, PREDICTION))
    remove_figures(writable_folder(folder), names)
    return save_figures(_figures(results, result), folder)


def _figures(results: Normalised, result: TopPeakResult) -> Iterator[tuple[str, Figure]]:
    luminosity = run_luminosity(results)
    observable = summed(results.histograms[OBSERVABLE])
    for name, fits in result.fits.items():
        label = run_label(results, simulated=name != DATA)
        points = results.ledger.labels.get(name, name.title())
        axis_label = results.description.regions[REGION].axis_label
        caption = Caption(axis_label, label, luminosity, points=points)
        if fits.peak is not None:
            yield f"top_peak_{name}", peak_figure(fits.peak, caption)
        if fits.bands is not None:
            content = distribution(observable, name)
            yield f"top_peak_bands_{name}", sideband_figure(content, fits.bands, caption)
