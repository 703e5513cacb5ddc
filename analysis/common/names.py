"""What things may be called, and how any text is brought to where it is read.

Workspaces, files and labels of others have names of any characters; a text is changed only where a
file, a figure or a table could not show it as it is.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from analysis.common.files import short_digest

RESERVED = ("all", "observed", "prediction", "total")
"""Words that tables and cutflows use for sums."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_NO_FILE = re.compile(r"[^A-Za-z0-9_.-]+")
_LONGEST_FILE = 120

# What Markdown would take for emphasis, code, a link, HTML or a formula; `_` within a word is none.
_MARKDOWN = re.compile(
    r"[\\`*|$~]|(?<![A-Za-z0-9_])_+|_+(?![A-Za-z0-9_])|\](?=[(\[])|<(?=[A-Za-z/!?])|&(?=[#A-Za-z])"
)
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%",
    "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "±": r"$\pm$", "≥": r"$\geq$", "≤": r"$\leq$",
    "σ": r"$\sigma$", "μ": r"$\mu$", "Δ": r"$\Delta$", "θ": r"$\theta$", "χ²": r"$\chi^2$",
    "tt̄": r"$t\bar{t}$", "→": r"$\to$", "−": "$-$",
}  # fmt: skip
_OF_LATEX = re.compile("|".join(map(re.escape, sorted(_LATEX, key=len, reverse=True))))


def name_fault(name: str) -> str | None:
    """Say why a process, variation, region, channel or dataset may not be called so; None if it may."""
    if not _NAME.fullmatch(name):
        return (
            "a name has letters, digits, '_', '-' and '.' only, a letter or digit first, and at "
            "most 100 characters"
        )
    if name.casefold() in RESERVED:
        return f"a name is none of {', '.join(map(repr, RESERVED))}, which tables use for sums"
    return None


def file_names(names: Iterable[Sequence[str]]) -> list[str]:
    """Name a file, without folder and suffix, for each name of one or more parts, in their order.

    Two different names never have the same file, also on disks that do not tell upper from lower
    case: those that would, and those that are too long, end with a digest.
    """
    every = [tuple(parts) for parts in names]
    plain = [_NO_FILE.sub("_", "_".join(parts)).strip("_.") for parts in every]
    users = Counter(name.casefold() for name, _ in set(zip(plain, every, strict=True)))
    return [
        name
        if name and users[name.casefold()] == 1 and len(name) <= _LONGEST_FILE
        else f"{name[:_LONGEST_FILE]}-{short_digest(repr(parts))}"
        for name, parts in zip(plain, every, strict=True)
    ]


def one_or_more(names: str | Iterable[str]) -> tuple[str, ...]:
    """Return the names: a word is one, not its letters."""
    return (names,) if isinstance(names, str) else tuple(names)


def source(variation: str) -> str:
    """Name a variation without its direction: `pt_scale` for `pt_scale_up`."""
    return variation.removesuffix("up").removesuffix("down").rstrip("_") or variation


def direction(variation: str) -> str:
    """Return `up`, `down`, or nothing for a variation without another side."""
    return next((word for word in ("up", "down") if variation.endswith(word)), "")


def is_text(name: str) -> bool:
    """Whether a name is text, not bytes that are no UTF-8."""
    return name.encode(errors="ignore").decode() == name


def visible(text: str) -> str:
    """Write a text in one line: a space for line ends and tabs, `\\x1b` for a control character."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible, text))


def _visible(character: str) -> str:
    if character.isspace():
        return " "
    hidden = unicodedata.category(character) in ("Cc", "Cs")
    return character.encode("unicode_escape").decode() if hidden else character


def figure_text(text: str) -> str:
    """Write a text for Matplotlib, which would set what is between `$` as a formula."""
    return visible(text).replace("$", r"\$")


def markdown_text(text: str) -> str:
    """Write a text for a line or a table's cell of Markdown."""
    return _MARKDOWN.sub(lambda match: "\\" + "\\".join(match[0]), visible(text))


def latex_text(text: str) -> str:
    """Write a text for LaTeX."""
    return _OF_LATEX.sub(lambda match: _LATEX[match[0]], visible(text))


def public(text: str) -> str:
    """Leave out the folders of a machine: of `/home/me/data/a.root` the page says `a.root`."""
    return re.sub(r"(?<![\w:/.])/(?:[^\s/:=,'\"]+/)+(?=[^\s/])", "", text)
