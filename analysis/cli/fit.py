"""`run.py fit`: from normalised histograms, or a workspace, to the cross section."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.cli import options
from analysis.common.errors import ConfigError
from analysis.common.folders import LEDGER, fit_source

if TYPE_CHECKING:
    from analysis.inference.config import InferenceConfig

SUMMARY = "fit a results folder, a ROOT file of templates or a workspace: the cross section"

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        type=Path,
        nargs="?",
        default=options.DEFAULT_OUTPUT,
        metavar="SOURCE",
        help="results folder, .root or .json file of histograms (the Analysis Grand Challenge's format), "
        ".json workspace (default: %(default)s)",
    )
    parser.add_argument(
        "--observed",
        choices=("data", "pseudodata", "asimov"),
        help="what templates are fitted to (default: data; pseudodata for the presets agc-v1 and agc-v2)",
    )
    add_model(parser)
    parser.add_argument(
        "--print-model", action="store_true", help="print the whole model as such a file, and end"
    )
    parser.add_argument(
        "--luminosity-fraction",
        metavar="X",
        help="part of the simulation's luminosity that the data have, or 'free'",
    )
    parser.add_argument("--force", action="store_true", help="fit in spite of errors in the model")
    parser.add_argument(
        "--allow-incomplete",
        action="store_true",
        help="fit a run that lacks datasets of a process, or events that were not processed",
    )
    parser.add_argument(
        "--no-ranking", action="store_true", help="without impacts, which take most of the time"
    )
    options.add_toys(parser, "the goodness of fit")
    parser.add_argument(
        "--hepdata",
        action="store_true",
        help="also a HEPData submission in the folder 'hepdata' (extra 'hepdata')",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder for the results (default: the results folder; 'results' for a file)",
    )
    options.add_verbosity(parser)


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="TOML file of what the model of the fit has besides, or otherwise; or a preset, whose model it "
        "is (default: that of the run's preset)",
    )


def run(arguments: argparse.Namespace) -> None:
    source = arguments.source
    if not arguments.print_model:
        fit_source(source)

    from analysis import stages
    from analysis.inference.config import InferenceConfig

    there = source.is_file() or (source / LEDGER).exists()
    no_run = arguments.print_model and not there
    own = InferenceConfig() if no_run else stages.own_model(source)
    config = model_config(arguments.model, own)
    if arguments.luminosity_fraction is not None:
        fraction = _fraction(arguments.luminosity_fraction)
        config = config.model_copy(update={"luminosity_fraction": fraction})
    if arguments.print_model:
        import tomli_w

        sys.stdout.write(tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)))
        return

    from analysis.common.tables import show
    from analysis.inference import tables

    measurement, files = stages.fit(
        arguments.source, _output(arguments), config, arguments.observed,
        force=arguments.force, with_ranking=not arguments.no_ranking,
        allow_incomplete=arguments.allow_incomplete, toys=options.toys(arguments),
    )  # fmt: skip
    for note in measurement.notes:
        logger.info("%s", note)
    for finding in measurement.findings:
        logger.warning("%s", finding)
    for remark in measurement.remarks:
        logger.warning("%s", remark)
    if arguments.hepdata:
        from analysis import results
        from analysis.inference import hepdata

        folder = _output(arguments) / results.HEPDATA
        archive = hepdata.write(measurement, folder)
        logger.info("HEPData submission: %s", archive)
    for table in (tables.summary, tables.uncertainties, tables.compatibility):
        title, header, rows = table(measurement)
        if rows:
            show(header, rows, title=title)
    logger.info("%d figures and tables in %s", len({p.stem for p in files}), _output(arguments))


def model_config(given: Path | None, own: InferenceConfig) -> InferenceConfig:
    """Read the model of the fit: that of a preset, or the analysis's `own` with what a file changes.

    Raises ConfigError for a file that cannot be read.
    """
    from analysis.common.strict import read_toml
    from analysis.presets import PRESETS

    if (preset := PRESETS.get(str(given))) is not None:
        return type(own).of_run(preset.model)
    return own if given is None else read_toml(given, type(own), own)


def _fraction(text: str) -> float | str:
    if text == "free":
        return text
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        msg = f"--luminosity-fraction: expected a positive number or 'free', got {text!r}"
        raise ConfigError(msg)
    return value


def _output(arguments: argparse.Namespace) -> Path:
    if arguments.output is not None:
        return Path(arguments.output)
    source: Path = arguments.source
    return options.DEFAULT_OUTPUT if source.is_file() else source
