"""`run.py fit`: from normalised histograms, or a workspace, to the cross section."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.cli import options
from analysis.common.errors import ConfigError
from analysis.common.folders import WORKSPACE, fit_source

if TYPE_CHECKING:
    from analysis.inference.config import InferenceConfig
    from analysis.inference.measurement import Measurement
    from analysis.inference.workspace import Built, Observed
    from analysis.plotting.captions import FitCaption

SUMMARY = "fit a results folder, a ROOT file of templates or a workspace: the cross section"

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        type=Path,
        nargs="?",
        default=options.DEFAULT_OUTPUT,
        metavar="SOURCE",
        help="results folder, .root file of templates, .json workspace (default: %(default)s)",
    )
    parser.add_argument(
        "--observed",
        choices=("data", "pseudodata", "asimov"),
        default="data",
        help="what templates are fitted to (default: %(default)s)",
    )
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="TOML file of what the model has besides, or otherwise",
    )
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
        help="TOML file of what the model of the fit has besides, or otherwise",
    )


def run(arguments: argparse.Namespace) -> None:
    config = model_config(arguments.model)
    if arguments.luminosity_fraction is not None:
        fraction = _fraction(arguments.luminosity_fraction)
        config = config.model_copy(update={"luminosity_fraction": fraction})
    if arguments.print_model:
        import tomli_w

        sys.stdout.write(tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)))
        return
    fit_source(arguments.source)

    from analysis.common.tables import show
    from analysis.inference import tables

    measurement, files = fit(
        arguments.source, _output(arguments), config, arguments.observed,
        force=arguments.force, with_ranking=not arguments.no_ranking,
        allow_incomplete=arguments.allow_incomplete,
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
        archive = hepdata.write(measurement, folder, measurement.binning)
        logger.info("HEPData submission: %s", archive)
    for table in (tables.summary, tables.uncertainties):
        title, header, rows = table(measurement)
        show(header, rows, title=title)
    logger.info("%d figures and tables in %s", len({p.stem for p in files}), _output(arguments))


def fit(
    source: Path,
    output: Path,
    config: InferenceConfig,
    observed: Observed = "data",
    *,
    force: bool = False,
    with_ranking: bool = True,
    allow_incomplete: bool = False,
) -> tuple[Measurement, list[Path]]:
    """Build the workspace, fit it, write and draw; the measurement and the files of figures."""
    from analysis import results
    from analysis.common.files import writable_folder, write_json
    from analysis.inference import tables
    from analysis.inference.measurement import measure
    from analysis.plotting.fit import make_figures

    folder = writable_folder(output)
    built, caption, reference, made_of = _built(source, config, observed, allow_incomplete)
    is_workspace = source.suffix == ".json"
    write_json(folder / WORKSPACE, built.spec)
    measurement = measure(
        built.spec,
        cross_section_pb=reference,
        source=str(source),
        observed="workspace" if is_workspace else caption.observed.lower(),
        notes=built.notes,
        processes=None if is_workspace else config.processes,
        binning=caption.binning,
        force=force,
        with_ranking=with_ranking,
    )
    tables.write(measurement, folder, made_of)
    figures = make_figures(measurement, built.spec, caption, folder / results.FIGURES)
    return measurement, figures


def fit_if_possible(
    folder: Path, config: InferenceConfig, *, allow_incomplete: bool = False
) -> None:
    """The same as the last of all stages, in one line: a run of a few processes has no such fit."""
    from analysis.common.errors import AnalysisError

    try:
        measurement, _ = fit(folder, folder, config, allow_incomplete=allow_incomplete)
    except AnalysisError as error:
        logger.warning("no cross section: %s", error)
        return
    goodness = measurement.fit.goodness
    logger.info(
        "σ(tt̄) = %s, χ²/ndf %.1f/%d; %d warnings: measurement.md",
        measurement.cross_section, goodness.chi2, goodness.degrees_of_freedom,
        len(measurement.findings) + len(measurement.remarks),
    )  # fmt: skip


def model_config(file: Path | None) -> InferenceConfig:
    """Read the model of the fit; the default one without a file."""
    from analysis.common.strict import read_toml
    from analysis.inference.config import InferenceConfig

    return InferenceConfig() if file is None else read_toml(file, InferenceConfig)


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


def _built(
    source: Path, config: InferenceConfig, observed: Observed, allow_incomplete: bool
) -> tuple[Built, FitCaption, float, str]:
    """Build the workspace; return it, what figures say of it, what a strength of 1 stands for in pb,
    and the digest of the run's histograms (empty for those of a file).
    """
    from analysis.inference import tables, templates, workspace
    from analysis.plotting.captions import FitCaption
    from analysis.results import load_normalised

    if source.suffix == ".json":
        built = workspace.Built(workspace.load(source), [])
        before = tables.beside(source, built.spec)
        if before is None:
            reference = config.reference_pb(None, source.name)
            return built, FitCaption.of_file(source.name), reference, ""
        reference = config.signal_cross_section_pb or before.cross_section.reference
        return built, FitCaption.of_file(source.name, before.binning), reference, ""
    if source.suffix == ".root":
        made, made_of = templates.from_root(source, config), ""
        caption = FitCaption.of_file(source.name, config.binning, observed)
    else:
        normalised = load_normalised(source)
        made = templates.from_results(normalised, config)
        made_of = normalised.normalisation.scaled
        caption = FitCaption.of(normalised, config.binning, observed)
    if not allow_incomplete:
        made.require_complete(source)
    return workspace.build(made, config, observed), caption, made.cross_section_pb, made_of
