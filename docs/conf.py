"""Sphinx configuration: `sphinx-build -W docs DIR`; a warning is an error."""

from __future__ import annotations

import re

from analysis import __version__

project = "ttbar-opendata"
author = "the authors of ttbar-opendata"
release = __version__

extensions = ["myst_parser", "sphinx.ext.apidoc", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

html_theme = "furo"
html_title = f"{project} {release}"

# A page for each package, made of the docstrings of its modules; nothing to keep up to date.
apidoc_modules = [
    {
        "path": f"../{package}",
        "destination": f"api/{package}",
        "exclude_patterns": ["**/cli"],
        "module_first": True,
        "automodule_options": {"members"},
    }
    for package in ("analysis", "schemas")
]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "undoc-members": False, "show-inheritance": False}
autodoc_class_signature = "separated"
# The generators are an extra that the pages need not have.
autodoc_mock_imports = ["pythia8mc", "fastjet"]
# Names such as `Scan` and `Dataset` are in two rooms; a type of a signature then has no link.
suppress_warnings = ["ref.python"]


def _to_rst(app, what, name, obj, options, lines):  # noqa: ARG001
    """Docstrings are plain text with `code`: what RST would take for its own is escaped."""
    for i, line in enumerate(lines):
        text = re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", line)
        text = re.sub(r"``(?=\w)(?<=\w``)", r"``\\ ", text)
        parts = re.split(r"(``.+?``)", text)
        parts[::2] = [re.sub(r"([*|]|_(?=\W|$))", r"\\\1", part) for part in parts[::2]]
        lines[i] = "".join(parts)


def setup(app):
    app.connect("autodoc-process-docstring", _to_rst)
