"""A function of the analysis that fails stops the run: it is no fault of the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import pytest

from analysis.common.errors import DefinitionError, EventValueError
from analysis.execution.processor import CatalogueProcessor
from analysis.execution.runner import run
from analysis.execution.settings import Execution
from tests.execution.processors import Counting
from tests.execution.small import make_files, needs_dask


class Failing(Counting):
    """Fails as a part of an analysis does."""

    def process(self, events: ak.Array) -> Any:
        super().process(events)
        msg = "region 'a': no such thing"
        raise EventValueError(msg)


@pytest.mark.parametrize(
    "executor",
    ["iterative", "futures", pytest.param("dask", marks=[needs_dask, pytest.mark.full])],
)
def test_the_first_chunk_stops_the_run(tmp_path: Path, executor: Any) -> None:
    catalogue = make_files(tmp_path, [f"{n}.root" for n in range(20)])
    processor: CatalogueProcessor = Failing(tmp_path / "trace")
    execution = Execution(executor=executor, workers=2, chunk_size=20)
    with pytest.raises(DefinitionError, match=r"^region 'a': no such thing$"):
        run(processor, catalogue, execution=execution, checkpoints=tmp_path / "kept")
    tried = (tmp_path / "trace").read_text(encoding="utf-8").splitlines()
    assert 1 <= len(tried) < 40  # those that workers had got by then
