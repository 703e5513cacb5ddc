"""Tables in files and on terminals."""

from __future__ import annotations

import io
import sys

import pytest

from analysis.common.tables import markdown, measured, show

HEADER = ["process", "4j1b", "what was found"]
ROWS = [["ttbar", "1084.3 ± 12.1", "an excess of something"], ["[red]w", "10.0 ± 0.4", "[/w]"]]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _shown(monkeypatch: pytest.MonkeyPatch, columns: str, stream: io.StringIO) -> str:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setattr(sys, "stdout", stream)
    show(HEADER, ROWS, title="Yields of [red]w")
    return stream.getvalue()


def test_a_wide_terminal_gets_a_drawn_table_with_names_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = _shown(monkeypatch, "100", _Terminal())
    assert "─" in text
    for word in ("Yields of [red]w", "1084.3 ± 12.1", "[/w]"):
        assert word in text
    assert "\x1b" not in text


def test_nothing_is_cut_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for columns in range(1, 81):
        text = _shown(monkeypatch, str(columns), _Terminal())
        assert "…" not in text, columns
        for word in ("ttbar", "1084.3 ± 12.1", "10.0 ± 0.4", "excess", "something", "[red]w"):
            assert word in text, columns


@pytest.mark.parametrize("columns", ["0", "", "x", "20", "500"])
def test_a_pipe_gets_the_same_whatever_its_width(
    monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    text = _shown(monkeypatch, columns, io.StringIO())
    assert text == f"Yields of [red]w\n\n{markdown(HEADER, ROWS)}\n"


def test_a_table_without_rows_has_its_header() -> None:
    assert markdown(["a", "b"], []).splitlines()[0] == "| a   | b   |"


@pytest.mark.parametrize(
    ("value", "error", "written"),
    [
        (1084.34, 12.06, "1084.3 ± 12.1"),
        (0.0, 0.0, "0.0 ± 0.0"),
        (0.0021, 0.00073, "0.00210 ± 0.00073"),
        (0.0021, 0.0, "0.0021 ± 0.0000"),
        (3.21, 0.96, "3.21 ± 0.96"),
        (12.3, 0.999, "12.3 ± 1.0"),
        (-0.4, 0.13, "-0.40 ± 0.13"),
        (2.1e-9, 3e-10, "2.1e-09 ± 3.0e-10"),
        (0.0021, None, "0.0021"),
        (1084.34, None, "1084.3"),
        (0.0, None, "0.0"),
    ],
)
def test_a_yield_has_two_digits_of_its_error(
    value: float, error: float | None, written: str
) -> None:
    assert measured(value, error) == written
