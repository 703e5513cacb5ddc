"""Names, and any text where it is read: nothing leaves its place, nothing is lost."""

from __future__ import annotations

from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from matplotlib.text import Text

from analysis.common.folders import MADE_OF
from analysis.common.names import (
    RESERVED,
    figure_text,
    file_names,
    latex_text,
    markdown_text,
    name_fault,
    public,
    visible,
)
from analysis.common.tables import latex, markdown

TEXTS = (
    "%", "#1", "$", "$x$", "$x_$", "_", "_a_", "__init__", "a_b", "^2", "{", "}", "{a}", "\\", "\\alpha", "\\n",
    "\\|", "|", "|eta|<1", "[red]w", "[/w]", "[a](b)", "![a](b)", "*a*", "`a`", "``", "~~a~~", "<b>", "a<b", "&amp;",
    "a & b", "100% checked", "tt̄ ± σ", "Z/γ*", "it's \"so\"", "fit_50%_{a}", "W → ℓν", "a  b", "- a", "# a", "1. a",
)  # fmt: skip
"""What Matplotlib, Markdown, LaTeX, HTML or a terminal takes for something else."""

_ANY = st.text(st.characters(codec="utf-8"), max_size=30)


@pytest.mark.parametrize("name", ["ttbar", "4j1b", "single_top_tW", "v1.2-b", "A" * 100])
def test_a_name(name: str) -> None:
    assert name_fault(name) is None


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "a b", "-a", "_a", "w|z", "[red]w", "Z/g*", "a\n", "é", "a;1",
     "A" * 101, *RESERVED, "Prediction", MADE_OF],
)  # fmt: skip
def test_no_name(name: str) -> None:
    assert str(name_fault(name)).startswith("a name ")


def test_a_file_is_named_as_what_it_shows() -> None:
    names = [("4j1b",), ("variations", "4j1b", "single_top_tW"), ("control", "n_jets")]
    assert file_names(names) == ["4j1b", "variations_4j1b_single_top_tW", "control_n_jets"]


@pytest.mark.parametrize(
    "names",
    [
        [("SR-1",), ("SR_1",)],
        [("SR 1",), ("SR_1",), ("SR/1",)],
        [("SR",), ("sr",)],
        [("a_b", "c"), ("a", "b_c")],
        [("a/b",), ("a", "b")],
        [("",), (".",), ("..",), ("é",), ("μ",)],
        [("x" * 300,), ("x" * 299,)],
        [("../../etc/passwd",), ("/etc/passwd",)],
    ],
    ids=str,
)
def test_different_names_have_different_files_in_the_folder(names: list[tuple[str, ...]]) -> None:
    files = file_names(names)
    assert len({file.casefold() for file in files}) == len(names)
    for file in files:
        assert file.strip("._") == file != ""
        assert "/" not in file
        assert len(file) < 200


@given(st.lists(st.tuples(_ANY, _ANY), unique=True, max_size=6))
def test_files_of_any_names(names: list[tuple[str, ...]]) -> None:
    files = file_names(names)
    assert len({file.casefold() for file in files}) == len(names)
    assert all(file.isascii() and file and "/" not in file for file in files)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\nb\tc\r", "a b c "), ("\x1b[31m", "\\x1b[31m"), ("\udce9", "\\udce9"), ("a\u2028b", "a b")],
)  # fmt: skip
def test_what_has_no_picture_is_shown_by_its_number(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_itself_in_one_line(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize("text", TEXTS)
def test_matplotlib_draws_the_text_itself(text: str) -> None:
    drawn, is_formula = Text(0, 0, figure_text(text))._preprocess_math(figure_text(text))
    assert (drawn, bool(is_formula)) == (text, False)


class _Words(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, _attributes: object) -> None:
        self.tags.add(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data.strip("\n")


def _table_says(text: str) -> None:
    page = MarkdownIt("gfm-like", {"linkify": False}).render(markdown([text, "n"], [[text, "1"]]))
    words = _Words(page)
    assert words.cells == [text, "n", text, "1"]
    assert words.tags == {"table", "thead", "tbody", "tr", "th", "td"}


@pytest.mark.parametrize("text", TEXTS)
def test_a_markdown_table_says_the_text_itself(text: str) -> None:
    _table_says(text)


@given(_ANY)
def test_a_markdown_table_says_any_text(text: str) -> None:
    """Also those that nobody thought of."""
    _table_says(" ".join(visible(text).split()) or "x")


def test_words_with_underscores_stay_readable_in_markdown() -> None:
    assert markdown_text("a__single_top_tW < 3 [1]") == "a__single_top_tW < 3 [1]"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("100% #1 a&b", r"100\% \#1 a\&b"),
        ("$x_$", r"\$x\_\$"),
        (r"\alpha^2~{a}", r"\textbackslash{}alpha\textasciicircum{}2\textasciitilde{}\{a\}"),
        ("χ² of σ(tt̄)", r"$\chi^2$ of $\sigma$($t\bar{t}$)"),
        ("<|>", r"\textless{}\textbar{}\textgreater{}"),
    ],
)
def test_latex_says_the_text_itself(text: str, written: str) -> None:
    assert latex_text(text) == written
    table = latex(text, [text, "n"], [[text, "1"]])
    assert table.count(written) == 3
    lines = table.splitlines()
    assert lines[0] == r"\begin{table}"
    assert lines[1] == rf"\caption{{{written}}}"
    assert lines[-1] == r"\end{table}"
    ends = [a for a, b in pairwise(lines) if b == r"\hline"]
    assert ends[-1].endswith(r"\\")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/home/me/data/ttbar__nominal/b.root", "b.root"),
        ("--output=/scratch/me/results", "--output=results"),
        (
            "/tmp/x/results has no measurement.json: run 'fit'",
            "results has no measurement.json: run 'fit'",
        ),
        (
            "root://eospublic.cern.ch//eos/opendata/a.root",
            "root://eospublic.cern.ch//eos/opendata/a.root",
        ),
        ("χ²/ndf = 1/2, 4 /pb", "χ²/ndf = 1/2, 4 /pb"),
        ("data/a.root", "data/a.root"),
    ],
)
def test_no_folder_of_a_machine_is_in_a_public_record(text: str, said: str) -> None:
    assert public(text) == said
