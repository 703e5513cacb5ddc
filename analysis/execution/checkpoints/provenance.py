"""What the output of a chunk depends on besides the file: configuration, code, versions."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import pickle
import re
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from coffea.processor import ProcessorABC

from analysis.common.errors import ConfigError
from analysis.common.files import short_digest
from analysis.common.strict import Strict
from analysis.config import Configuration
from analysis.execution.workers.shipping import OWN, versions

_AROUND_THE_PROCESSOR = "analysis.execution.checked"

_NOT_SELECTING = re.compile(r"analysis\.(execution|datasets(?!\.sample))\b")
"""Modules that find, open and account for files, and select no event."""
_INSTALLED = {"site-packages", "dist-packages"}
_STDLIB = Path(sysconfig.get_path("stdlib"))


class Provenance(Strict):
    """Two runs with the same provenance give the same output of the same chunk."""

    processor: str
    config: str
    """Digest of the configuration and of what else the processor was made with."""
    code: dict[str, str]
    """Module -> digest of its source, for all that processor and schema import of their packages."""
    versions: dict[str, str]

    @property
    def digest(self) -> str:
        return short_digest(self.model_dump_json())

    def differences(self, other: Provenance) -> list[str]:
        """What is not the same, in words; empty if nothing."""
        if self.processor != other.processor:
            return [f"another processor ({other.processor})"]
        found = ["another configuration"] if self.config != other.config else []
        if code := other_code(self.code, other.code):
            found.append(code)
        if packages := _differing(self.versions, other.versions):
            changes = (f"{name} {other.versions.get(name, 'none')}" for name in packages)
            found.append(f"other versions ({', '.join(changes)})")
        return found


def provenance(processor: ProcessorABC, schema: type[Any]) -> Provenance:
    """Of the outputs of `processor` for events of `schema`.

    Raises ConfigError for code whose source cannot be found.
    """
    kind = type(processor)
    config = getattr(processor, "config", None)
    values = {name: _content(value) for name, value in vars(processor).items() if name != "config"}
    values["config"] = config.digest if isinstance(config, Configuration) else repr(config)
    return Provenance(
        processor=f"{kind.__module__}.{kind.__qualname__}",
        config=short_digest(repr(sorted(values.items()))),
        code=_code(kind, schema),
        versions=versions(),
    )


def selecting_code(kind: type[ProcessorABC], schema: type[Any]) -> dict[str, str]:
    """Module -> digest of its source, of those that say which events are selected."""
    code = _code(kind, schema)
    return {name: digest for name, digest in code.items() if not _NOT_SELECTING.match(name)}


def _content(value: Any) -> str:
    """All of a value: arrays and histograms show a part of theirs only."""
    try:
        return f"{value!r} {short_digest(pickle.dumps(value))}"
    except Exception:  # noqa: BLE001 - what cannot be pickled may raise anything
        return repr(value)


def _code(*kinds: type[Any]) -> dict[str, str]:
    digests = {}
    for kind in kinds:
        if _source(kind.__module__) is None:
            # Of a notebook, perhaps: its own text has to do.
            try:
                digests[f"{kind.__module__}.{kind.__qualname__}"] = short_digest(
                    inspect.getsource(kind)
                )
            except (OSError, TypeError) as error:
                msg = f"the source of {kind.__qualname__} is not known, so it cannot be resumed: "
                raise ConfigError(msg + "put it into a module") from error
    bases = [base.__module__ for kind in kinds for base in kind.__mro__ if _is_ours(base)]
    found = modules([_AROUND_THE_PROCESSOR, *(kind.__module__ for kind in kinds), *bases])
    return digests | {name: short_digest(path.read_bytes()) for name, path in found.items()}


def modules(names: Iterable[str]) -> dict[str, Path]:
    """The modules, and all that they import, directly or not, of the packages that they are of and of
    what stands beside these, unless it was installed.
    """
    waiting = list(names)
    packages = set(map(_top, waiting))
    folders = {folder for package in packages if (folder := _folder(package)) is not None}
    is_own = cache(lambda package: package in packages or _folder(package) in folders)
    found: dict[str, Path] = {}
    while waiting:
        name = waiting.pop()
        path = _source(name)
        if name in found or path is None:
            continue
        found[name] = path
        waiting += [other for other in _imported(name, path) if is_own(_top(other))]
        if "." in name:
            waiting.append(name.rpartition(".")[0])
    return dict(sorted(found.items()))


def _is_ours(kind: type[Any]) -> bool:
    """Whether the class is of this package, or of somebody's own modules."""
    package = _top(kind.__module__)
    return package in OWN or _folder(package) is not None


def _top(module: str) -> str:
    return module.partition(".")[0]


def _folder(package: str) -> Path | None:
    """Where a package or module of the top level stands; None if it was installed or has no source."""
    path = _source(package)
    if path is None or not _INSTALLED.isdisjoint(path.parts) or _STDLIB in path.parents:
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


def _imported(module: str, path: Path) -> Iterator[str]:
    """What may be a module in the import statements, those within functions too."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = importlib.util.resolve_name("." * node.level + base, package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def other_code(one: Mapping[str, str], other: Mapping[str, str]) -> str:
    """Which modules differ, in words; empty if none."""
    names = _differing(one, other)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"other code ({', '.join(names[:3])}{more})" if names else ""


def _differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
