"""`run.py process`: from a catalogue to normalised histograms."""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING

from analysis.cli import options
from analysis.common.errors import ConfigError, IncompleteError
from analysis.common.files import sole_run

if TYPE_CHECKING:
    from analysis.config import AnalysisConfig
    from analysis.execution.ledger import Ledger
    from analysis.postprocess.normalisation import Normalised
    from analysis.processor import TtbarAnalysis

SUMMARY = "process a catalogue into normalised histograms"

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_input(parser)
    options.add_execution(parser)
    options.add_resume(parser)
    options.add_normalisation(parser)
    options.add_output(parser)
    options.add_verbosity(parser)


def run(arguments: argparse.Namespace) -> None:
    with sole_run(arguments.output):
        process(arguments, options.analysis(arguments))


def process(
    arguments: argparse.Namespace, analysis: TtbarAnalysis, tables: bool = True
) -> Normalised:
    """Process, save, normalise, and print the yields."""
    scaling = options.scaling(arguments)
    catalogue = options.selected_catalogue(arguments)

    from analysis import stages
    from analysis.execution.settings import Limits

    _tell_obstacles(analysis.config, scaling.qcd)
    try:
        result = stages.process(
            analysis,
            catalogue,
            arguments.output,
            execution=options.execution(arguments),
            limits=Limits(arguments.max_files, arguments.max_events),
            catalogue_path=str(options.catalogue_path(arguments)),
            resume=arguments.resume,
        )
    except KeyboardInterrupt:
        logger.warning("what was finished is kept in %s: --resume goes on", arguments.output)
        raise
    _tell(result.ledger)
    try:
        normalised = stages.normalise(arguments.output, scaling)
    except IncompleteError as error:
        msg = f"{error} (--resume tries again; --allow-incomplete scales by what was processed)"
        raise IncompleteError(msg) from error
    report(normalised, tables)
    logger.info("results in %s", arguments.output)
    return normalised


def _tell_obstacles(config: AnalysisConfig, qcd: str) -> None:
    """What later stages cannot do; raises ConfigError where the run itself needs it."""
    from analysis.postprocess import feasible

    found = feasible.obstacles(config)
    if qcd == "abcd" and feasible.MULTIJET in found:
        msg = f"--qcd abcd: {found[feasible.MULTIJET]}"
        raise ConfigError(msg)
    for result, reason in found.items():
        logger.warning("the run will have no %s: %s", feasible.WORDS[result], reason)


def _tell(ledger: Ledger) -> None:
    """How much was processed, and what to look at."""
    logger.info(
        "processed %d of %d events in %.1f s",
        ledger.events_processed, ledger.events_expected, ledger.duration_s,
    )  # fmt: skip
    for failure in ledger.failures:
        logger.debug(
            "%s, events %d to %d: %s, attempts: %d",
            failure.file, failure.first_event, failure.last_event, failure.reason, failure.attempts,
        )  # fmt: skip
    if ledger.doubtful:
        first = ledger.doubtful[0]
        logger.warning(
            "values that cannot be in %d chunks (all in run.json): %s: %s",
            len(ledger.doubtful), first.file, first.found,
        )  # fmt: skip


def report(normalised: Normalised, tables: bool = True) -> None:
    """Print the yields, and say what is not as usual."""
    from analysis.common.tables import show
    from analysis.postprocess.yields import yield_table

    scaling = normalised.normalisation
    for note in scaling.notes:
        logger.warning("%s", note)
    for name, scale in scaling.datasets.items():
        factors = ", ".join(f"{channel} {value:.6g}" for channel, value in scale.factors.items())
        logger.debug("%s: %.4g of its events, factor: %s", name, scale.fraction, factors)
    for channel, luminosity in scaling.luminosity.items():
        logger.info("luminosity, %s channel: %.6g /pb", channel, luminosity)
    if tables and logger.isEnabledFor(logging.INFO):
        show(*yield_table(normalised.regions, normalised.labels), title="Yields")
