"""What a results folder holds, stage by stage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from analysis import results
from analysis.common.errors import OutputError
from analysis.common.names import public
from analysis.config import AnalysisConfig
from analysis.dimuon.resonances import PeakReport
from analysis.execution.ledger import Ledger
from analysis.inference import tables as fit_tables
from analysis.inference.measurement import Measurement
from analysis.postprocess.abcd.multijet import RegionEstimate
from analysis.postprocess.feasible import WORDS, obstacles
from analysis.postprocess.normalisation import Normalised, run_config
from analysis.postprocess.top_peak import TopPeakResult
from analysis.selection.description import Description, RegionInfo, described

_T = TypeVar("_T")


class Run(NamedTuple):
    """A run and its later stages; a stage that is not there is None, and `missing` says why."""

    folder: Path
    ledger: Ledger
    cutflow: dict[str, Any] | None
    normalised: Normalised | None
    top_peak: TopPeakResult | None
    multijet: dict[str, RegionEstimate] | None
    dimuon: PeakReport | None
    """A peak in the dimuon mass of other events, if it was estimated into this folder."""
    measurement: Measurement | None
    missing: dict[str, str]
    """Name of a field -> the reason in a sentence, which names the command that makes it."""

    @property
    def labels(self) -> dict[str, str]:
        """Process -> label for figures, in their order."""
        return self._described.labels

    @property
    def data_label(self) -> str:
        """What the data are called within a line."""
        return self._described.data_label

    @property
    def config(self) -> AnalysisConfig:
        """Raises OutputError if it is one of another version."""
        return run_config(self.ledger)

    @property
    def description(self) -> Description:
        """Names and labels of the analysis. Raises OutputError if the run is of another version."""
        return described(self.ledger.analysis)

    @property
    def regions(self) -> dict[str, RegionInfo]:
        """Region, also of a single channel -> how it is called."""
        return self.description.regions if self.normalised is None else self.normalised.region_infos

    @property
    def _described(self) -> Ledger:
        return self.ledger if self.normalised is None else self.normalised.ledger


def load(folder: Path) -> Run:
    """Read whatever a results folder has.

    Raises OutputError if it is none, that is, without a ledger.
    """
    missing: dict[str, str] = {}

    def attempt(name: str, read: Callable[[Path], _T]) -> _T | None:
        try:
            return read(folder)
        except OutputError as error:
            missing[name] = f"{public(str(error))}."
            return None

    run = Run(
        folder=folder,
        ledger=Ledger.load(folder),
        cutflow=attempt("cutflow", results.load_cutflow),
        normalised=attempt("normalised", results.load_normalised),
        top_peak=attempt("top_peak", results.load_top_peak),
        multijet=attempt("multijet", results.load_multijet),
        dimuon=_dimuon(folder),
        measurement=attempt("measurement", fit_tables.load),
        missing=missing,
    )
    missing |= _without_remedy(run)
    return run


def _without_remedy(run: Run) -> dict[str, str]:
    """Give the reasons of missing results: where the configuration allows none, no command makes them."""
    if not run.missing.keys() & WORDS.keys():
        return {}
    reasons = obstacles(run.config)
    return {
        name: f"No {WORDS[name]}: {reason}."
        for name, reason in reasons.items()
        if name in run.missing
    }


def _dimuon(folder: Path) -> PeakReport | None:
    """No stage of the run, so nothing is missing without it."""
    path = folder / results.SIDEBAND_FOLDER
    return results.load_peak(path) if (path / results.SIDEBAND).exists() else None
