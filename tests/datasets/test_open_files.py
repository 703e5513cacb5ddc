"""Files stay open between chunks, and nothing but the time shows it."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from coffea.nanoevents import BaseSchema, NanoEventsFactory

from analysis.datasets.open_files import SEEN_IN, KeptOpen
from analysis.datasets.remote import Access


def write(path: Path, events: int) -> Path:
    with uproot.recreate(path) as file:
        file.mktree("events", {"x": np.int32}).extend({"x": np.arange(events, dtype=np.int32)})
    return path


def opened(path: Path) -> Any:
    options = pickle.loads(pickle.dumps(Access().options()))  # as they come to a worker
    return uproot.open({path: None}, **options)


@pytest.fixture(autouse=True)
def _nothing_open_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeptOpen, "_sources", {})


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    yield write(tmp_path / "a.root", 1000), write(tmp_path / "b.root", 2000)
    with opened(write(tmp_path / "last.root", 1)):  # closes the others
        pass


def test_the_tree_is_read_once_until_another_file_is_opened(paths: tuple[Path, Path]) -> None:
    with opened(paths[0]) as file:
        tree = file["events"]
    with opened(paths[0]) as file:
        assert file["events"] is tree
        assert file["events"]["x"].array(entry_start=990).tolist() == list(range(990, 1000))
    with opened(paths[1]) as file:
        assert file["events"].num_entries == 2000
    assert tree.file.closed
    with opened(paths[0]) as file:
        assert file["events"] is not tree
        assert len(KeptOpen._sources) == 1


def test_zlib_is_decompressed_by_isal_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = uproot.compression._decompress_ZLIB
    monkeypatch.setattr(library, "library", "zlib")
    values = np.random.default_rng(1).exponential(40, 20_000).astype(np.float32)
    for level in (1, 9):
        path = tmp_path / f"{level}.root"
        with uproot.recreate(path, compression=uproot.ZLIB(level)) as file:
            file.mktree("events", {"x": np.float32}).extend({"x": values})
        with opened(path) as file:
            assert library.library == "isal"
            branch = file["events"]["x"]
            assert 0 < branch.compressed_bytes < branch.uncompressed_bytes
            assert branch.array(library="np").tobytes() == values.tobytes()
    assert uproot.ZLIB(1).library == "zlib"  # of files that are written


def test_the_types_of_branches_are_found_when_they_are_asked_for(
    paths: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    found = type(uproot.open(paths[0])["events"]).typenames
    monkeypatch.setattr(
        uproot.behaviors.TTree.TTree, "typenames", lambda self: asked.append(1) or found(self)
    )
    with opened(paths[0]) as file:
        types = file["events"].typenames()
        assert not asked
        assert dict(types) == {"x": "int32_t"}
        assert len(file["events"].typenames()) == len(asked) == 1


def test_a_file_written_anew_is_read_anew(paths: tuple[Path, Path]) -> None:
    for events in (1000, 7):
        write(paths[0], events)
        with opened(paths[0]) as file:
            assert file["events"]["x"].array().tolist() == list(range(events))


def test_after_an_error_it_is_closed(paths: tuple[Path, Path]) -> None:
    with pytest.raises(uproot.KeyInFileError), opened(paths[0]) as file:
        file["events"]["y"]
    assert KeptOpen._sources == {}
    with opened(paths[0]) as file:
        assert file["events"].num_entries == 1000


def test_bytes_are_counted_once(paths: tuple[Path, Path]) -> None:
    counts = []
    for _ in range(2):
        with opened(paths[0]) as file:
            file["events"]["x"].array()
            counts.append(file.file.source.num_requested_bytes)
    basket = 4 * 1000
    assert counts[0] > counts[1] > 0
    assert sum(counts) < 2 * counts[0]
    with uproot.open(paths[0]) as file:
        file["events"]["x"].array()
        assert counts[0] == file.file.source.num_requested_bytes
    assert counts[1] < counts[0] < basket * 2


def test_threads_do_not_close_each_others_files(paths: tuple[Path, Path]) -> None:
    def read(number: int) -> int:
        with opened(paths[number % 2]) as file:
            return int(file["events"]["x"].array()[-1])

    with ThreadPoolExecutor(4) as pool:
        last = list(pool.map(read, range(200)))
    assert last == [999, 1999] * 100


def test_files_of_the_same_identifier_are_told_apart(paths: tuple[Path, Path]) -> None:
    """Also by threads that have one open each."""
    with uproot.open(paths[0]) as one, uproot.open(paths[1]) as two:
        first, second = one.file.uuid.bytes, two.file.uuid.bytes
    paths[1].write_bytes(paths[1].read_bytes().replace(second, first))
    both = threading.Barrier(2)

    def read(number: int) -> list[int]:
        found = []
        for _ in range(3):
            with opened(paths[number]) as file:
                both.wait(60)
                found.append(len(file["events"]["x"].array()))
                both.wait(60)
        return found

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(read, (0, 1))) == [[1000] * 3, [2000] * 3]


def test_private_names_are_there(paths: tuple[Path, Path]) -> None:
    """Where this fails with a new version, `open_files` is what has to follow it."""
    seen = f"seen in {SEEN_IN}"
    with opened(paths[0]) as file:
        source = file.file.source
        for name in ("_fs", "_file_path", "_num_requested_bytes", "closed"):
            assert hasattr(source, name), f"uproot: {name}, {seen}"
        assert hasattr(file.file.begin_chunk, "raw_data"), f"uproot: raw_data, {seen}"
        factory = NanoEventsFactory.from_root(
            file=file, treepath="events", schemaclass=BaseSchema, mode="virtual", preload={"x"}
        )
        events = factory.events()
    attributes = events.attrs["@events_factory"]
    for name in ("file_handle", "_mapping"):
        assert hasattr(attributes, name), f"coffea: {name}, {seen}"
    for name in ("preloaded_arrays", "_start", "_stop"):
        assert hasattr(attributes._mapping, name), f"coffea: {name}, {seen}"


def test_files_that_cannot_be_opened_do_not_stay(paths: tuple[Path, Path], tmp_path: Path) -> None:
    for name in ("missing.root", "empty.root", "noise.root"):
        if name != "missing.root":
            (tmp_path / name).write_bytes(b"" if name == "empty.root" else b"x" * 1000)
        with pytest.raises((OSError, ValueError)):
            opened(tmp_path / name)
    with opened(paths[0]) as file:
        assert file["events"].num_entries == 1000
    assert len(KeptOpen._sources) == 1
