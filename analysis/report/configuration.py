"""What a run's configuration changes, as a table and as the TOML file that does it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from analysis.config import AnalysisConfig, flat


class Difference(NamedTuple):
    """A value that is not the default; None where there is none."""

    key: str
    """With its section: `jet.min_pt`."""
    value: Any
    default: Any


def differences(config: Mapping[str, Any]) -> list[Difference]:
    """What a dumped configuration has otherwise than the default, in the order of the default."""
    default = flat(AnalysisConfig().model_dump(mode="json"))
    given = flat(config)
    return [
        Difference(key, given.get(key), default.get(key))
        for key in {**default, **given}
        if given.get(key) != default.get(key)
    ]


def toml(changes: list[Difference]) -> str:
    """The configuration file that makes these changes."""
    sections: dict[str, list[str]] = {}
    for change in changes:
        section, _, name = change.key.rpartition(".")
        # A TOML number, string, truth value or list is written as in JSON.
        sections.setdefault(section, []).append(f"{name} = {json.dumps(change.value)}")
    return "\n".join("\n".join([f"[{section}]", *lines, ""]) for section, lines in sections.items())
