"""Processors of coffea alone, as the lesson writes them, and what a run gives of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import hist
import pytest
import uproot
from coffea.processor import ProcessorABC, accumulate

from analysis.common.errors import OutputError
from analysis.datasets.catalogue import Catalogue
from analysis.execution.processor import CatalogueProcessor
from analysis.execution.runner import Result, run
from analysis.execution.settings import Execution, Limits
from schemas import MuonTreeSchema
from tests.execution.small import CHUNK, EVENTS, make_files, process
from tests.ntuples import write_random

NAMES = ["a.root", "b.root"]


class Plain(ProcessorABC):
    def __init__(
        self, give: Callable[[Any], Any], finish: Callable[[Any], Any] = lambda output: output
    ) -> None:
        self.give = give
        self.finish = finish

    def process(self, events: ak.Array) -> Any:
        return self.give(events)

    def postprocess(self, accumulator: Any) -> Any:
        return self.finish(accumulator)


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return make_files(tmp_path, NAMES)


def result_of(catalogue: Catalogue, *functions: Callable[[Any], Any]) -> Result:
    execution = Execution(chunk_size=CHUNK)
    return run(Plain(*functions), catalogue, execution=execution, schema=MuonTreeSchema)


class Declared(CatalogueProcessor):
    """Reads what it is given, and declares one column."""

    def __init__(self, read: Callable[[Any], Any]) -> None:
        self.read = read

    def columns(self, _: Any) -> frozenset[str]:
        return frozenset({"met.pt"})

    def process(self, events: ak.Array) -> Any:
        return {"counts": {"events": len(events), "read": float(ak.sum(self.read(events)))}}


@pytest.mark.parametrize(
    ("read", "branch"),
    [
        (lambda e: e.jet.pt, "jet_corrpt"),
        (lambda e: e.trig.IsoMu20, "trig_Ele22_eta2p1_WPLoose_Gsf"),
    ],
)
def test_a_collection_that_was_not_declared_is_answered_so(
    tmp_path: Path, read: Callable[[Any], Any], branch: str
) -> None:
    path = write_random(tmp_path / "a.root", 20, seed=1)
    dataset = {"process": "ttbar", "kind": "signal", "files": {path.name: 20}}
    catalogue = Catalogue.model_validate({"base": str(tmp_path), "datasets": {"a": dataset}})
    result = run(Declared(lambda events: events.met.phi), catalogue)
    assert result.ledger.complete
    (failure,) = run(Declared(read), catalogue).ledger.failures
    said = f"branch '{branch}' is in {path}, but of no collection with a declared column"
    assert failure.reason == said


def booked(events: ak.Array) -> hist.Hist:
    histogram = hist.Hist.new.Reg(1, 0, 1e6).Weight()
    return histogram.fill(ak.sum(events.muon.pt, axis=1))


def name(events: ak.Array) -> str:
    return str(events.metadata["dataset"])


def test_a_histogram_by_dataset(catalogue: Catalogue) -> None:
    result = result_of(catalogue, lambda events: {name(events): booked(events)})
    assert result.ledger.complete
    assert [h.sum().value for h in result.output.values()] == [EVENTS, EVENTS]


def test_one_histogram_and_numbers_made_of_it(catalogue: Catalogue) -> None:
    result = result_of(catalogue, booked, lambda h: float(h.sum().value))
    assert result.ledger.complete
    assert result.output == 2 * EVENTS


def test_arrays_of_the_chunks_come_in_their_order(catalogue: Catalogue, tmp_path: Path) -> None:
    result = result_of(catalogue, lambda events: {name(events): {"pt": [events.muon.pt]}})
    found = result.output["data__a"]["pt"]
    assert len(found) == EVENTS // CHUNK
    with uproot.open(tmp_path / NAMES[0]) as file:
        wanted = file["Events"]["Muon_pt"].array()
    assert ak.concatenate(found).to_list() == wanted.to_list()
    assert not found[0].attrs


def test_arrays_that_would_be_added_up_are_refused(catalogue: Catalogue) -> None:
    result = result_of(catalogue, lambda events: {name(events): {"pt": events.muon.pt}})
    assert result.output == {}
    reasons = {failure.reason for failure in result.ledger.failures}
    assert len(reasons) == 1
    assert reasons.pop().startswith("pt is an array: return a list of arrays")


def test_what_finishes_the_output_is_not_called_where_there_is_none(catalogue: Catalogue) -> None:
    result = result_of(catalogue, lambda _: 1 / 0, lambda output: output["missing"])
    assert result.output == {}
    assert "ZeroDivisionError" in repr(result)


def test_a_result_is_of_one_run(catalogue: Catalogue) -> None:
    """Neither the output of another one nor the sum of two goes with a ledger."""
    whole, part = process(catalogue), process(catalogue, limits=Limits(max_events=CHUNK))
    together = accumulate([whole.output, process(catalogue).output])
    for output, ledger in ((whole.output, part.ledger), (together, whole.ledger)):
        with pytest.raises(OutputError, match=r"data__a: the output has .* of different runs"):
            Result(output, ledger)
    with pytest.raises(TypeError):
        whole + part  # type: ignore[operator]


def test_a_result_is_shown_in_a_line(catalogue: Catalogue) -> None:
    assert repr(process(catalogue)) == f"<Result: {2 * EVENTS} events of data__a, data__b>"
