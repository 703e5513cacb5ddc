"""`run.py toppeak`: the fit of the top quark's peak of a finished run."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from analysis.cli import options
from analysis.common.errors import AnalysisError

SUMMARY = "fit the top quark's peak of a finished run over its sidebands"

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_results(parser)
    options.add_config(parser)
    options.add_verbosity(parser)


def run(arguments: argparse.Namespace) -> None:
    fit(options.results_folder(arguments), arguments.config)


def fit(folder: Path, config: Path | None = None, tables: bool = True) -> None:
    """Fit, write and draw; print the table."""
    from analysis import results
    from analysis.common.tables import show
    from analysis.config import load_config
    from analysis.plotting.peaks import top_peak_figures
    from analysis.postprocess.top_peak import remarks, top_peak_table

    normalised = results.load_normalised(folder)
    result = results.top_peak(folder, normalised, load_config(config) if config else None)
    top_peak_figures(normalised, result, folder / results.FIGURES)
    if not tables:
        return
    if result.fits and logger.isEnabledFor(logging.INFO):
        show(*top_peak_table(result), title="Top peak")
    for remark in remarks(result):
        logger.info("%s", remark)


def fit_if_possible(folder: Path, tables: bool = True) -> None:
    """The same as one of all stages: a run without what it needs is complete without it."""
    try:
        fit(folder, tables=tables)
    except AnalysisError as error:
        logger.warning("no top peak: %s", error)
