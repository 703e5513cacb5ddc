"""DimuonAnalysis: masses by hand, against a plain loop, the same from every executor, real J/psi."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
import vector
from hist import Hist

from analysis.common.errors import IncompleteError
from analysis.datasets.bundled import DIMUON_SAMPLE
from analysis.datasets.catalogue import Catalogue, Dataset
from analysis.dimuon.masses import read_masses
from analysis.dimuon.processor import DimuonAnalysis, DimuonError, opposite_sign, pair_mass
from analysis.execution.runner import run
from analysis.execution.settings import Execution
from analysis.postprocess.sidebands.counts import SidebandRegions, estimate
from analysis.postprocess.windows import Window
from schemas import MissingBranchError, MuonTreeSchema

MUON_MASS = 0.10566
JPSI = SidebandRegions(lower=Window(2.8, 3.0), signal=Window(3.0, 3.2), upper=Window(3.2, 3.4))

Event = list[tuple[float, float, float, int]]
"""pt, eta, phi, charge of each muon."""


def random_events(n: int, seed: int = 1) -> list[Event]:
    rng = np.random.default_rng(seed)
    return [
        [
            (rng.exponential(8) + 3, rng.normal(0, 1), rng.uniform(-3, 3), rng.choice([-1, 1]))
            for _ in range(rng.choice([0, 1, 2, 2, 2, 3]))
        ]
        for _ in range(n)
    ]


def write_tree(path: Path, events: list[Event], leave_out: str = "") -> Path:
    columns = {}
    for i, name in enumerate(("pt", "eta", "phi", "charge")):
        kind = np.int32 if name == "charge" else np.float32
        values = [[muon[i] for muon in event] for event in events]
        columns[name] = ak.values_astype(ak.from_iter([*values, [0.0]])[:-1], kind)
    columns["mass"] = ak.full_like(columns["pt"], MUON_MASS)
    kept = {name: values for name, values in columns.items() if name != leave_out}
    with uproot.recreate(path) as file:
        file.mktree(
            "Events",
            {"Muon": f"var * {ak.zip(kept).type.content.content}"},
            counter_name=lambda name: f"n{name}",
            field_name=lambda outer, inner: f"{outer}_{inner}",
        )
        file["Events"].extend({"Muon": ak.zip(kept)})
    return path


def catalogue_of(path: Path, events: int) -> Catalogue:
    dataset = Dataset(process="data", kind="collision", files={path.name: events})
    return Catalogue(tree="Events", base=str(path.parent), datasets={"data__test": dataset})


def plain_mass(first: Any, second: Any) -> float:
    """m² = 2 m² + 2 (E1 E2 - p1 · p2), in double precision."""
    energies, momenta = [], []
    for pt, eta, phi, _ in (first, second):
        p = (pt * math.cos(phi), pt * math.sin(phi), pt * math.sinh(eta))
        momenta.append(p)
        energies.append(math.sqrt(sum(x * x for x in p) + MUON_MASS**2))
    product = sum(a * b for a, b in zip(*momenta, strict=True))
    return math.sqrt(2 * MUON_MASS**2 + 2 * (energies[0] * energies[1] - product))


def muons(*events: list[tuple[float, float, float, float, int]]) -> ak.Array:
    names = ("pt", "eta", "phi", "mass", "charge")
    records = [[dict(zip(names, muon, strict=True)) for muon in event] for event in events]
    return ak.Array(records, with_name="Momentum4D", behavior=vector.backends.awkward.behavior)


def test_masses_by_hand() -> None:
    """Back to back: twice the energy. At a right angle, massless: sqrt(2) times the momentum."""
    pairs = muons(
        [(3.0, 0.0, 0.0, 4.0, 1), (3.0, 0.0, math.pi, 4.0, -1)],
        [(5.0, 0.0, 0.0, 0.0, 1), (5.0, 0.0, math.pi / 2, 0.0, -1)],
    )
    assert pair_mass(pairs) == pytest.approx([10.0, 5 * math.sqrt(2)])


def test_exactly_two_muons_of_opposite_charge() -> None:
    plus, minus = (5.0, 0.0, 0.0, 0.1, 1), (5.0, 0.0, 1.0, 0.1, -1)
    none = [[], [plus], [plus, plus], [minus, minus], [plus, minus, minus], [plus, plus, minus]]
    assert opposite_sign(muons(*none, [plus, minus])).tolist() == [False] * 6 + [True]


def test_a_mass_that_is_not_finite() -> None:
    nan = (math.nan, 0.0, 0.0, 0.1, 1)
    with pytest.raises(DimuonError, match="mass of 1 of 2 muon pairs is not finite"):
        pair_mass(muons([nan, (5.0, 0.0, 0.0, 0.1, -1)], [(5.0, 0.0, 0.0, 0.1, 1)] * 2))


def test_random_trees_like_a_plain_loop(tmp_path: Path) -> None:
    events = random_events(400)
    path = write_tree(tmp_path / "random.root", events)
    expected = [
        plain_mass(*event) for event in events if len(event) == 2 and event[0][3] != event[1][3]
    ]
    result = run(DimuonAnalysis(), catalogue_of(path, 400)).output["data__test"]
    histogram = result["observable"].project("mass")
    edges = histogram.axes[0].edges
    assert len(expected) > 50
    assert histogram.sum(flow=True).value == len(expected)
    # In single precision a mass may be in the bin beside; wide bins hide that.
    counts, _ = np.histogram(expected, bins=edges[::500])
    found = histogram.values().reshape(-1, 500).sum(axis=1)
    assert np.abs(found - counts).sum() <= 2
    assert result["cutflow"]["dimuon"]["opposite charge"]["events"] == len(expected)
    two = sum(len(event) == 2 for event in events)
    assert result["cutflow"]["dimuon"]["two muons"] == {"events": two, "weighted": two}
    assert result["counts"] == {"events": 400, "sum_of_weights": 400.0}


@pytest.mark.full
def test_executors_agree() -> None:
    catalogue = Catalogue.load(DIMUON_SAMPLE)
    executions = [
        Execution(name, workers, chunk_size=3000)
        for name, workers in (("iterative", 1), ("futures", 2), ("dask", 2))
    ]
    results = [run(DimuonAnalysis(), catalogue, execution=chosen) for chosen in executions]
    for first, second in itertools.pairwise(results):
        assert first.output == second.output
        assert second.ledger.complete
    assert results[0].ledger.config_digest == DimuonAnalysis().config.digest
    assert set(results[0].ledger.columns_read) == {
        f"Muon_{name}" for name in ("pt", "eta", "phi", "mass", "charge")
    }


def test_kept_masses_are_those_of_the_histogram() -> None:
    masses = read_masses(DIMUON_SAMPLE, unbinned=True).content
    histogram = read_masses(DIMUON_SAMPLE).content
    assert isinstance(histogram, Hist)
    counts, _ = np.histogram(masses, histogram.axes[0].edges)
    assert counts.sum() > 1000
    assert np.array_equal(counts, histogram.values())


def test_pseudo_data_are_the_sum_of_the_samples() -> None:
    output = run(DimuonAnalysis(), Catalogue.load(DIMUON_SAMPLE)).output
    masses = {name: out["observable"].project("mass") for name, out in output.items()}
    data = masses.pop("data__dimuon")
    assert data.values(flow=True).tolist() == sum(masses.values()).values(flow=True).tolist()


@pytest.mark.shared
def test_jpsi_in_collision_data(shared: Path) -> None:
    """3257 events in the window, 440 and 206 in the bands: from the histogram, by the processor.

    In single precision the mass of one event, 3.0005 GeV, is 2.9997 GeV.
    """
    masses = read_masses(shared / "data" / "cms2012_dimuon.root")
    result = estimate(masses.content, JPSI)
    assert result.in_window == 3257
    assert result.background == pytest.approx((440 + 206) / 2)
    assert result.signal == pytest.approx(2934)
    assert result.signal_error == pytest.approx(58.47, abs=0.01)


@pytest.mark.parametrize("branch", ["charge", "pt"])
def test_a_missing_branch_is_named(tmp_path: Path, branch: str) -> None:
    path = write_tree(tmp_path / "partial.root", random_events(20), leave_out=branch)
    result = run(DimuonAnalysis(), catalogue_of(path, 20))
    with pytest.raises(IncompleteError, match=f"branch 'Muon_{branch}' is not in the file: near"):
        result.ledger.require_complete()


def test_schema_names_the_nearest_column() -> None:
    assert MuonTreeSchema.branches(["muon.pt"]) == {"Muon_pt"}
    with pytest.raises(MissingBranchError, match=r"'muon.p': nearest are muon.pt"):
        MuonTreeSchema.branches(["muon.p"])
