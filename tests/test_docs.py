"""What the documentation names is there; `sphinx-build -W` in `.ci/run` says the rest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from analysis import __version__
from tests.conftest import PROJECT

DOCS = PROJECT / "docs"
PAGES = sorted(DOCS.glob("*.md"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_links_and_names_of_a_page(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (DOCS / target).exists(), target
    for name in re.findall(r"`((?:analysis|tests|schemas|benchmarks)/[\w/]+(?:\.py|/))`", text):
        assert (PROJECT / name).exists(), name


def test_the_version_is_one() -> None:
    assert f"version: {__version__}\n" in (PROJECT / "CITATION.cff").read_text(encoding="utf-8")
