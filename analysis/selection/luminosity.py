"""Luminosity sections of collision data: which are certified, their luminosity, and events read twice.

A section is a run and its luminosity section. coffea's `LumiMask` and `LumiData` do the work; they take
seconds to import, and are imported where a configuration asks for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import Any

import numpy as np
from coffea.processor import column_accumulator
from numpy.typing import NDArray

from analysis.common.errors import ConfigError
from analysis.common.files import read_text, short_digest
from analysis.common.strict import parse_json
from analysis.config import CollisionData
from analysis.datasets.units import luminosity_ipb
from analysis.selection.description import DataInfo
from analysis.selection.kernels import Bools

COLUMNS = frozenset({"run", "luminosityBlock", "event"})
"""Columns that tell events of data apart."""

_RECORDED = 6
"""Column of brilcalc's tables that coffea reads."""

Sections = NDArray[np.uint32]
"""Runs and luminosity sections; shape (sections, 2)."""


class Certified:
    """What the files of a configuration say of luminosity sections.

    Raises ConfigError for a file that cannot be read or is none of its kind.
    """

    def __init__(self, config: CollisionData) -> None:
        self._config = config
        self._mask: Any = None
        texts = []
        if config.golden_json is not None:
            from coffea.lumi_tools import LumiMask

            texts.append(_text(config.golden_json, "golden JSON"))
            runs = _golden_runs(texts[0], config.golden_json)
            self._runs = f"{min(runs)} to {max(runs)}"
            self._mask = LumiMask(config.golden_json)
        if config.luminosity_csv is not None:
            texts.append(_text(config.luminosity_csv, "luminosity table"))
            self._unit = _unit_ipb(texts[-1], config.luminosity_csv)
        self.digest = short_digest("\n".join(texts))
        """Of the contents of the files."""

    def mask(self, sections: Sections) -> Bools:
        """Mask the certified ones of some sections; all where nothing certifies any."""
        if self._mask is None:
            return np.ones(len(sections), np.bool_)
        runs, numbers = (np.ascontiguousarray(column) for column in sections.T)
        mask: Bools = self._mask(runs, numbers)
        return mask

    def luminosities(self) -> Any:
        """Read the table as coffea's `LumiData`; None without one. Raises ConfigError for another file."""
        path = self._config.luminosity_csv
        if path is None:
            return None
        from coffea.lumi_tools import LumiData

        try:
            return LumiData(path)
        except (OSError, ValueError, IndexError) as error:
            msg = f"luminosity table {path}: expected brilcalc's output with --byls: {error}"
            raise ConfigError(msg) from error

    def recorded_ipb(self, table: Any, sections: Sections) -> float:
        """Add up the recorded luminosity of sections in 1/pb; 0 for those that the table has not."""
        return float(table.get_lumi(sections)) * self._unit

    def faults(self, table: Any, read: Sections, certified: Sections) -> Iterator[str]:
        """Say what is wrong with the sections that were read, and of them those that are certified."""
        if len(read) and not len(certified):
            runs = read[:, 0]
            yield (
                f"no event is in a section that {self._config.golden_json} certifies: its runs are "
                f"{runs.min()} to {runs.max()}, those of the file {self._runs}"
            )
        known = () if table is None else set(map(tuple, table._lumidata[:, :2].tolist()))
        lacking = [pair for pair in map(tuple, certified.tolist()) if known and pair not in known]
        if lacking:
            run, section = lacking[0]
            yield (
                f"{len(lacking)} of {len(certified)} sections are not in {self._config.luminosity_csv}: "
                f"the first is run {run}, section {section}"
            )


def _text(path: str, what: str) -> str:
    try:
        return read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{what} {path}: {getattr(error, 'strerror', None) or error}"
        raise ConfigError(msg) from error


def _golden_runs(text: str, path: str) -> list[int]:
    """Read the runs of a golden JSON. Raises ConfigError for another text."""
    try:
        found = parse_json(text)
        for run, listed in found.items():
            ranges = np.array(listed, dtype=np.int64)
            if ranges.shape != (len(listed), 2) or np.any(np.diff(ranges.ravel()) < 0):
                msg = f"run {run} has no ascending ranges"
                raise ValueError(msg)
        return [int(run) for run in found] or [int("no run")]
    except (ValueError, TypeError, AttributeError) as error:
        msg = f'golden JSON {path}: expected {{"RUN": [[first, last], ...]}}: {error}'
        raise ConfigError(msg) from error


def _unit_ipb(text: str, path: str) -> float:
    """Read the unit of the recorded luminosity in 1/pb from a table's header."""
    for line in text.splitlines()[:50]:
        cells = line.split(",")
        if line.startswith("#") and len(cells) > _RECORDED and "recorded(" in cells[_RECORDED]:
            try:
                return luminosity_ipb(f"1 {cells[_RECORDED].partition('(')[2].rstrip(') ')}")
            except ValueError as error:
                msg = f"luminosity table {path}: {error}"
                raise ConfigError(msg) from error
    msg = f"luminosity table {path}: no header with 'recorded(/ub)' or another unit as column 7"
    raise ConfigError(msg)


def sections_of(events: Any) -> Sections:
    """Run and section of each event; shape (events, 2)."""
    return np.stack(
        [np.asarray(events[name]).astype(np.uint32) for name in ("run", "luminosityBlock")], axis=1
    )


def counted(events: Any, channel: str | None, certified: Bools, used: Bools) -> dict[str, Any]:
    """Note the sections of a chunk, and the events of the mask `used` by their file: all of it adds up."""
    sections = sections_of(events)
    numbers = np.column_stack([sections, np.asarray(events["event"])]).astype(np.uint64)[used]
    file = str(events.metadata.get("filename", ""))
    return {
        "sections": column_accumulator(np.unique(sections, axis=0)),
        "certified_events": int(np.sum(certified)),
        "stream": {channel or ""},
        "used": {file: column_accumulator(numbers)},
    }


def summary(
    counted: Mapping[str, Mapping[str, Any]],
    certified: Certified | None,
    streams: Mapping[str, str],
) -> DataInfo:
    """Say of the data, from what `counted` has of each dataset, what they are and what is wrong with them.

    `streams`: channel -> the stream that provides it.
    """
    read = {name: np.unique(found["sections"].value, axis=0) for name, found in counted.items()}
    kept = read
    faults, luminosity = _twice(counted), {}
    if read and certified is not None:
        table = certified.luminosities()
        kept = {name: sections[certified.mask(sections)] for name, sections in read.items()}
        for name, sections in read.items():
            faults += [
                f"{name}: {fault}" for fault in certified.faults(table, sections, kept[name])
            ]
        for channel, stream in streams.items() if table is not None else ():
            names = [name for name in kept if counted[name]["stream"] & {"", stream}]
            parts = [np.zeros((0, 2), np.uint32), *(kept[name] for name in names)]
            sections = np.unique(np.concatenate(parts), axis=0)
            luminosity[channel] = certified.recorded_ipb(table, sections)
    return DataInfo(
        certified_events={name: found["certified_events"] for name, found in counted.items()},
        sections={name: _ranges(sections) for name, sections in kept.items()},
        luminosity=luminosity,
        faults=faults,
    )


def _ranges(sections: Sections) -> dict[str, list[tuple[int, int]]]:
    """Write sections as a golden JSON has them: run -> first and last of each range."""
    ranges: dict[str, list[tuple[int, int]]] = {}
    for run in np.unique(sections[:, 0]):
        numbers = sections[sections[:, 0] == run, 1].astype(np.int64)
        parts = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
        ranges[str(run)] = [(int(part[0]), int(part[-1])) for part in parts]
    return ranges


def _twice(counted: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Find the events that are used more than once: one line for each pair of files, with the first event."""
    files = sorted(
        (
            (file, column.value)
            for found in counted.values()
            for file, column in found["used"].items()
        ),
        key=itemgetter(0),
    )
    if not files:
        return []
    numbers = np.concatenate([values for _, values in files])
    place = np.repeat(np.arange(len(files)), [len(values) for _, values in files])
    order = np.lexsort(numbers.T[::-1])
    numbers, place = numbers[order], place[order]
    pairs: dict[tuple[int, int], list[int]] = {}
    for row in np.flatnonzero(np.all(numbers[1:] == numbers[:-1], axis=1)).tolist():
        one, other = sorted(place[row : row + 2].tolist())
        pairs.setdefault((one, other), []).append(row)
    lines = []
    for (one, other), rows in sorted(pairs.items()):
        names = " and ".join(dict.fromkeys([files[one][0], files[other][0]]))
        run, section, event = numbers[rows[0]]
        lines.append(
            f"{len(rows)} selected events are there twice, in {names}: the first is run {run}, section "
            f"{section}, event {event}"
        )
    return lines
