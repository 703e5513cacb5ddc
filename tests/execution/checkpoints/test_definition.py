"""What defines a value: equal for equal values and code in any process, another one for any change."""

from __future__ import annotations

import functools
import subprocess
import sys
import textwrap
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.config import AnalysisConfig
from analysis.execution.checkpoints.definition import definition, parts
from analysis.selection.kernels import leading_pt

BASE = """
import functools
import numpy as np
from dataclasses import dataclass

CUT = 60

def helper(x, factor=2):
    return factor * x

def second(x):
    return helper(x) + 1

def bound(low, high=None):
    return lambda s: (s.pt > low) & (high is None or s.pt < high)

@dataclass(frozen=True)
class Region:
    name: str
    where: object

class Processor:
    bins = [1, 2]
    def process(self, events):
        return second(events) > CUT

def even(n):
    return n == 0 or odd(n - 1)

def odd(n):
    return n != 0 and even(n - 1)

VALUE = lambda s: s.met.pt > 60
"""

CHANGES = {
    "a constant": ("lambda s: s.met.pt > 60", "lambda s: s.met.pt > 61"),
    "a type of a constant": ("lambda s: s.met.pt > 60", "lambda s: s.met.pt > 60.0"),
    "an attribute": ("lambda s: s.met.pt > 60", "lambda s: s.met.phi > 60"),
    "an operator": ("lambda s: s.met.pt > 60", "lambda s: s.met.pt >= 60"),
    "a global": ("lambda s: s.met.pt > 60", "lambda s: s.met.pt > CUT", "CUT = 60", "CUT = 70"),
    "a closure": ("lambda s: s.met.pt > 60", "bound(30)", "bound(30)", "bound(40)"),
    "an argument": ("lambda s: s.met.pt > 60", "bound(30)", "bound(30)", "bound(30, 50)"),
    "a default": ("lambda s: s.met.pt > 60", "helper", "factor=2", "factor=3"),
    "a helper": ("lambda s: s.met.pt > 60", "lambda s: second(s.pt)", "factor * x", "factor + x"),
    "a helper's default": ("lambda s: s.met.pt > 60", "second", "factor=2", "factor=3"),
    "a function within": (
        "lambda s: s.met.pt > 60", "lambda s: [helper(x) for x in s]", "factor * x", "factor - x",
    ),
    "a partial": (
        "lambda s: s.met.pt > 60", "functools.partial(helper, factor=3)", "factor=3", "factor=4",
    ),
    "a part of an object": (
        "lambda s: s.met.pt > 60", "Region('a', lambda s: s.ht > 5)", "s.ht > 5", "s.ht > 6",
    ),
    "a method's helper": ("lambda s: s.met.pt > 60", "Processor", "factor * x", "factor + x"),
    "a member": ("lambda s: s.met.pt > 60", "Processor()", "bins = [1, 2]", "bins = [2, 1]"),
    "one of two that call each other": (
        "lambda s: s.met.pt > 60", "even", "return n != 0", "return n > 0",
    ),
    "an array": (
        "lambda s: s.met.pt > 60", "np.array([1.0, 2.0])", "[1.0, 2.0]", "[1.0, 2.5]",
    ),
}  # fmt: skip


def made(text: str, name: str = "__main__", key: str = "VALUE") -> Any:
    """The value of a cell with this text."""
    names: dict[str, Any] = {"__name__": name}
    exec(compile(text, f"cell of {len(text)}", "exec"), names)  # noqa: S102
    return names[key]


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_is_seen_and_nothing_else(change: str) -> None:
    first, *more = CHANGES[change]
    if len(more) == 1:
        before, after = BASE, BASE.replace(first, more[0])
    else:
        before = BASE.replace(first, more[0])
        after = before.replace(more[1], more[2])
    assert before != after
    moved = "\n\n# the same, further down\n" + before + "\nUNUSED = 1\n"
    assert definition(made(before)).digest == definition(made(moved)).digest
    assert definition(made(before)).digest != definition(made(after)).digest


def test_another_process_finds_the_same() -> None:
    """With another seed of hashes, so that sets come in another order."""
    text = BASE.replace("s.met.pt > 60", "s.met in {'a', 'b', 'c', 'd'} and second(s) in {1, 2, 3}")
    program = f"""
        from tests.execution.checkpoints.test_definition import definition, made
        print(definition([made({text!r}), {{'x', 'y', 'z'}}]).digest)
    """
    here = definition([made(text), {"x", "y", "z"}]).digest
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[3])},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == here


def test_a_users_module_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a function uses of it, by any way of importing, and nothing else of it."""
    monkeypatch.syspath_prepend(tmp_path)
    found = {}
    for name, used, other in (("cuts_one", 1, 5), ("cuts_two", 2, 5), ("cuts_three", 1, 6)):
        (tmp_path / f"{name}.py").write_text(
            f"MET = {used}\ndef met():\n    return MET\nX = {other}\n"
        )
        by_module = made(f"import {name} as cuts\nVALUE = lambda s: s.pt > cuts.met()")
        by_name = made(f"from {name} import met\nVALUE = lambda s: s.pt > met()")
        found[name] = definition(by_name).digest
        assert name in definition(by_module).modules
    assert found["cuts_one"] == found["cuts_three"] != found["cuts_two"]


def test_what_is_installed_or_of_this_project_is_known_by_its_name() -> None:
    assert "analysis.selection.kernels" in definition(leading_pt).modules
    assert definition(np.hypot).digest == definition(np.hypot).digest
    assert definition(np.hypot).digest != definition(np.arctan2).digest
    assert definition(functools.reduce) == definition(functools.reduce)


def test_a_configuration_is_its_values() -> None:
    """However it was made: from defaults or explicitly."""
    default, explicit = AnalysisConfig(), AnalysisConfig.model_validate({"jet": {"min_pt": 30}})
    other = AnalysisConfig.model_validate({"jet": {"min_pt": 31}})
    assert definition(default).digest == definition(explicit).digest
    assert definition(default).digest != definition(other).digest


def test_what_has_no_content_is_refused() -> None:
    lock = threading.Lock()
    with Path(__file__).open() as file:
        for value in (lock, file, lambda s: (s, lock), [{"a": (n for n in "ab")}]):
            with pytest.raises(TypeError, match="pickle"):
                definition(value)


@dataclass
class Named:
    name: str


def test_parts_have_words() -> None:
    values = {"regions": [Named("4j2b"), Named("sr")], "cuts": {"met": 1}, "n": 3, "empty": ()}
    found = dict(parts(values))
    assert list(found) == ["region '4j2b'", "region 'sr'", "cut 'met'", "n", "empty"]
    assert found["region 'sr'"] == Named("sr")
