"""What histograms in a ROOT file are called: `{region}_{process}` and `{region}_{process}_{variation}`."""

from __future__ import annotations

from collections.abc import Iterable

from analysis.datasets.processes import PROCESS_LABELS
from analysis.datasets.sample import NOMINAL
from analysis.inference.config import InferenceConfig
from analysis.presets.lesson import REGIONS

Key = tuple[str, str, str]
"""Region, process, variation."""

_SHOWN = 5
"""Names of a long list that are shown."""


def named(
    names: Iterable[str], config: InferenceConfig, processes: Iterable[str] = ()
) -> tuple[dict[str, Key], list[str]]:
    """Name of a histogram -> what it is of; and one line for what was guessed or left out.

    Regions are the package's and the model's; processes too, and the given ones. Another process is
    one that has a variation of the model.
    """
    known = {*processes, *PROCESS_LABELS, *config.named_processes}
    split = {
        name: _split(name, {*(region.name for region in REGIONS), *config.regions})
        for name in names
    }
    rests = {rest for _, rest in filter(None, split.values())}
    unknown = {rest for rest in rests if _begin(rest, known) is None}
    found = {p for p in unknown if any(f"{p}_{variation}" in rests for variation in config.varied)}
    keys: dict[str, Key] = {}
    for name, parts in split.items():
        process = parts and _begin(parts[1], known | found)
        if parts and process:
            variation = parts[1].removeprefix(process).removeprefix("_")
            keys[name] = parts[0], process, variation or NOMINAL
    notes = [
        f"{name}: taken for a process, as there are variations of it" for name in sorted(found)
    ]
    left = [name for name in split if name not in keys]
    if left:
        more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
        notes.append(
            f"histograms {', '.join(left[:_SHOWN])}{more}: left out, of no region or process that is "
            "known; 'regions' and 'processes' of a model name others"
        )
    return keys, notes


def _split(name: str, regions: Iterable[str]) -> tuple[str, str] | None:
    """Region, and the rest of the name."""
    region = _begin(name, regions)
    return None if region in (None, name) else (region, name[len(region) + 1 :])


def _begin(name: str, words: Iterable[str]) -> str | None:
    """The longest of the words that the name is or begins with, before a `_`."""
    found = [word for word in words if name == word or name.startswith(f"{word}_")]
    return max(found, key=len, default=None)
