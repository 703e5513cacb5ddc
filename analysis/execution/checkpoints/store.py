"""Finished chunks on disk, so that a run that was cut short goes on where it was.

`FOLDER/{provenance}/` has a `provenance.json` and a file for each group of chunks that were finished
together: a zip of JSON and NumPy arrays (histograms as in `analysis.histograms`), with its checksum in
its name. Nothing is pickled. A chunk is known by its file, with what the catalogue says of that, and its
range of events; that the file is still what was read, by its fingerprint (`analysis.datasets.remote`).
"""

from __future__ import annotations

import logging
import shutil
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from analysis.common.files import atomic, write_text
from analysis.common.strict import Strict
from analysis.datasets.remote import Access, headers
from analysis.execution.account import Answer, Output, add
from analysis.execution.checkpoints import archive
from analysis.execution.checkpoints.provenance import Provenance
from analysis.execution.plan import Chunk

logger = logging.getLogger(__name__)

SHARE_OF_TIME = 0.03
"""Finished chunks are written at once, or several together where that would take more of the time."""

_PROVENANCE = "provenance.json"
_CHANGED = "the file has changed, or what the catalogue says of it"
_REFUSED = "the file is not as the catalogue's checksum says"


class Known(Chunk):
    """A chunk, with a digest of what the catalogue says of its file."""

    identity: str


class Saved(Strict):
    """Record of a group of chunks, saved beside their output."""

    chunks: list[Known]
    warnings: list[str]
    """Warning of each chunk, empty if there is none."""
    headers: list[str]
    """Fingerprint of the file that was read, for each chunk."""


class Restored(NamedTuple):
    """Part of this run that earlier runs finished."""

    done: set[int]
    output: Output | None
    warnings: dict[int, str]
    fingerprints: dict[str, str]
    """Fingerprints of the files that were read."""


class Checkpoints:
    """Checkpoints of one run with these `chunks`, in the order of their numbers."""

    def __init__(self, folder: Path, provenance: Provenance, chunks: Sequence[Known]) -> None:
        self._folder = folder
        self._own = folder / provenance.digest
        self._provenance = provenance
        self._chunks = chunks
        self._pending = Answer([], [])
        self._headers: dict[int, str] = {}
        self._spent_s = 0.0
        self._started = time.monotonic()

    def keep(self, answer: Answer) -> None:
        """Save finished chunks, soon if not now. Raises OutputError if they cannot be written."""
        self._headers |= answer.headers
        self._pending = Answer(
            self._pending.done + answer.done,
            [],
            answer.output
            if self._pending.output is None
            else add(self._pending.output, answer.output),
            self._pending.warnings | answer.warnings,
        )
        if self._spent_s <= SHARE_OF_TIME * (time.monotonic() - self._started):
            self.flush()

    def flush(self) -> None:
        """Save finished chunks that are not saved yet."""
        if not self._pending.done:
            return
        started = time.monotonic()
        if not (self._own / _PROVENANCE).exists():
            write_text(self._own / _PROVENANCE, self._provenance.model_dump_json(indent=1))
        self._write(self._pending)
        self._pending = Answer([], [])
        self._spent_s += time.monotonic() - started

    def restore(self, access: Access, refused: Collection[str] = ()) -> Restored:
        """Restore finished chunks of this run; log what is not used, and why. Damaged files are removed.

        The files of the run are looked at, whether they are what they were; chunks of files that are
        `refused` (addresses) are not used.
        """
        numbers = {chunk: number for number, chunk in enumerate(self._chunks)}
        done: set[int] = set()
        total: Output | None = None
        warnings: dict[int, str] = {}
        read: dict[str, str] = {}
        unused: Counter[str] = self._of_other_runs()
        unchecked: list[str] = []
        paths = self._files()
        now, unknown = headers({chunk.file for chunk in self._chunks} if paths else (), access)
        for path in paths:
            saved, output = _read(path)
            if saved is None:
                unused["damaged"] += _count(path)
                with suppress(OSError):  # what is a folder, or of somebody else
                    path.unlink()
            elif not numbers.keys() >= set(saved.chunks):
                unused[self._why_not(saved.chunks)] += len(saved.chunks)
            elif _changed(saved, read | now):
                unused[_CHANGED] += len(saved.chunks)
            elif any(chunk.file in refused for chunk in saved.chunks):
                unused[_REFUSED] += len(saved.chunks)
            elif done.isdisjoint(places := [numbers[chunk] for chunk in saved.chunks]):
                done.update(places)
                total = add(total, output)
                warnings |= {n: w for n, w in zip(places, saved.warnings, strict=True) if w}
                self._headers |= zip(places, saved.headers, strict=True)
                read |= {c.file: h for c, h in zip(saved.chunks, saved.headers, strict=True)}
                unchecked += [c.file for c in saved.chunks if c.file in unknown]
        for reason, count in unused.items():
            logger.warning("resume: %d finished chunks are not used: %s", count, reason)
        if unchecked:
            logger.warning(
                "resume: %d finished chunks are used though their files (%d) cannot be looked at: %s: %s",
                len(unchecked), len(set(unchecked)), unchecked[0], unknown[unchecked[0]],
            )  # fmt: skip
        logger.info("resume: %d of %d chunks are done already", len(done), len(self._chunks))
        return Restored(done, total, warnings, read)

    def has_some(self) -> bool:
        """Return whether there are finished chunks that `restore` would look at."""
        return bool(self._files())

    def finish(self, output: Output, warnings: dict[int, str]) -> None:
        """Replace the files of a complete run by one for each dataset.

        With it `--resume` has nothing to do, or only what is new in the catalogue.
        """
        self._pending = Answer([], [])
        datasets = {chunk.dataset for chunk in self._chunks}
        by_dataset = output["out"].keys() == datasets
        kept = {self._own / _PROVENANCE}
        write_text(self._own / _PROVENANCE, self._provenance.model_dump_json(indent=1))
        for i, name in enumerate(sorted(datasets) if by_dataset else [None]):
            places = [n for n, c in enumerate(self._chunks) if name in (None, c.dataset)]
            out = output["out"] if name is None else {name: output["out"][name]}
            part = {"out": out, "metrics": output["metrics"] if i == 0 else {}}
            kept.add(self._write(Answer(places, [], part, warnings)))
        for path in self._folder.glob("*"):
            # Nothing is removed that no run made: the user may have a folder of this name, too.
            if path != self._own and (path / _PROVENANCE).exists():
                shutil.rmtree(path, ignore_errors=True)
        for path in self._own.glob("*"):
            if path not in kept:
                with suppress(OSError):
                    path.unlink()

    def _write(self, answer: Answer) -> Path:
        saved = Saved(
            chunks=[self._chunks[number] for number in answer.done],
            warnings=[answer.warnings.get(number, "") for number in answer.done],
            headers=[self._headers[number] for number in answer.done],
        )
        content = archive.pack({"saved": saved.model_dump(), "output": answer.output})
        path = self._own / f"{archive.checksum(content)}_{len(answer.done)}.zip"
        with atomic(path) as temporary:
            temporary.write_bytes(content)
        return path

    def _files(self) -> list[Path]:
        """Return the files, those with most chunks first: later merges contain earlier files."""
        return sorted(self._own.glob("*_*.zip"), key=lambda path: (-_count(path), path.name))

    def _of_other_runs(self) -> Counter[str]:
        """Count the chunks of other provenance, by what differs."""
        found: Counter[str] = Counter()
        for folder in self._folder.glob("*"):
            count = sum(map(_count, folder.glob("*_*.zip")))
            if folder == self._own or not count:
                continue
            try:
                text = (folder / _PROVENANCE).read_text(encoding="utf-8")
                other = Provenance.model_validate_json(text)
            except (OSError, ValueError):
                found["damaged"] += count
            else:
                found[" and ".join(self._provenance.differences(other))] += count
        return found

    def _why_not(self, chunks: list[Known]) -> str:
        identities = {(chunk.dataset, chunk.file): chunk.identity for chunk in self._chunks}
        if not all((chunk.dataset, chunk.file) in identities for chunk in chunks):
            return "with files that are not in this run"
        if any(identities[chunk.dataset, chunk.file] != chunk.identity for chunk in chunks):
            return _CHANGED
        return "other chunk sizes or limits"


def _read(path: Path) -> tuple[Saved | None, Output | None]:
    """Read a file; None for one that is not what was written."""
    try:
        content = path.read_bytes()
        if not path.name.startswith(archive.checksum(content)):
            return None, None
        values = archive.unpack(content)
        return Saved.model_validate(values["saved"]), values["output"]
    except (OSError, ValidationError, *archive.ERRORS):
        return None, None


def _changed(saved: Saved, now: Mapping[str, str]) -> bool:
    """Whether a file is known to be another one than was read."""
    read = zip(saved.chunks, saved.headers, strict=True)
    return any(now.get(chunk.file, header) != header for chunk, header in read)


def _count(path: Path) -> int:
    """Return the number of chunks in a file, from its name."""
    number = path.stem.rpartition("_")[2]
    return int(number) if number.isdigit() else 0
