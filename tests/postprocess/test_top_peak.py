"""The top peak: known truth, data and prediction, fits that fail."""

from __future__ import annotations

from typing import Any

import hist
import numpy as np
import pytest
from hist import Hist
from numpy.random import default_rng

from analysis.common.errors import SidebandError
from analysis.config import TopPeak
from analysis.postprocess.top_peak import (
    TopPeakResult,
    distribution,
    fit_top_peak,
    remarks,
    top_peak_table,
)

SETTINGS = TopPeak()


def observable(
    samples: dict[str, tuple[Any, float]], variations: tuple[str, ...] = ("nominal", "scaleup")
) -> Hist:
    """Process -> masses and the weight of each, in 4j2b; another region and variation besides."""
    content = Hist(
        hist.axis.Regular(25, 50, 550, name="observable"),
        hist.axis.StrCategory(["4j1b", "4j2b"], name="region"),
        hist.axis.StrCategory(list(samples), name="process"),
        hist.axis.StrCategory(variations, name="variation"),
        storage=hist.storage.Weight(),
    )
    for process, (masses, weight) in samples.items():
        for region, variation, factor in (
            ("4j2b", "nominal", 1),
            ("4j1b", "nominal", 7),
            ("4j2b", "scaleup", 9),
        ):
            content.fill(
                observable=masses,
                region=region,
                process=process,
                variation=variation,
                weight=factor * weight,
            )
    return content


def masses(seed: int, n_peak: int, n_below: int) -> Any:
    """A peak at 171 GeV of width 20 GeV over a smooth distribution that reaches all of the range."""
    rng = default_rng(seed)
    below = 60 + 400 * rng.beta(2, 3, n_below)
    return np.concatenate([rng.normal(171, 20, n_peak), below])


def test_peak_and_background_are_recovered() -> None:
    content = observable(
        {
            "data": (masses(1, 4000, 16_000), 1.0),
            "ttbar": (masses(2, 20_000, 50_000), 0.2),
            "wjets": (masses(3, 0, 30_000), 0.2),
        }
    )
    result = fit_top_peak(content, SETTINGS)
    for fits in result.fits.values():
        assert fits.peak is not None
        assert fits.bands is not None
        for name, truth in {"position": 171, "width": 20, "signal": 4000}.items():
            measured = fits.peak.parameters[name]
            assert abs(measured.value - truth) < 3.5 * measured.error
        # 95.5 % of the peak is in the window of 130 to 210 GeV; the rest lifts the bands (by 11 %).
        bands = fits.bands.signal
        assert abs(bands.value - 0.89 * 0.955 * 4000) < 4 * bands.error < 800
        assert fits.leakage == pytest.approx(0.045, abs=0.03)
    assert result.peak_ratio is not None
    ratio, error = result.peak_ratio
    assert abs(ratio - 1) < 3 * error < 0.5
    inside = content[{"region": "4j2b", "variation": "nominal", "process": "wjets"}].values()[4:8]
    assert result.others_in_window == pytest.approx(inside.sum())
    assert result.ttbar_in_window > 4 * result.others_in_window / 3


def test_prediction_is_the_sum_of_the_simulated_processes() -> None:
    content = observable(
        {"data": ([171.0], 1.0), "ttbar": ([171.0], 2.0), "wjets": ([171.0, 90.0], 0.5)}
    )
    prediction = distribution(content, "prediction")
    assert prediction.values().sum() == 3.0
    assert distribution(content, "data").values().sum() == 1.0


def test_without_data_or_prediction() -> None:
    data_only = fit_top_peak(observable({"data": (masses(1, 400, 1600), 1.0)}), SETTINGS)
    assert list(data_only.fits) == ["data"]
    assert data_only.peak_ratio is None
    assert not any("Simulation has" in text for text in remarks(data_only))
    simulated = fit_top_peak(observable({"ttbar": (masses(1, 400, 1600), 1.0)}), SETTINGS)
    assert list(simulated.fits) == ["prediction"]


def test_without_nominal_samples_there_is_nothing_to_fit() -> None:
    alternative = observable({"ttbar": ([171.0], 1.0)}, variations=("scaleup",))
    assert fit_top_peak(alternative, SETTINGS).fits == {}


def test_failed_fit_is_said_and_gives_no_number() -> None:
    result = fit_top_peak(observable({"data": ([171.0, 180.0, 120.0], 1.0)}), SETTINGS)
    assert result.fits["data"].peak is None
    assert any("too few" in reason for reason in result.fits["data"].failed)
    assert any(text.startswith("data: ") for text in remarks(result))
    _, (row,) = top_peak_table(result)
    assert row == ["data", *["-"] * 7]


def test_the_table_has_the_significance_of_the_data() -> None:
    peak = masses(1, 4000, 16_000)
    result = fit_top_peak(observable({"data": (peak, 1.0), "ttbar": (peak, 1.0)}), SETTINGS)
    header, (data, prediction) = top_peak_table(result)
    fitted = result.fits["data"].peak
    assert fitted is not None
    assert fitted.significance is not None
    assert fitted.significance > 10
    place = header.index("local significance")
    assert (data[place], prediction[place]) == (f"{fitted.significance:.1f} σ", "-")


@pytest.mark.full
@pytest.mark.parametrize(("position", "width"), [(250, 15), (171, 90)])
def test_a_fit_that_found_something_else_is_no_peak(position: float, width: float) -> None:
    """Of a bump beside the window, and of one that is as broad as the distribution."""
    rng = default_rng(3)
    values = np.concatenate([rng.normal(position, width, 4000), masses(4, 0, 4000)])
    fits = fit_top_peak(observable({"data": (values, 1.0)}), SETTINGS).fits["data"]
    assert fits.peak is None
    assert any("is not the peak" in reason for reason in fits.failed)


def test_result_is_read_back() -> None:
    result = fit_top_peak(observable({"ttbar": (masses(5, 400, 1600), 1.0)}), SETTINGS)
    assert TopPeakResult.model_validate_json(result.model_dump_json()) == result


def test_window_must_be_inside_and_on_edges() -> None:
    with pytest.raises(ValueError, match="must be inside fit_range"):
        TopPeak(window=(80, 210))
    with pytest.raises(SidebandError, match="cuts the bin from 130 to 150"):
        fit_top_peak(observable({"data": ([171.0], 1.0)}), TopPeak(window=(135, 210)))
