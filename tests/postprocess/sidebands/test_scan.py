"""The scan of regions: by hand, corrected for what a window holds, failures listed."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from hist import Hist
from scipy.stats import norm

from analysis.common.errors import SidebandError
from analysis.postprocess.sidebands.counts import SidebandRegions, estimate
from analysis.postprocess.sidebands.scan import Scan, scan
from analysis.postprocess.windows import Window

REGIONS = SidebandRegions(lower=Window(2, 4), signal=Window(4, 6), upper=Window(6, 8))
COUNTS = ("average", "linear")
PEAK_CDF: Any = partial(norm.cdf, loc=5, scale=0.4)


def flat_with_peak() -> Hist:
    """100 background events in each of 40 bins, 5000 signal events, without fluctuations."""
    content = Hist.new.Reg(40, 0, 10).Weight()
    edges = content.axes[0].edges
    values = 100 + 5000 * np.diff(PEAK_CDF(edges))
    content.values()[:] = content.variances()[:] = values
    return content


def test_first_row_is_the_nominal_estimate() -> None:
    content = flat_with_peak()
    result = scan(content, REGIONS, 0.25, methods=COUNTS)
    expected = estimate(content, REGIONS)
    assert (result.nominal.choice, result.nominal.method) == ("nominal", "average")
    assert result.nominal.signal == expected.signal
    assert result.nominal.error == expected.signal_error


def test_corrected_results_agree_and_uncorrected_do_not() -> None:
    """With the known peak every choice gives all of its 5000 events, so the spread vanishes."""
    content = flat_with_peak()
    corrected = scan(content, REGIONS, 0.25, methods=COUNTS, signal_cdf=PEAK_CDF)
    assert [row.signal for row in corrected.rows] == pytest.approx([5000] * len(corrected.rows))
    assert corrected.spread == pytest.approx(0, abs=1e-6)
    plain = scan(content, REGIONS, 0.25, methods=COUNTS)
    assert plain.spread > 10
    assert plain.largest.choice == "window narrower"


def test_spread_by_hand() -> None:
    rows = scan(flat_with_peak(), REGIONS, 0.25, methods=COUNTS).rows[:3]
    moved = [
        row.model_copy(update={"signal": value})
        for row, value in zip(rows, (10.0, 13.0, 6.0), strict=True)
    ]
    result = Scan(rows=tuple(moved), failed=(), corrected=False)
    assert result.spread == pytest.approx(((9 + 16) / 2) ** 0.5)
    assert result.largest.signal == 6.0


def test_two_names_of_one_number_are_one_choice() -> None:
    """Average and linear differ only where the bands are not equally far from the window."""
    result = scan(flat_with_peak(), REGIONS, 0.25, methods=COUNTS)
    seen = [(row.choice, row.method) for row in result.rows]
    assert ("nominal", "linear") not in seen
    assert ("window lower", "linear") in seen
    assert len(seen) == 11 + 4
    assert not result.failed
    for row in result.rows:
        first, second = row.regions.signal.low, row.regions.signal.high
        equal = first - row.regions.lower.low == pytest.approx(row.regions.upper.high - second)
        assert not (equal and row.method == "linear")


def test_a_peak_that_the_bands_hold_as_well_corrects_nothing() -> None:
    """A flat "peak" is all background to the count: no factor brings it back."""
    span = REGIONS.upper.high - REGIONS.lower.low
    with pytest.raises(SidebandError, match="as much of the signal as the window"):
        scan(
            flat_with_peak(), REGIONS, 0.25, methods=COUNTS,
            signal_cdf=lambda x: (x - REGIONS.lower.low) / span,
        )  # fmt: skip


def test_every_change_moves_the_regions() -> None:
    result = scan(flat_with_peak(), REGIONS, 0.25)
    regions = [row.regions for row in result.rows if row.method == "average"]
    assert len(regions) == len({str(r) for r in regions})
    assert {row.method for row in result.rows} == {"average", "linear", "exponential"}
    assert Scan.model_validate_json(result.model_dump_json()) == result


def test_choice_without_result_is_listed() -> None:
    """Two steps outwards leave the axis: listed with the reason, the rest is there."""
    content = flat_with_peak()[8:32]
    result = scan(content, REGIONS, 0.25, methods=("average",))
    assert any(text.startswith("bands apart, average: region") for text in result.failed)
    assert len(result.rows) + len(result.failed) == 11


@pytest.mark.parametrize(
    ("step", "message"), [(0.0, "must be positive"), (-1.0, "must be positive")]
)
def test_step_must_be_positive(step: float, message: str) -> None:
    with pytest.raises(SidebandError, match=message):
        scan(flat_with_peak(), REGIONS, step)


def test_nominal_choice_must_work() -> None:
    with pytest.raises(SidebandError, match="below the axis"):
        scan(flat_with_peak()[12:32], REGIONS, 0.25)
