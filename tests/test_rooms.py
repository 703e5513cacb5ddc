"""The rooms of the house: what each may import. Arrows point down, to rooms that stand above in the table."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

from tests.conftest import PROJECT

_ANY = "common config"
_DATA = f"{_ANY} datasets histograms"

ROOMS = {
    "schemas": "",
    "common": "",
    "config": "common",
    "datasets": f"{_ANY} schemas",
    "histograms": f"{_ANY} datasets",
    "selection": f"{_DATA} schemas",
    "presets": f"{_DATA} selection",
    "execution": f"{_ANY} datasets schemas",
    "processor": f"{_DATA} selection presets execution schemas",
    "postprocess": f"{_DATA} selection execution",
    "dimuon": f"{_DATA} execution postprocess schemas",
    "results": f"{_DATA} execution postprocess dimuon selection",
    "inference": f"{_DATA} selection presets postprocess results",
    "plotting": f"{_DATA} selection presets execution postprocess dimuon inference results",
    "report": f"{_DATA} selection execution postprocess dimuon results inference plotting",
    "skim": f"{_DATA} execution processor results schemas",
    "simulation": f"{_DATA} postprocess",
    "stages": f"{_DATA} selection presets execution processor postprocess dimuon results inference "
    "plotting report skim",
    "interactive": f"{_DATA} execution processor postprocess inference stages",
    "cli": f"{_DATA} execution presets processor postprocess dimuon results inference plotting report "
    "skim simulation stages",
}
"""Room -> rooms that it may import, also within functions and for types. The package's own face,
`analysis/__init__.py`, names what is in all of them, and nothing but its version is read from it."""

SOURCES = {
    ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("analysis", "schemas")
    for path in sorted((PROJECT / package).rglob("*.py"))
    if path.relative_to(PROJECT).parts not in (("analysis", "__init__.py"), ("analysis", "__main__.py"))
}  # fmt: skip
"""Module -> its file."""


def room(module: str) -> str:
    """`datasets` of `analysis.datasets.catalogue`; a package of the top level is one room."""
    package, *inner = module.split(".")
    return inner[0] if package == "analysis" and inner else package


def imported(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Modules of this project that the statements import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in SOURCES)
        elif isinstance(node, ast.ImportFrom):
            named = {f"{node.module}.{alias.name}" for alias in node.names} & SOURCES.keys()
            yield from named
            if node.module in SOURCES and len(named) < len(node.names):
                yield node.module


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_the_table_has_every_room() -> None:
    assert {room(module) for module in SOURCES} == ROOMS.keys()


def test_arrows_of_the_table_point_down() -> None:
    order = list(ROOMS)
    for name, allowed in ROOMS.items():
        for below in allowed.split():
            assert order.index(below) < order.index(name), f"{name} -> {below}"


def test_a_room_imports_what_it_may() -> None:
    wrong = {
        f"{module} -> {other}"
        for module, path in SOURCES.items()
        for other in imported(ast.walk(tree(path)))
        if room(other) not in (room(module), *ROOMS[room(module)].split())
    }
    assert not wrong, "\n".join(sorted(wrong))


def test_no_circle_of_modules() -> None:
    """Of imports on the first level; a CycleError names the modules of one."""
    graph = {module: {*imported(tree(path).body)} - {module} for module, path in SOURCES.items()}
    assert len(list(TopologicalSorter(graph).static_order())) == len(SOURCES)
