"""What figures say: labels, units, luminosity, ratio; judged on the drawn objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot as plt

from analysis import results, stages
from analysis.datasets.catalogue import Catalogue
from analysis.execution.runner import run
from analysis.inference.config import InferenceConfig
from analysis.inference.fit import Parameter, Yields
from analysis.plotting.captions import Caption
from analysis.plotting.figures import (
    control_figure,
    make_figures,
    region_figure,
    variations_figure,
)
from analysis.plotting.fit import yields_figure
from analysis.plotting.parameters import reach
from analysis.plotting.style import style
from analysis.postprocess.normalisation import Normalised
from analysis.processor import TtbarAnalysis


@pytest.fixture(scope="module")
def normalised(tmp_path_factory: pytest.TempPathFactory, catalogue: Catalogue) -> Normalised:
    folder = tmp_path_factory.mktemp("figures")
    result = run(TtbarAnalysis(), catalogue)
    results.save_run(folder, result.output, result.ledger)
    return stages.normalise(folder)


@pytest.fixture(autouse=True)
def _closed_figures() -> object:
    with style():
        yield
        plt.close("all")


def test_a_region_shows_prediction_data_and_ratio(normalised: Normalised) -> None:
    main, ratio = region_figure(normalised, "4j2b").axes
    legend = main.get_legend()
    texts = [text.get_text() for text in legend.get_texts()]
    assert set(texts) == {"Data", "Stat. uncertainty", r"$t\bar{t}$", "W+jets", "tW"}
    assert main.get_ylabel() == "Events / 20 GeV"
    assert ratio.get_xlabel() == r"$m_{bjj}$ [GeV]"
    assert ratio.get_ylabel() == "Data / pred."
    assert "Private" in main.get_title(loc="left")
    assert main.get_title(loc="right") == "100 pb$^{-1}$ (13 TeV)"

    observable = normalised.histograms["observable"][{"region": "4j2b", "channel": sum}]
    nominal = observable[{"variation": "nominal"}]
    data = nominal[{"process": "data"}].values()
    total = sum(nominal[{"process": p}].values() for p in ("ttbar", "wjets", "single_top_tW"))
    drawn = main.containers[-1].lines[0].get_ydata()
    np.testing.assert_allclose(drawn, data[data > 0])
    seen = ratio.containers[-1].lines[0].get_ydata()
    np.testing.assert_allclose(seen, (data / total)[data > 0])
    assert main.get_ylim()[1] > total.max()


@pytest.mark.parametrize(
    ("labels", "observed", "said"),
    [
        ({}, "data", "Data"),
        ({"data": "Pseudo-data"}, "data", "Pseudo-data"),
        ({"data": "Pseudo-data"}, "asimov", "Asimov data"),
    ],
)
def test_figures_of_a_fit_say_what_was_observed(
    normalised: Normalised, labels: dict[str, str], observed: str, said: str
) -> None:
    ledger = normalised.ledger.model_copy(update={"labels": labels})
    caption = Caption.of(normalised._replace(ledger=ledger), InferenceConfig().binning, observed)
    assert caption.observed == said


@pytest.mark.parametrize(
    ("observed", "label"), [("data", "CMS Open Data"), ("asimov", "CMS Open Data Simulation")]
)
def test_figures_of_a_fit_say_whose_events_as_those_of_the_run(
    normalised: Normalised, observed: str, label: str
) -> None:
    ledger = normalised.ledger.model_copy(update={"figure_label": "CMS Open Data"})
    luminosity = {"electron": 987.6, "muon": 1013.2}
    scaling = normalised.normalisation.model_copy(
        update={"luminosity": luminosity, "complete": False}
    )
    shown = normalised._replace(ledger=ledger, normalisation=scaling)
    caption = Caption.of(shown, InferenceConfig().binning, observed)
    assert caption.label == f"{label}, incomplete"
    assert caption.simulation == "CMS Open Data Simulation, incomplete"
    assert caption.luminosity == r"987.6 (e), 1013 ($\mu$)"


def test_figures_without_data_say_simulation(normalised: Normalised) -> None:
    main = variations_figure(normalised, "4j1b", "ttbar").axes[0]
    assert "Simulation" in main.get_title(loc="left")
    assert "Simulation" not in region_figure(normalised, "4j1b").axes[0].get_title(loc="left")


def test_nothing_beyond_the_axis_of_a_fits_figure_is_lost() -> None:
    parameters = [
        Parameter(name=name, value=0, error=1, pull=pull, constraint=0.5)
        for name, pull in (("one", -4.5), ("two", 1.0), ("free", None))
    ]
    assert reach(parameters, 3.0) == pytest.approx(1.05 * 5.0)
    assert reach(parameters[1:], 3.0) == 3.0
    yields = Yields(
        channel="A", data=[30.0, 4.0, 10.0], samples=["ttbar"], prefit=[[10.0] * 3],
        prefit_error=[1.0] * 3, prefit_total_error=1.0, postfit=[[10.0] * 3],
        postfit_error=[1.0] * 3, postfit_total_error=1.0,
    )  # fmt: skip
    ratio = yields_figure(yields, Caption("label")).axes[2]
    marked = [list(line.get_xdata()) for line in ratio.lines if line.get_marker() in ("^", "v")]
    assert marked == [[1.0], [2.0]]


def test_variations_stand_in_groups_with_their_ratio(normalised: Normalised) -> None:
    axes = variations_figure(normalised, "4j1b", "ttbar").axes
    assert len(axes) == 2 * 3  # jets, b tag, samples
    texts = {t.get_text() for a in axes if a.get_legend() for t in a.get_legend().get_texts()}
    assert texts == {"nominal", *normalised.normalisation.variations["ttbar"]}


def test_no_variation_is_behind_the_legend(normalised: Normalised) -> None:
    figure = variations_figure(normalised, "4j1b", "ttbar")
    figure.draw_without_rendering()
    for main in figure.axes[:3]:
        highest = max(float(np.max(patch.get_data().values)) for patch in main.patches)
        top = main.transData.transform((0, highest))[1]
        assert main.get_legend().get_window_extent().y0 > top


def test_control_figures_have_a_column_for_each_channel(normalised: Normalised) -> None:
    axes = control_figure(normalised, "control/n_jets").axes
    assert len(axes) == 4
    assert axes[0].get_ylabel() == "Events"
    assert axes[2].get_xlabel() == "Jets"


def test_a_run_without_data_says_simulation(tmp_path: Path, catalogue: Catalogue) -> None:
    result = run(TtbarAnalysis(), catalogue.select(processes=["ttbar"]))
    results.save_run(tmp_path, result.output, result.ledger)
    main, ratio = region_figure(stages.normalise(tmp_path), "4j1b").axes
    assert "Simulation" in main.get_title(loc="left")
    assert ratio.collections  # its statistical uncertainty, where there are no points


def test_a_process_with_alternative_samples_alone_has_no_yield(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    result = run(TtbarAnalysis(), catalogue.select(datasets=["ttbar__scaleup", "wjets__nominal"]))
    folder = tmp_path / "run"
    folder.mkdir()
    results.save_run(folder, result.output, result.ledger)
    normalised = stages.normalise(folder)
    assert list(normalised.labels) == ["wjets"]
    (_, _, *rows) = (folder / results.YIELDS_TABLE).read_text(encoding="utf-8").splitlines()
    assert [row.split()[1] for row in rows if row.startswith("|")] == ["wjets", "prediction"]


def test_luminosities_of_two_streams_and_none(normalised: Normalised) -> None:
    for luminosity, text in (
        ({"electron": 20.0, "muon": 60.0}, r"20 (e), 60 ($\mu$) pb$^{-1}$ (13 TeV)"),
        ({}, "(13 TeV)"),
    ):
        scaling = normalised.normalisation.model_copy(update={"luminosity": luminosity})
        main, _ = region_figure(normalised._replace(normalisation=scaling), "4j1b").axes
        assert main.get_title(loc="right") == text


def test_an_incomplete_run_says_so(normalised: Normalised) -> None:
    scaling = normalised.normalisation.model_copy(update={"complete": False})
    main, _ = region_figure(normalised._replace(normalisation=scaling), "4j1b").axes
    assert "incomplete" in main.get_title(loc="left")


@pytest.mark.full
def test_the_same_results_give_the_same_files_whoever_draws(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    """Of one process and one control plot: the others are drawn alike."""
    result = run(TtbarAnalysis(), catalogue.select(["ttbar__nominal"]))
    results.save_run(tmp_path, result.output, result.ledger)
    normalised = results.normalise(tmp_path)
    kept = {name: normalised.histograms[name] for name in ("observable", "control/met")}
    few = normalised._replace(histograms=kept)
    one = make_figures(few, tmp_path / "one")
    two = make_figures(few, tmp_path / "two", processes=2)
    assert {path.stem for path in one} >= {"4j2b", "variations_4j2b_ttbar", "control_met"}
    assert [path.name for path in one] == [path.name for path in two]
    for first, second in zip(one, two, strict=True):
        assert first.read_bytes() == second.read_bytes(), first.name
