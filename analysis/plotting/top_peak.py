"""The figures of the top peak's fits."""

from __future__ import annotations

from pathlib import Path

from analysis.files import writable_folder
from analysis.histograms import OBSERVABLE
from analysis.metadata import CHANNELS
from analysis.plotting.annotations import run_label, run_luminosity
from analysis.plotting.peaks import Caption, peak_figure, remove_figures, sideband_figure
from analysis.plotting.style import save_figure, style
from analysis.postprocess.normalisation import summed
from analysis.postprocess.top_peak import PREDICTION, REGION, TopPeakResult, distribution
from analysis.processes import DATA
from analysis.regions import REGIONS
from analysis.results import Normalised


def make_figures(results: Normalised, result: TopPeakResult, folder: Path) -> list[Path]:
    """Write the figures of the top peak's fits to the folder; return the files.

    Those of earlier fits are removed.
    """
    writable_folder(folder)
    names = (f"top_peak_{part}{name}" for part in ("", "bands_") for name in (DATA, PREDICTION))
    remove_figures(folder, names)
    paths = []
    luminosity = run_luminosity(results, list(CHANNELS))
    observable = summed(results.histograms[OBSERVABLE])
    with style():
        for name, fits in result.fits.items():
            label = run_label(results, simulated=name != DATA)
            points = results.ledger.labels.get(name, name.title())
            caption = Caption(REGIONS[REGION].axis_label, label, luminosity, points=points)
            if fits.peak is not None:
                paths += save_figure(peak_figure(fits.peak, caption), folder, f"top_peak_{name}")
            if fits.bands is not None:
                content = distribution(observable, name)
                figure = sideband_figure(content, fits.bands, caption)
                paths += save_figure(figure, folder, f"top_peak_bands_{name}")
    return paths
