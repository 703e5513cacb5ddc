"""The ttbar lepton+jets analysis of CMS Open Data 2015.

The names of `__all__` are what notebooks and scripts need; each is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.config import AnalysisConfig, Binning, Correction
    from analysis.datasets.bundled import REAL_DATA, SAMPLE
    from analysis.datasets.catalogue import Catalogue
    from analysis.execution.settings import Execution, Limits
    from analysis.inference.config import InferenceConfig
    from analysis.interactive import fit, normalise, run
    from analysis.postprocess.normalisation import Scaling
    from analysis.presets.lesson import CHANNELS, REGIONS, SHIFTS
    from analysis.processor import TtbarAnalysis
    from analysis.selection.channels import Channel
    from analysis.selection.control_plots import Control
    from analysis.selection.regions import Region
    from analysis.selection.variations import Shift, Weight

__version__ = "0.1.0"

_MODULES = {
    "AnalysisConfig": "config",
    "Binning": "config",
    "CHANNELS": "presets.lesson",
    "Catalogue": "datasets.catalogue",
    "Channel": "selection.channels",
    "Control": "selection.control_plots",
    "Correction": "config",
    "Execution": "execution.settings",
    "InferenceConfig": "inference.config",
    "Limits": "execution.settings",
    "REAL_DATA": "datasets.bundled",
    "REGIONS": "presets.lesson",
    "Region": "selection.regions",
    "SAMPLE": "datasets.bundled",
    "SHIFTS": "presets.lesson",
    "Scaling": "postprocess.normalisation",
    "Shift": "selection.variations",
    "TtbarAnalysis": "processor",
    "Weight": "selection.variations",
    "fit": "interactive",
    "normalise": "interactive",
    "run": "interactive",
}
"""Public name -> the module that has it."""

__all__ = [  # noqa: RUF022 - as in `_MODULES`, which a test compares
    "AnalysisConfig", "Binning", "CHANNELS", "Catalogue", "Channel", "Control", "Correction", "Execution",
    "InferenceConfig", "Limits", "REAL_DATA", "REGIONS", "Region", "SAMPLE", "SHIFTS", "Scaling", "Shift", "TtbarAnalysis",
    "Weight", "fit", "normalise", "run",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        msg = f"module 'analysis' has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(importlib.import_module(f"analysis.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
