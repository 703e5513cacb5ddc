"""What a notebook or script calls: run an analysis, scale its histograms, fit the cross section."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from coffea.processor import ProcessorABC

from analysis import stages
from analysis.common.errors import ConfigError
from analysis.datasets.catalogue import Catalogue
from analysis.execution import runner
from analysis.execution.runner import Result
from analysis.execution.settings import Execution, Limits
from analysis.histograms import flatten
from analysis.postprocess import normalisation
from analysis.postprocess.normalisation import Normalised, Scaling
from analysis.processor import TtbarAnalysis

if TYPE_CHECKING:
    from analysis.inference.config import InferenceConfig, Observed
    from analysis.inference.measurement import Measurement


def run(
    analysis: ProcessorABC,
    catalogue: Catalogue,
    *,
    executor: str = "iterative",
    workers: int = 1,
    execution: Execution | None = None,
    limits: Limits | None = None,
    output: Path | str | None = None,
    resume: bool = False,
) -> Result:
    """Process a catalogue: return the histograms with the ledger of what was read.

    `execution` takes the place of `executor` and `workers`. With `output` they are also written into
    that results folder, which every command reads; `resume` goes on with a run that was stopped there.
    Raises ConfigError for an analysis or setting that cannot be run, CatalogueError for a catalogue.
    """
    where = execution or Execution(executor, workers)
    if output is None:
        return runner.run(analysis, catalogue, execution=where, limits=limits)
    if not isinstance(analysis, TtbarAnalysis):
        msg = f"output={str(output)!r}: a results folder is of a TtbarAnalysis, got {type(analysis).__name__}"
        raise ConfigError(msg)
    return stages.process(
        analysis, catalogue, Path(output), execution=where, limits=limits, resume=resume
    )


def normalise(source: Result | Path | str, scaling: Scaling | None = None) -> Normalised:
    """Scale simulation to the data: of a result, or of a results folder, where it is written too.

    Raises NormalisationError where something is needed and not known, IncompleteError for a run that is
    not complete.
    """
    if isinstance(source, Path | str):
        return stages.normalise(Path(source), scaling)
    return normalisation.normalised(flatten(source.output), source.ledger, scaling or Scaling())


def fit(
    source: Normalised | Path | str,
    model: InferenceConfig | None = None,
    *,
    observed: Observed | None = None,
    with_ranking: bool = True,
    allow_incomplete: bool = False,
) -> Measurement:
    """Fit the cross section to scaled histograms, a results folder, a file of histograms or a workspace.

    `model`, and what is `observed`, are those of the run's preset unless given. Raises WorkspaceError for templates that make no model, FitError for a fit without a result.
    """
    found = Path(source) if isinstance(source, str) else source
    made = stages.model_of(found, model, observed, allow_incomplete=allow_incomplete)
    return stages.measure(made, with_ranking=with_ranking)
