"""Provenance of a chunk's output besides the file: configuration, code, versions."""

from __future__ import annotations

import ast
import importlib.util
import re
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from analysis.common.errors import ConfigError
from analysis.common.files import short_digest
from analysis.common.strict import Strict
from analysis.datasets.read_errors import describe
from analysis.execution.checkpoints.definition import definition, parts
from analysis.execution.code import INSTALLED, is_own, top
from analysis.execution.processor import CatalogueProcessor
from analysis.execution.workers.shipping import versions

_AROUND_THE_PROCESSOR = "analysis.execution.checked"

_NOT_SELECTING = re.compile(r"analysis\.(execution|datasets(?!\.sample))\b")
"""Modules that find, open and account for files, and select no event."""
_STDLIB = Path(sysconfig.get_path("stdlib"))


class Provenance(Strict):
    """Two runs with the same provenance give the same output of the same chunk."""

    processor: str
    parts: dict[str, str]
    """Part of the processor, in words -> digest of its values and code."""
    code: dict[str, str]
    """Module -> digest of its source, for all that processor and schema import of their packages."""
    versions: dict[str, str]

    @property
    def digest(self) -> str:
        return short_digest(self.model_dump_json())

    def differences(self, other: Provenance) -> list[str]:
        """Say in words what differs; empty if nothing does."""
        if self.processor != other.processor:
            return [f"another processor ({other.processor})"]
        found = []
        if parts := _differing(self.parts, other.parts):
            found.append(f"another {_listed(parts)}")
        if code := other_code(self.code, other.code):
            found.append(code)
        if packages := _differing(self.versions, other.versions):
            changes = (f"{name} {other.versions.get(name, 'none')}" for name in packages)
            found.append(f"other versions ({', '.join(changes)})")
        return found


def provenance(processor: CatalogueProcessor, schema: type[Any]) -> Provenance:
    """Say what the outputs of `processor` for events of `schema` depend on.

    Raises ConfigError, naming the part, for what has no content that could be told.
    """
    kind = type(processor)
    digests: dict[str, str] = {}
    used: set[str] = set()
    for words, part in [("processor", kind), ("schema", schema), *parts(processor.parts())]:
        try:
            digests[words], modules_of_part = definition(part)
        except Exception as error:
            msg = f"{words} cannot be saved or sent to workers: {describe(error)}"
            raise ConfigError(msg) from error
        used |= modules_of_part
    return Provenance(
        processor=f"{kind.__module__}.{kind.__qualname__}",
        parts={words.replace("config", "configuration"): d for words, d in digests.items()},
        code=_code(kind, schema, used),
        versions=versions(),
    )


def selecting_code(kind: type[CatalogueProcessor], schema: type[Any]) -> dict[str, str]:
    """Return the digests of the sources that decide which events are selected, by module."""
    code = _code(kind, schema)
    return {name: digest for name, digest in code.items() if not _NOT_SELECTING.match(name)}


def _code(kind: type[Any], schema: type[Any], used: Iterable[str] = ()) -> dict[str, str]:
    classes = {base.__module__ for base in (*kind.__mro__, *schema.__mro__)}
    names = filter(_is_ours, [_AROUND_THE_PROCESSOR, *classes, *used])
    return {name: short_digest(path.read_bytes()) for name, path in modules(names).items()}


def modules(names: Iterable[str]) -> dict[str, Path]:
    """Return the modules and all that they import, directly or not, from their own packages and
    from beside these, unless it was installed.
    """
    waiting = list(names)
    packages = set(map(top, waiting))
    folders = {folder for package in packages if (folder := _folder(package)) is not None}
    is_here = cache(lambda package: package in packages or _folder(package) in folders)
    found: dict[str, Path] = {}
    while waiting:
        name = waiting.pop()
        path = _source(name)
        if name in found or path is None:
            continue
        found[name] = path
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        imported = _imported(path.read_bytes(), package)
        waiting += [other for other in imported if is_here(top(other))]
        if "." in name:
            waiting.append(name.rpartition(".")[0])
    return dict(sorted(found.items()))


def _is_ours(module: str) -> bool:
    """Whether the module is of this package, or one of somebody's own."""
    return is_own(module) or _folder(top(module)) is not None


def _folder(package: str) -> Path | None:
    """Where a package or module of the top level stands; None if it was installed or has no source."""
    path = _source(package)
    if path is None or not INSTALLED.isdisjoint(path.parts) or _STDLIB in path.parents:
        return None
    return path.parents[1] if path.name == "__init__.py" else path.parent


def _source(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        # Of a class or function `find_spec` says that the module before it is no package.
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


@cache  # A notebook runs again and again with the same code.
def _imported(source: bytes, package: str) -> tuple[str, ...]:
    """Return names in import statements that may be modules, also within functions."""
    names: list[str] = []
    for node in _executed(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = importlib.util.resolve_name("." * node.level + base, package)
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(names)


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a module, without what is there for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        checked = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        if not checked:
            yield node
            yield from _executed(node)


def other_code(one: Mapping[str, str], other: Mapping[str, str]) -> str:
    """Name the modules that differ; empty if none does."""
    names = _differing(one, other)
    return f"other code ({_listed(names)})" if names else ""


def _listed(names: list[str]) -> str:
    """The first names, and how many there are besides."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
