"""Histograms in the Analysis Grand Challenge's JSON format, and their comparison with others.

The format is `{"{region}_{process}_{variation}": {"edges": [...], "contents": [...]}}`, without
`_{variation}` for nominal; `contents` begins with the underflow and ends with the overflow. A histogram of
events that all have one weight is whole numbers × that weight, so that events can be counted again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.common.errors import OutputError
from analysis.common.files import read_text
from analysis.common.strict import parse_json
from analysis.datasets.sample import NOMINAL
from analysis.postprocess.normalisation import Normalised

PSEUDODATA = "pseudodata"
MIGRATED = 2
"""Events by which a bin may differ if those near it make up for it."""
_MOST = 10_000
"""Most events of the least filled bin for which its weight is found."""
_WHOLE = 1e-4
"""Part of an event by which a count may differ from a whole number."""
_APART = 100
"""Most by which the weights of two samples of a process are taken to differ."""
CLOSE = 1e-5
"""Relative difference of contents that are equal; the Grand Challenge adds in single precision."""

Values = NDArray[np.float64]


class Content(NamedTuple):
    """A histogram as numbers."""

    edges: Values
    contents: Values
    """From underflow to overflow."""
    variances: Values | None = None
    """None where the file has none, as the Grand Challenge's."""
    cross_section_pb: float | None = None
    """What the process was scaled to, where the file says it."""


def histograms(normalised: Normalised) -> dict[str, Content]:
    """Name every scaled histogram as the Grand Challenge does, with its pseudo-data where they can be made.

    Pseudo-data are the mean of the samples with another matrix element and parton shower, and W+jets.
    """
    found = {}
    scaled_to = normalised.normalisation.cross_sections_pb
    for region, observable in normalised.regions.items():
        for process, variations in normalised.normalisation.variations.items():
            for variation in variations:
                name = f"{region}_{process}_{variation}".removesuffix(f"_{NOMINAL}")
                chosen = observable[{"process": process, "variation": variation}]
                found[name] = Content(
                    chosen.axes[0].edges,
                    chosen.values(flow=True),
                    chosen.variances(flow=True),
                    scaled_to[process] if variation == NOMINAL else None,
                )
        parts = [found.get(f"{region}_{n}") for n in ("ttbar_ME_var", "ttbar_PS_var", "wjets")]
        if None not in parts:
            matrix_element, parton_shower, wjets = (part.contents for part in parts if part)
            contents = (matrix_element + parton_shower) / 2 + wjets
            found[f"{region}_{PSEUDODATA}"] = Content(parts[0].edges, contents)  # type: ignore[union-attr]
    return found


def dump(contents: Mapping[str, Content]) -> dict[str, dict[str, Any]]:
    """Give the histograms as JSON values."""
    return {
        name: {
            key: value.tolist() if isinstance(value, np.ndarray) else value
            for key, value in content._asdict().items()
            if value is not None
        }
        for name, content in sorted(contents.items())
    }


def is_one(path: Path) -> bool:
    """Whether a JSON file is of this format, as far as its first histogram tells."""
    try:
        values = parse_json(read_text(path))
        values = values.get("histograms", values)
        return "contents" in next(iter(values.values()))
    except (OSError, ValueError, AttributeError, TypeError, StopIteration):
        return False


def load(path: Path) -> dict[str, Content]:
    """Read a file of this format. Raises OutputError for another one."""
    try:
        values = parse_json(read_text(path))
        values = values.get("histograms", values)
        found = {name: _content(**histogram) for name, histogram in values.items()}
    except OSError as error:
        msg = f"{path}: {error.strerror or error}"
        raise OutputError(msg) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        msg = (
            f"{path}: expected JSON {{name: {{edges, contents}}}}, as the AGC writes it: {error!r}"
        )
        raise OutputError(msg) from error
    for name, content in found.items():
        for values in (content.contents, content.variances):
            if values is not None and len(values) != len(content.edges) + 1:
                msg = (
                    f"{path}: {name} has {len(values)} contents for {len(content.edges)} edges, "
                    "expected underflow and overflow too"
                )
                raise OutputError(msg)
    return found


def _content(
    edges: Any, contents: Any, variances: Any = None, cross_section_pb: float | None = None
) -> Content:
    known = None if variances is None else np.array(variances, float)
    return Content(np.array(edges, float), np.array(contents, float), known, cross_section_pb)


class Difference(NamedTuple):
    """How a histogram differs from that of the reference."""

    name: str
    apart: Values
    """Difference of each bin, in events of the nominal weight: zero where rounding is all."""
    integral: float
    """Relative difference of all events."""
    events: int | None
    """Events of the reference; None where their weights differ."""
    agrees: bool
    """Whether the differences are events on the other side of an edge."""

    @property
    def bins(self) -> int:
        """Number of bins that differ."""
        return int(np.count_nonzero(self.apart))

    @property
    def largest(self) -> float:
        """Largest difference of a bin, in events."""
        return float(np.abs(self.apart).max())


def compare(found: Mapping[str, Content], reference: Mapping[str, Content]) -> list[Difference]:
    """Compare the histograms that both have, bin by bin.

    Contents of neighbouring bins may differ by up to `MIGRATED` events if their sum agrees: the rule of
    the Grand Challenge. Raises OutputError for other edges, and where nothing can be compared.
    """
    common = [name for name in reference if name in found]
    if not common:
        msg = f"no histogram of the reference is there: it has {', '.join(sorted(reference)[:3])}, ..."
        raise OutputError(msg)
    return [
        _difference(name, found[name], reference[name], _unit(name, reference)) for name in common
    ]


def _unit(name: str, reference: Mapping[str, Content]) -> float:
    """Weight of an event of a variation by weights: that of the nominal histogram, whose name begins it."""
    begins = [other for other in reference if name.startswith(f"{other}_")]
    contents = reference[max([*begins, name], key=lambda n: (n != name, len(n)))].contents
    return unit(contents) or float(np.abs(contents[contents != 0]).min())


def _difference(name: str, found: Content, reference: Content, nominal: float) -> Difference:
    same = found.edges.shape == reference.edges.shape
    if not same or not np.allclose(found.edges, reference.edges):
        msg = f"{name}: {len(found.edges)} edges that are not those of the reference"
        raise OutputError(msg)
    own = unit(reference.contents)
    if own is not None and own < nominal / _APART:
        own = None  # Of weights that differ, and happen to have a common measure.
    weight, most = (nominal, 2 * MIGRATED) if own is None else (own, MIGRATED)
    apart = (found.contents - reference.contents) / weight
    close = np.isclose(found.contents, reference.contents, rtol=CLOSE, atol=CLOSE * weight)
    total = float(np.sum(reference.contents))
    integral = float(np.sum(found.contents)) / total - 1 if total else float(np.sum(apart))
    agrees = all(
        np.abs(run).max() <= most + CLOSE and abs(run.sum()) < 1e-3 for run in _runs(apart, close)
    )
    return Difference(
        name,
        np.where(close, 0.0, apart),
        integral,
        None if own is None else round(total / weight),
        agrees,
    )


def nominal_names(names: Iterable[str]) -> list[str]:
    """Take the histograms that are no variation of another one, pseudo-data left out."""
    every = sorted(names)
    return [
        name
        for name in every
        if not name.endswith(f"_{PSEUDODATA}")
        and not any(name.startswith(f"{other}_") for other in every)
    ]


def unit(contents: Values) -> float | None:
    """Find the weight of which the contents are multiples; None where there is none, 1 for no events."""
    filled = np.abs(contents[contents != 0])
    if not len(filled):
        return 1.0
    smallest = float(filled.min())
    counts = np.outer(np.arange(1, _MOST + 1), filled / smallest)
    whole = np.all(np.abs(counts - np.round(counts)) < _WHOLE, axis=1)
    return smallest / (int(np.argmax(whole)) + 1) if whole.any() else None


def _runs(apart: Values, close: NDArray[np.bool_]) -> Iterator[Values]:
    """Differences of neighbouring bins that all differ."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], ~close, [False]]).astype(int)))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        yield apart[start:stop]


def rows(differences: list[Difference], every: bool = False) -> tuple[list[str], list[list[Any]]]:
    """Table of the histograms that differ, or of every one."""
    header = ["histogram", "events", "bins that differ", "largest", "integral", ""]
    shown = [d for d in differences if every or d.bins]
    return header, [
        [
            d.name,
            "-" if d.events is None else f"{d.events:,}",
            str(d.bins),
            f"{d.largest:.3g}",
            f"{d.integral:+.1e}",
            "agrees" if d.agrees else "DIFFERS",
        ]
        for d in shown
    ]
