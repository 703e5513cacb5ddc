"""Find cuts of later stages that are no edges of the axes that a run fills, before the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hist
from hist import Hist

from analysis.common.errors import AnalysisError, SidebandError
from analysis.config import AnalysisConfig, TopPeak
from analysis.histograms import book_observable, book_plane
from analysis.postprocess.abcd.multijet import require_edges
from analysis.postprocess.windows import Window, bins_in

TOP_PEAK = "top_peak"
MULTIJET = "multijet"
WORDS = {TOP_PEAK: "top peak", MULTIJET: "multijet estimate"}


def obstacles(config: AnalysisConfig) -> dict[str, str]:
    """Map `top_peak` and `multijet` to why there can be no such result with this configuration."""
    checks: dict[str, Callable[[], None]] = {TOP_PEAK: lambda: _top_peak(config)}
    if config.multijet.enabled:
        checks[MULTIJET] = lambda: _multijet(config)
    found = {}
    for name, check in checks.items():
        try:
            check()
        except AnalysisError as error:
            found[name] = str(error)
    return found


def require_windows(axis: Any, settings: TopPeak) -> None:
    """Raise SidebandError if the settings cut a bin of the observable's axis, or leave it."""
    empty = Hist(axis, storage=hist.storage.Weight())
    for name, window in (("fit_range", settings.fit_range), ("window", settings.window)):
        try:
            bins_in(empty, Window(*window))
        except SidebandError as error:
            msg = f"top_peak.{name} has to be on edges of the bins of [observable]: {error}"
            raise SidebandError(msg) from error


def _top_peak(config: AnalysisConfig) -> None:
    booked = book_observable(config.observable, [""], "", [""], [""])
    require_windows(booked.axes["observable"], config.top_peak)


def _multijet(config: AnalysisConfig) -> None:
    axes = config.multijet
    plane = book_plane(axes.isolation, axes.transverse_mass, [""], "", "")
    require_edges(plane[{"region": 0, "channel": 0, "process": 0}], config)
