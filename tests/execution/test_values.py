"""Values that cannot be are told, and what would spoil the sums is not added to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from analysis.execution.checked import impossible_values
from analysis.execution.runner import run
from analysis.processor import TtbarAnalysis
from schemas import AGCSchema
from tests.execution.processors import Counting
from tests.execution.small import catalogue_of, make_files, process
from tests.execution.test_runner import one_file
from tests.ntuples import make_events, write


def events(**columns: Any) -> Any:
    return ak.Array({"jet": ak.zip({name: ak.Array(v) for name, v in columns.items()})})


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([[1.0, 2.0], [], [3.0]], ""),
        ([[1.0, np.nan], [], [3.0]], "jet.pt: 1 not finite"),
        ([[np.inf, np.nan], [-np.inf], []], "jet.pt: 3 not finite"),
        ([[1.0, -2.0], [], [-0.5]], "jet.pt: 2 negative"),
        ([[-1.0, np.nan]], "jet.pt: 1 not finite"),
        ([[], []], ""),
        ([[0.0]], ""),
    ],
)
def test_columns(values: Any, found: str) -> None:
    chunk = ak.Array({"jet": ak.zip({"pt": ak.Array(values)})})
    assert impossible_values(chunk, ["jet.pt"]) == found


def test_only_momenta_and_energies_must_not_be_negative() -> None:
    chunk = events(eta=[[-1.0]], corrptUp=[[-1.0]], raw_energy=[[-2.0]], ptr=[[-1]], mass=[[-1.0]])
    columns = [f"jet.{name}" for name in ("eta", "corrptUp", "raw_energy", "mass")]
    assert (
        impossible_values(chunk, columns) == "jet.corrptUp: 1 negative; jet.raw_energy: 1 negative"
    )
    assert impossible_values(chunk, ["jet.ptr"]) == ""


@pytest.mark.filterwarnings("ignore:the filter_branch kwarg:DeprecationWarning")
@pytest.mark.parametrize("rntuple", [False, True])
@pytest.mark.parametrize("change", ["one more", "one less", "moved"])
@pytest.mark.parametrize("branch", ["jet_eta", "jet_corrpt", "muon_isTight"])
def test_lists_of_other_lengths_than_those_of_their_objects(
    tmp_path: Path, branch: str, change: str, rntuple: bool
) -> None:
    """The values would be taken for those of other jets; some of it is no error of any reader."""
    processor = TtbarAnalysis()
    needed = AGCSchema.branches(processor.columns({"process": "ttbar"}))
    events = {name: v for name, v in make_events(50, seed=4).items() if name in needed}
    values = events[branch]
    more = ak.concatenate([values, ak.values_astype([[1]] * 50, values.layout.content.dtype)], 1)
    moved = ak.unflatten(ak.flatten(values), ak.num(values)[::-1])
    events[branch] = {"one more": more, "one less": values[:, 1:], "moved": moved}[change]
    if rntuple:
        with uproot.recreate(tmp_path / "a.root") as file:
            file.mkrntuple("events", events)
    else:
        write(tmp_path / "a.root", events)
    result = run(processor, one_file(tmp_path, "a.root", 50))
    (failure,) = result.ledger.failures
    assert branch in failure.reason
    assert "have lists of other lengths in " in failure.reason
    assert failure.attempts == 1


def test_they_are_reported_by_chunk_and_the_run_is_complete(tmp_path: Path) -> None:
    values = make_events(300, seed=4)
    for branch, wrong in (("muon_sip3d", np.nan), ("jet_corrpt", -1.0)):
        content = ak.to_numpy(ak.flatten(values[branch])).copy()
        content[[10, 20]] = wrong
        values[branch] = ak.unflatten(content, ak.num(values[branch]))
    write(tmp_path / "a.root", values)
    result = run(TtbarAnalysis(), one_file(tmp_path, "a.root", 300))
    (doubtful,) = result.ledger.doubtful
    assert result.ledger.complete
    assert doubtful.found == "jet.pt: 2 negative; muon.sip3d: 2 not finite"
    assert (doubtful.first_event, doubtful.last_event) == (0, 300)


class Spoiled(Counting):
    """Fills a NaN for one file, and miscounts another."""

    def process(self, events: Any) -> Any:
        output = super().process(events)
        name = Path(events.metadata["filename"]).name
        booked = output[events.metadata["dataset"]]
        if name == "nan.root":
            booked["observable"].fill(pt=[10.0], weight=[np.nan])
        if name == "miscounted.root":
            booked["counts"]["events"] += 1
        return output


def test_what_would_spoil_the_sums_fails(tmp_path: Path) -> None:
    names = ["good.root", "better.root", "nan.root", "miscounted.root"]
    catalogue = make_files(tmp_path, names)
    result = process(catalogue, Spoiled(), chunk_size=1000)
    reasons = {Path(f.file).name: f.reason for f in result.ledger.failures}
    assert reasons == {
        "nan.root": "histogram observable: 1 bins are not finite",
        "miscounted.root": "the processor counted 41 events of 40",
    }
    want = process(catalogue_of(tmp_path, names[:2]), chunk_size=1000)
    assert {n: o["counts"] for n, o in result.output.items()} == {
        n: o["counts"] for n, o in want.output.items()
    }
