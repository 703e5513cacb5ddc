"""The loop over chunks, with workers that do what the test says: every chunk ends in one way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.execution import loop as loops
from analysis.execution.account import Account, Answer, Fault, add
from analysis.execution.loop import ChunkLoop
from analysis.execution.settings import Execution
from analysis.execution.workers.local import WorkersLost
from analysis.execution.workers.shipping import CODE


class Item(NamedTuple):
    """As much of coffea's work items as the loop looks at."""

    filename: str
    number: int


def items_of(files: Sequence[str]) -> list[Item]:
    return [Item(file, number) for number, file in enumerate(files)]


CODES = frozenset({CODE})
OUTCOMES = ["done", "passes", "stays", "suspect", "returned"]


class Scripted:
    """Answers each chunk with the next of its outcomes, and with `done` after them."""

    def __init__(self, scripts: list[list[str]], most: int, lost_after: int = 10**6) -> None:
        self.scripts = [list(script) for script in scripts]
        self.most = most
        self.given: list[int] = []
        self.tries: Counter[int] = Counter()
        self.alone: list[int] = []
        self.suspects: set[int] = set()
        self.lost_after = lost_after
        self.file: str | None = None

    def start(self, function: Any) -> None: ...

    def room(self) -> int:
        return self.most - len(self.given)

    def next_file(self) -> str | None:
        return self.file

    def give(self, chunk: int, item: Item) -> None:
        assert self.room() > 0
        assert item.number == chunk
        self.file = item.filename
        self.given.append(chunk)
        if chunk in self.suspects:
            assert self.given == [chunk]

    def collect(self, timeout: float) -> list[Answer]:
        assert timeout <= 1
        if self.lost_after <= 0:
            msg = "gone"
            raise WorkersLost(msg)
        if not self.given:
            return []
        self.lost_after -= 1
        chunk = self.given.pop(0)
        script = self.scripts[chunk]
        outcome = script.pop(0) if script else "done"
        if outcome == "done":
            self.tries[chunk] += 1
            return [Answer([chunk], [], {"out": {"n": 1}, "metrics": {}}, codes=CODES)]
        if outcome == "returned":
            return [Answer([], [Fault(chunk, "waited", True, 0)])]
        self.tries[chunk] += 1
        if outcome == "suspect":
            self.suspects.add(chunk)
        return [Answer([], [Fault(chunk, outcome, outcome != "stays", 1, outcome == "suspect")])]


def loop(scripts: list[list[str]], workers: Scripted, **options: Any) -> ChunkLoop:
    execution = Execution(retry_delay_s=0, **options)
    made = ChunkLoop(workers, execution, range(len(scripts)), Account())
    made(items_of([f"file {n // 3}" for n in range(len(scripts))]), str, None)
    return made


scripts_of = st.lists(st.lists(st.sampled_from(OUTCOMES), max_size=4), min_size=1, max_size=8)


@given(scripts_of, st.integers(1, 4), st.integers(0, 3))
def test_every_chunk_ends_once(scripts: list[list[str]], most: int, retries: int) -> None:
    workers = Scripted(scripts, most)
    made = loop(scripts, workers, retries=retries)
    account = made.account
    chunks = set(range(len(scripts)))
    assert account.done | account.failed.keys() == chunks
    assert not account.done & account.failed.keys()
    assert (made.total or {"out": {"n": 0}})["out"]["n"] == len(account.done)
    assert {chunk: account.attempts[chunk] for chunk in chunks} == dict(workers.tries)
    for chunk in account.failed:
        # One try more than the retries, and one more for a chunk that is tried alone.
        assert workers.tries[chunk] <= retries + 2
    for chunk, script in enumerate(scripts):
        if set(script) <= {"done", "returned"}:
            assert account.attempts[chunk] == 1
    # Nothing failed that a further try could have saved.
    for chunk, reason in account.failed.items():
        assert reason == "stays" or workers.tries[chunk] > retries


@given(scripts_of, st.integers(1, 4), st.integers(0, 10))
def test_what_was_not_reached_is_neither(scripts: list[list[str]], most: int, after: int) -> None:
    workers = Scripted(scripts, most, lost_after=after)
    account = loop(scripts, workers, retries=1).account
    reached = account.done | account.failed.keys()
    assert (len(reached) == len(scripts)) or account.stopped == "gone"
    assert len(reached) <= after


def test_what_came_together_with_a_file_that_was_replaced_is_tried_again() -> None:
    """Chunks 0 to 2 are of one file, 3 of another; 1 is of what took its place, and merged with 3."""
    workers = Scripted([[]] * 4, 8)
    answers = [
        Answer([0], [], {"out": {"n": 1}, "metrics": {}}, headers={0: "old"}, codes=CODES),
        Answer(
            [1, 3],
            [],
            {"out": {"n": 2}, "metrics": {}},
            headers={1: "new", 3: "other"},
            codes=CODES,
        ),
        Answer([2], [], {"out": {"n": 1}, "metrics": {}}, headers={2: "old"}, codes=CODES),
        Answer([3], [], {"out": {"n": 1}, "metrics": {}}, headers={3: "other"}, codes=CODES),
    ]
    workers.collect = lambda _: [answers.pop(0)]  # type: ignore[method-assign]
    account = (made := loop([[]] * 4, workers)).account
    assert account.done == {0, 2, 3}
    assert account.failed == {1: "a file was replaced while the run read it: file 0"}
    assert made.total is not None
    assert made.total["out"] == {"n": 3}
    resumed = ChunkLoop(Scripted([], 1), Execution(), [], Account(), None, {"file 0": "old"})
    assert resumed._read == {"file 0": "old"}


@pytest.mark.parametrize("codes", [frozenset(), frozenset({"other"}), CODES | {"other"}])
def test_what_other_code_has_made_is_refused(codes: frozenset[str]) -> None:
    """Whatever it says has become of the chunk; code of before does not say which it is."""
    workers = Scripted([[]] * 2, 8)
    answers = [
        Answer([0], [], {"out": {"n": 1}, "metrics": {}}, codes=codes),
        Answer([], [Fault(1, "of the file", False)], codes=codes or frozenset({"other"})),
    ]
    workers.collect = lambda _: [answers.pop(0)]  # type: ignore[method-assign]
    made = loop([[]] * 2, workers)
    assert made.total is None
    assert made.account.failed == dict.fromkeys((0, 1), loops.OTHER_CODE)


@given(scripts_of)
def test_the_first_failure_stops(scripts: list[list[str]]) -> None:
    account = loop(scripts, Scripted(scripts, 2), retries=0, fail_fast=True).account
    assert len(account.failed) <= 1
    assert bool(account.stopped) == bool(account.failed)


def test_each_retry_waits_twice_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = []

    def later(self: Any, chunk: int, delay: float) -> None:
        waited.append(delay)
        self.at_once(chunk)

    monkeypatch.setattr(loops._Waiting, "later", later)
    scripts = [["passes"] * 9]
    execution = Execution(retries=3, retry_delay_s=0.5)
    made = ChunkLoop(Scripted(scripts, 1), execution, [0], Account())
    made(items_of(["file"]), str, None)
    assert waited == [0.5, 1, 2]
    assert made.account.failed == {0: "passes"}
    assert made.account.attempts[0] == 4


def test_a_sum_changes_only_its_total() -> None:
    first, second = {"out": {"a": {1}}}, {"out": {"a": {2}}}
    total = add(add(None, first), second)
    assert total == {"out": {"a": {1, 2}}}
    assert first == {"out": {"a": {1}}}
    assert second == {"out": {"a": {2}}}


files_of = st.lists(st.integers(1, 5), min_size=1, max_size=6)


@given(files_of, st.integers(1, 4), st.data())
def test_a_file_is_left_for_another_when_none_of_its_chunks_waits(
    sizes: list[int], workers: int, data: st.DataObject
) -> None:
    names = [f"file {n}" for n, size in enumerate(sizes) for _ in range(size)]
    ready = loops._Ready(dict(enumerate(names)))
    opened: list[str | None] = [None] * workers
    waiting = Counter(names)
    untouched = list(dict.fromkeys(names))
    while ready:
        worker = data.draw(st.integers(0, workers - 1))
        before = opened[worker]
        file = names[ready.pop(before)]
        if before is not None and waiting[before]:
            assert file == before
        elif untouched:
            assert file == untouched[0]
        waiting[file] -= 1
        untouched = [name for name in untouched if name != file]
        opened[worker] = file
    assert not +waiting


def test_a_chunk_that_comes_back_is_next_or_last_of_its_file() -> None:
    ready = loops._Ready(dict.fromkeys(range(3), "a") | {3: "b"})
    assert ready.pop(None) == 0
    ready.add(0)
    assert ready.pop("a") == 1
    ready.add(1, first=True)
    assert [ready.pop("a") for _ in range(3)] == [1, 2, 0]
    assert ready.pop("a") == 3
    ready.add(3)
    assert ready.pop("a") == 3
    assert not ready
