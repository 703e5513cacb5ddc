"""The stages of a run: what each reads from a results folder, does, and writes there.

The command line and notebooks call these functions; `AFTER_PROCESSING` is the order in which `run.py`
does the later ones. Heavy libraries are imported by the stage that needs them.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis import results
from analysis.common.errors import (
    AnalysisError,
    ConfigError,
    StageError,
    did_you_mean,
)
from analysis.common.files import short_digest
from analysis.common.names import one_or_more
from analysis.datasets.processes import DATA
from analysis.datasets.sample import NOMINAL
from analysis.execution.ledger import Ledger
from analysis.execution.settings import Execution, Limits
from analysis.histograms import OBSERVABLE
from analysis.plotting import FORMATS, PROCESSES
from analysis.postprocess import normalisation
from analysis.postprocess.normalisation import Normalised, Scaling
from analysis.selection.description import described

if TYPE_CHECKING:
    from analysis.config import AnalysisConfig
    from analysis.datasets.catalogue import Catalogue
    from analysis.execution.runner import Result
    from analysis.inference.compatibility import Ways
    from analysis.inference.config import InferenceConfig, Observed
    from analysis.inference.measurement import Measurement
    from analysis.inference.toys import Toys
    from analysis.inference.workspace import Built
    from analysis.plotting.captions import FitCaption
    from analysis.postprocess.abcd.multijet import RegionEstimate
    from analysis.postprocess.top_peak import TopPeakResult
    from analysis.processor import TtbarAnalysis

logger = logging.getLogger(__name__)


def named_analysis(name: str) -> TtbarAnalysis:
    """Find a preset by its name, or the `analysis` that a Python file defines.

    Raises ConfigError for another name, with the nearest, and for a file without an analysis.
    """
    from analysis.presets import PRESETS
    from analysis.processor import TtbarAnalysis

    if name in PRESETS:
        return TtbarAnalysis(preset=PRESETS[name])
    path = Path(name)
    if path.suffix != ".py":
        msg = f"--analysis {name}: {did_you_mean(name, PRESETS)} (or a FILE.py)"
        raise ConfigError(msg)
    found = _defined_in(path).get("analysis")
    if not isinstance(found, TtbarAnalysis):
        msg = f"{path} defines no 'analysis': expected analysis = TtbarAnalysis(...)"
        raise ConfigError(msg)
    return found if found.is_named else found.called(path.stem)


def _defined_in(path: Path) -> dict[str, Any]:
    """Run a Python file as a module of its own; return what it defines."""
    try:
        text = path.read_bytes()
    except OSError as error:
        msg = f"analysis {path}: {error.strerror or error}"
        raise ConfigError(msg) from error
    name = f"analysis_file_{short_digest(text)}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        msg = f"analysis {path}: no Python file"
        raise ConfigError(msg)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except AnalysisError:
        raise
    except Exception as error:
        line = traceback.extract_tb(error.__traceback__)[-1].lineno
        msg = f"analysis {path}, line {line}: {type(error).__name__}: {error}"
        raise ConfigError(msg) from error
    return vars(module)


def process(
    analysis: TtbarAnalysis,
    catalogue: Catalogue,
    folder: Path,
    *,
    execution: Execution | None = None,
    limits: Limits | None = None,
    catalogue_path: str = "",
    resume: bool = False,
) -> Result:
    """Fill the histograms of a catalogue, and write them, the cutflow and the ledger.

    Earlier results in the folder are there until nothing can refuse the run any more. Raises what
    `execution.runner.run` raises.
    """
    from analysis.execution import runner
    from analysis.skim import restore_cutflow

    result = runner.run(
        analysis,
        catalogue,
        execution=execution,
        limits=limits,
        catalogue_path=catalogue_path,
        checkpoints=folder / results.CHECKPOINTS,
        resume=resume,
        begin=partial(results.begin_run, folder),
    )
    if result.ledger.events_processed == catalogue.events:
        restore_cutflow(result.output, catalogue)
    elif catalogue.skim is not None:
        logger.warning("the first steps of the cutflow count events of the skim only")
    results.save_run(folder, result.output, result.ledger)
    return result


def normalise(folder: Path, scaling: Scaling | None = None) -> Normalised:
    """Scale the histograms of a run as its catalogue, or `scaling`, says, and write them.

    Raises what `normalisation.normalised` raises.
    """
    ledger = Ledger.load(folder)
    normalised = normalisation.normalised(
        results.load_unscaled(folder, ledger), ledger, scaling or Scaling()
    )
    return results.save_normalised(folder, normalised)


def plot(
    folder: Path, formats: str | Sequence[str] = FORMATS, processes: int = PROCESSES
) -> list[Path]:
    """Draw the regions, their variations and the control plots; return the files."""
    if processes > 1:
        from analysis.plotting import pool

        pool.prepare()
    from analysis.plotting.figures import make_figures

    normalised = results.load_normalised(folder)
    return make_figures(normalised, folder / results.FIGURES, one_or_more(formats), processes)


def top_peak(folder: Path, config: AnalysisConfig | None = None) -> TopPeakResult:
    """Fit the top quark's peak of the scaled histograms, and write result, table and figures.

    The settings are those of `config`, or of the run. Raises SidebandError without the region.
    """
    from analysis.plotting.peaks import top_peak_figures
    from analysis.postprocess.top_peak import fit_top_peak

    normalised = results.load_normalised(folder)
    settings = (config or normalised.config).top_peak
    observable = normalisation.summed(normalised.histograms[OBSERVABLE])
    result = fit_top_peak(observable, settings)
    results.save_top_peak(folder, result, normalised)
    top_peak_figures(normalised, result, folder / results.FIGURES)
    return result


def abcd(folder: Path) -> dict[str, RegionEstimate]:
    """Estimate the multijet background of the muon channel by ABCD; write it, its table and figures.

    Raises OutputError without the plane, AbcdError for cuts that are no edges of it.
    """
    from analysis.plotting.abcd import make_figures
    from analysis.postprocess.abcd import multijet

    normalised = results.load_normalised(folder)
    plane = normalisation.plane_of(normalised)
    config = normalised.config
    estimates = {
        region: multijet.estimate(plane, region, config) for region in plane.axes["region"]
    }
    results.save_multijet(folder, estimates, normalised)
    make_figures(normalised, estimates, folder / results.FIGURES)
    return estimates


class Model(NamedTuple):
    """A workspace, and what is known of it."""

    built: Built
    caption: FitCaption
    """What figures say of it."""
    reference_pb: float
    """Cross section that a strength of 1 stands for."""
    source: str
    observed: str
    """What is fitted: `data`, `pseudo-data`, `workspace`, ..."""
    processes: tuple[str, ...] | None
    """What every region must have; None for a workspace of somebody else's."""
    made_of: str = ""
    """Digest of the run's scaled histograms; empty for those of a file."""
    luminosity_ipb: Mapping[str, float] = MappingProxyType({})
    """Of what was observed, by lepton channel; empty where nobody knows it."""
    ways: Ways = MappingProxyType({})
    """Ways to divide the channels of the workspace into parts, which are compared."""
    elsewhere: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    """Region that is not fitted -> its workspace."""


def own_model(source: Normalised | Path) -> InferenceConfig:
    """Find the model that the analysis of a run brings, the default one for a file.

    Histograms as the Analysis Grand Challenge writes them have its model. Raises ConfigError for one that
    is not valid.
    """
    from analysis.inference.config import InferenceConfig
    from analysis.postprocess import agc_json
    from analysis.presets.agc import MODEL

    if isinstance(source, Path):
        if source.suffix in (".json", ".root"):
            is_of_agc = source.suffix == ".json" and agc_json.is_one(source)
            return InferenceConfig.of_run(MODEL if is_of_agc else {})
        return InferenceConfig.of_run(described(Ledger.load(source).analysis).model)
    return InferenceConfig.of_run(source.description.model)


def model_of(
    source: Normalised | Path,
    config: InferenceConfig | None = None,
    observed: Observed | None = None,
    *,
    allow_incomplete: bool = False,
) -> Model:
    """Build the model of scaled histograms, a results folder, a file of histograms or a workspace.

    Without `config` it is that of the analysis; `observed` takes the place of what the model says. Raises
    WorkspaceError for templates that make none and, unless it is allowed, for a run that lacks
    datasets or events.
    """
    from analysis.inference import templates, workspace
    from analysis.inference.elsewhere import Elsewhere, elsewhere
    from analysis.plotting.captions import FitCaption
    from analysis.postprocess import agc_json

    config = config or own_model(source)
    observed = observed or config.observed
    kind = source.suffix if isinstance(source, Path) else ""
    if isinstance(source, Path) and kind == ".json" and not agc_json.is_one(source):
        return _model_of_workspace(source, config)
    if isinstance(source, Path) and kind in (".json", ".root"):
        read = templates.from_json if kind == ".json" else templates.from_root
        made, made_of, others = read(source, config), "", Elsewhere()
        own = config.own_binnings(made.regions)
        luminosity: Mapping[str, float] = {}
        caption = FitCaption.of_file(source.name, config.binning, observed, own)
    else:
        run = results.load_normalised(source) if isinstance(source, Path) else source
        config = config.with_parts_of(run.normalisation.variations, run.description.variations)
        made, made_of = templates.from_results(run, config), run.normalisation.scaled
        others = elsewhere(run, made, config, observed)
        own = {**config.own_binnings(made.regions), **others.binnings}
        fraction = config.luminosity_fraction
        known = {} if fraction == "free" else run.normalisation.luminosity
        luminosity = {channel: float(fraction) * value for channel, value in known.items()}
        caption = FitCaption.of(run, config.binning, observed, own)
    name = str(source) if isinstance(source, Path) else "scaled histograms"
    if not allow_incomplete:
        made.require_complete(name)
    built = workspace.build(made, config, observed)
    return Model(
        built._replace(notes=[*built.notes, *others.notes]),
        caption._replace(overflow=config.overflow),
        made.cross_section_pb,
        name,
        caption.observed.lower(),
        config.processes,
        made_of,
        luminosity,
        config.ways(made.regions),
        others.specs,
    )


def _model_of_workspace(source: Path, config: InferenceConfig) -> Model:
    from analysis.inference import tables, workspace
    from analysis.plotting.captions import FitCaption

    built = workspace.Built(workspace.load(source), [])
    before = tables.beside(source, built.spec)
    if before is None:
        caption, luminosity = FitCaption.of_file(source.name), {}
        reference = config.reference_pb(None, source.name)
    else:
        caption = FitCaption.of_file(source.name, before.binning, binnings=before.binnings)
        caption, luminosity = caption._replace(overflow=before.overflow), before.luminosity_ipb
        reference = config.signal_cross_section_pb or before.cross_section.reference
    return Model(
        built, caption, reference, str(source), "workspace", None, luminosity_ipb=luminosity
    )  # fmt: skip


def measure(
    model: Model, *, force: bool = False, with_ranking: bool = True, toys: Toys | None = None
) -> Measurement:
    """Fit a model. Raises FitError for a fit without a result, WorkspaceError for a wrong model."""
    from analysis.inference import measurement

    return measurement.measure(
        model.built.spec,
        cross_section_pb=model.reference_pb,
        source=model.source,
        observed=model.observed,
        notes=model.built.notes,
        processes=model.processes,
        binning=model.caption.binning,
        binnings=model.caption.binnings,
        overflow=model.caption.overflow,
        luminosity_ipb=model.luminosity_ipb,
        force=force,
        with_ranking=with_ranking,
        toys=toys,
        ways=model.ways,
        elsewhere=model.elsewhere,
    )


def fit(
    source: Path,
    output: Path | None = None,
    config: InferenceConfig | None = None,
    observed: Observed | None = None,
    *,
    force: bool = False,
    with_ranking: bool = True,
    allow_incomplete: bool = False,
    toys: Toys | None = None,
) -> tuple[Measurement, list[Path]]:
    """Fit a results folder, file of histograms or workspace; write the measurement and draw it.

    Where no `config` is given it is that of `usual_model`. Return the measurement and the files of figures. The results go to `output`, by default the results
    folder. Raises WorkspaceError for templates that make no model, FitError for a fit without a result.
    """
    from analysis.common.files import writable_folder, write_json
    from analysis.common.folders import WORKSPACE
    from analysis.inference import tables
    from analysis.plotting.fit import make_figures

    folder = writable_folder(source if output is None else output)
    model = model_of(source, config, observed, allow_incomplete=allow_incomplete)
    write_json(folder / WORKSPACE, model.built.spec)
    measurement = measure(model, force=force, with_ranking=with_ranking, toys=toys)
    tables.write(measurement, folder, model.made_of)
    figures = make_figures(measurement, model.built.spec, model.caption, folder / results.FIGURES)
    return measurement, figures


def report(folder: Path) -> Path:
    """Write the page that shows a run; return its file."""
    from analysis.report.page import write

    return write(folder)


class Choices(NamedTuple):
    """What a user chooses for the stages after processing."""

    model: InferenceConfig
    allow_incomplete: bool = False
    """Fit a run that lacks datasets or events."""


class Stage(NamedTuple):
    """A stage after processing."""

    command: str
    result: str
    """What it gives, in words."""
    doing: str
    """What is said when it begins."""
    run: Callable[[Path, Choices], Any]
    obstacle: Callable[[Normalised, InferenceConfig], str]
    """Why a run has no such result, known from what it is; empty if it can have one."""


class Ended(NamedTuple):
    """A stage without a result, and why."""

    stage: Stage
    reason: str
    failed: bool
    """False for a stage that the run cannot have."""


def _never(normalised: Normalised, model: InferenceConfig) -> str:  # noqa: ARG001
    return ""


def _no_top_peak(normalised: Normalised, model: InferenceConfig) -> str:  # noqa: ARG001
    from analysis.postprocess import feasible
    from analysis.postprocess.top_peak import REGION

    if REGION not in normalised.regions:
        return f"the run has no region {REGION!r}"
    return feasible.obstacles(normalised.config).get(feasible.TOP_PEAK, "")


def _no_multijet(normalised: Normalised, model: InferenceConfig) -> str:  # noqa: ARG001
    from analysis.postprocess import feasible

    if reason := feasible.obstacles(normalised.config).get(feasible.MULTIJET, ""):
        return reason
    try:
        normalisation.plane_of(normalised)
    except AnalysisError as error:
        return str(error)
    return "" if DATA in normalised.labels else "the run has no data"


def _no_fit(normalised: Normalised, model: InferenceConfig) -> str:
    from analysis.inference.config import ALTERNATIVES

    missing = [name for name in model.regions if name not in normalised.regions]
    if missing:
        return f"the run has no region {missing[0]!r}, which the model has"
    variations = normalised.normalisation.variations
    if model.observed == "data" and DATA not in normalised.labels:
        return "the run has no data"
    if model.observed == "pseudodata":
        for name in set(ALTERNATIVES) - set(variations.get(model.signal, [])):
            return f"the run has no {model.signal} {name}, which pseudo-data are made of"
    absent = [name for name in model.processes if NOMINAL not in variations.get(name, [])]
    if absent:
        return f"the run has no nominal {absent[0]}, which the model needs"
    return ""


AFTER_PROCESSING = (
    Stage(
        "plot",
        "figures",
        "drawing the regions, their variations, control plots",
        lambda folder, _: plot(folder),
        _never,
    ),
    Stage(
        "toppeak",
        "top peak",
        "fitting the top peak",
        lambda folder, _: top_peak(folder),
        _no_top_peak,
    ),
    Stage(
        "abcd",
        "multijet estimate",
        "estimating the multijet background",
        lambda folder, _: abcd(folder),
        _no_multijet,
    ),
    Stage(
        "fit",
        "cross section",
        "fitting the cross section",
        lambda folder, chosen: fit(
            folder, config=chosen.model, allow_incomplete=chosen.allow_incomplete
        ),
        _no_fit,
    ),
    Stage("report", "report", "writing the report", lambda folder, _: report(folder), _never),
)


def run_all(folder: Path, choices: Choices) -> list[Ended]:
    """Do every stage after processing; return those that ended without a result."""
    normalised = results.load_normalised(folder)
    ended = []
    for stage in AFTER_PROCESSING:
        if reason := stage.obstacle(normalised, choices.model):
            ended.append(Ended(stage, reason, failed=False))
            continue
        logger.info("%s ...", stage.doing)
        try:
            stage.run(folder, choices)
        except AnalysisError as error:
            ended.append(Ended(stage, str(error), failed=True))
    return ended


def require_all(folder: Path, ended: Sequence[Ended]) -> None:
    """Raise StageError, with the command to try, if a stage failed."""
    failed = [
        f"no {end.stage.result}: {end.reason} (try: run.py {end.stage.command} {folder})"
        for end in ended
        if end.failed
    ]
    if failed:
        raise StageError("; ".join(failed))
