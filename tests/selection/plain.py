"""Objects of an event as a plain loop selects them, for tests of what users define."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import uproot
from coffea.nanoevents import NanoEventsFactory

from analysis.processor import TtbarAnalysis
from analysis.selection.regions import Region
from analysis.selection.selection import Selection
from schemas import AGCSchema

LEPTON_FIELDS = ("pt", "eta", "phi", "ch", "isTight", "sip3d", "dxy", "pfreliso04DBCorr")
JET_FIELDS = (
    "corrpt", "corrptUp", "corrptDown", "corrptSmearUp", "corrptSmearDown", "eta", "phi", "corrmass",
    "btag", "hflav",
)  # fmt: skip
FLAT = ("met_pt", "met_phi", "PV_npvs", "trig_IsoMu20", "btag_Weight")

MASS = {"electron": 0.00051099895, "muon": 0.1056583755}

Row = dict[str, float]


def unscaled(row: Row) -> float:
    return row["pt"]


class Event(NamedTuple):
    """An event with one good lepton."""

    channel: str
    lepton: Row
    jets: list[Row]
    met: Row
    flat: Row
    others: list[Row]
    """Leptons that are not good."""

    @property
    def tagged(self) -> list[Row]:
        return [jet for jet in self.jets if jet["btag"] >= 0.8]

    @property
    def ht(self) -> float:
        return sum(jet["pt"] for jet in self.jets)

    def leading(self) -> list[float]:
        return sorted((jet["pt"] for jet in self.jets), reverse=True)


def selected(
    path: Path,
    *,
    jet: Callable[[Row], float] = lambda row: row["corrpt"],
    electron: Callable[[Row], float] = unscaled,
    muon: Callable[[Row], float] = unscaled,
    met: Callable[[Row], float] = unscaled,
    mass_scales: bool = True,
    also: Iterable[str] = (),
) -> Iterator[Event]:
    """Read the events with exactly one good lepton; functions give the pT of the objects.

    `also` names branches that are read besides.
    """
    branches = [f"jet_{name}" for name in JET_FIELDS] + [*FLAT, *also]
    branches += [f"electron_{name}" for name in LEPTON_FIELDS if name != "pfreliso04DBCorr"]
    branches += [f"muon_{name}" for name in LEPTON_FIELDS]
    with uproot.open(f"{path}:events") as tree:
        for event in tree.arrays(branches).to_list():
            leptons = [
                (channel, row | {"pt": single(pt(row)), "mass": MASS[channel]})
                for channel, pt in (("electron", electron), ("muon", muon))
                for row in _rows(event, channel)
            ]
            good = [(channel, row) for channel, row in leptons if _is_good(row)]
            others = [row for _, row in leptons if not _is_good(row)]
            if len(good) != 1:
                continue
            jets = []
            for row in _rows(event, "jet"):
                pt = single(jet(row))
                if pt > 30 and abs(row["eta"]) < 2.4:
                    scale = pt / row["corrpt"] if mass_scales else 1.0
                    jets.append(row | {"pt": pt, "mass": row["corrmass"] * scale})
            row = {"pt": event["met_pt"], "phi": event["met_phi"]}
            yield Event(*good[0], jets, row | {"pt": single(met(row))}, event, others)


def single(value: float) -> float:
    return float(np.float32(value))


def _rows(event: dict[str, Any], collection: str) -> list[Row]:
    prefix = f"{collection}_"
    columns = {n.removeprefix(prefix): v for n, v in event.items() if n.startswith(prefix)}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _is_good(row: Row) -> bool:
    kinematics = row["pt"] > 30 and abs(row["eta"]) < 2.1
    return bool(
        kinematics
        and row["isTight"] == 1
        and row["sip3d"] < 4
        and row.get("pfreliso04DBCorr", 0) < 0.15
    )


def four_vector(row: Row) -> tuple[float, float, float, float]:
    x, y = row["pt"] * math.cos(row["phi"]), row["pt"] * math.sin(row["phi"])
    z = row["pt"] * math.sinh(row["eta"])
    return x, y, z, math.sqrt(x * x + y * y + z * z + row["mass"] ** 2)


def mass(*rows: Row) -> float:
    x, y, z, energy = (sum(parts) for parts in zip(*map(four_vector, rows), strict=True))
    return math.sqrt(max(0.0, energy**2 - x * x - y * y - z * z))


def delta_r(one: Row, two: Row) -> float:
    delta_phi = (one["phi"] - two["phi"] + math.pi) % (2 * math.pi) - math.pi
    return math.hypot(one["eta"] - two["eta"], delta_phi)


def top_mass(event: Event) -> float:
    """Mass of the tagged three jets with the largest pT; NaN without any."""
    best, found = -1.0, math.nan
    n = len(event.jets)
    for i in range(n):
        for j in range(i + 1, n):
            for k in range(j + 1, n):
                three = [event.jets[place] for place in (i, j, k)]
                x, y, *_ = (sum(parts) for parts in zip(*map(four_vector, three), strict=True))
                if any(jet["btag"] >= 0.8 for jet in three) and x * x + y * y > best:
                    best, found = x * x + y * y, mass(*three)
    return found


def read(path: Path, **metadata: Any) -> Any:
    """Read the events of a file for `process`."""
    told = {"dataset": "set", "process": "ttbar", **metadata}
    return NanoEventsFactory.from_root(
        {path: "events"}, schemaclass=AGCSchema, metadata=told
    ).events()


def process(analysis: TtbarAnalysis, path: Path, **metadata: Any) -> dict[str, Any]:
    output: dict[str, Any] = analysis.process(read(path, **metadata))["set"]
    return output


def seen_by_a_function(path: Path, uses: Iterable[str] = (), **metadata: Any) -> Selection:
    """Catch what a region's functions are given."""
    caught: list[Selection] = []

    def where(s: Selection) -> Any:
        caught.append(s)
        return s.n_jets >= 0

    region = Region("any", where, lambda s: s.ht, uses=frozenset(uses))
    process(TtbarAnalysis(regions=[region]), path, **metadata)
    return caught[0]


def assert_filled(
    histogram: Any, values: Iterable[tuple[str, float, float]], **categories: str
) -> None:
    """Hold an observable's bins against (channel, value, weight) of a plain loop."""
    axis = histogram.axes[0]
    low, high, n = axis.edges[0], axis.edges[-1], len(axis)
    want: dict[str, Any] = {}
    for channel, value, weight in values:
        place = n if math.isnan(value) else math.floor((value - low) / (high - low) * n)
        bins = want.setdefault(channel, np.zeros(n + 2))
        bins[max(-1, min(n, place)) + 1] += weight
    assert want.keys() == {"electron", "muon"}, "the comparison has content"
    for channel, bins in want.items():
        assert bins.sum() > 10, "the comparison has content"
        got = histogram[{**categories, "channel": channel}].values(flow=True)
        np.testing.assert_allclose(got, bins, rtol=1e-9, err_msg=f"{categories} {channel}")
