"""What figures say: labels, units, luminosity, ratio; judged on the drawn objects."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import StepPatch

from analysis import results, stages
from analysis.common.errors import OutputError
from analysis.datasets.catalogue import Catalogue
from analysis.execution.runner import run
from analysis.inference.config import InferenceConfig
from analysis.inference.fit import Parameter, Yields
from analysis.plotting.captions import Caption, FitCaption, run_caption
from analysis.plotting.content import Part, Stack
from analysis.plotting.figures import (
    _compare,
    control_figure,
    make_figures,
    region_figure,
    variations_figure,
)
from analysis.plotting.fit import yields_figure
from analysis.plotting.parameters import reach
from analysis.plotting.stacks import draw_stack
from analysis.plotting.style import annotate, one_panel, panels, save_figures, style
from analysis.postprocess.normalisation import Normalised
from analysis.processor import TtbarAnalysis
from tests.conftest import PROJECT


@pytest.fixture(autouse=True)
def _project_style() -> Iterator[None]:
    with style():
        yield


def _above(axes: Axes) -> list[str]:
    """What is written above the axes, from left to right."""
    return [text.get_text() for text in axes.texts if text.get_text()]


def _legend(axes: Axes) -> list[str]:
    legend = axes.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def _relabelled(results: Normalised, **changes: object) -> Normalised:
    return results._replace(ledger=results.ledger.model_copy(update=changes))


def _stack(parts: int, variations: int = 0, height: float = 10.0, label: str = "process") -> Stack:
    varied = {
        f"pdf_{i // 2:02d}_{('up', 'down')[i % 2]}": np.full(5, height + i)
        for i in range(variations)
    }
    every = [
        Part(f"p{i}", f"{label} {i}", f"#{i:06x}", np.full(5, height), np.ones(5), 5 * height, varied)
        for i in range(parts)
    ]  # fmt: skip
    return Stack("region", np.linspace(0, 100, 6), every, None, "$m$ [GeV]", "4 jets")


def test_a_region_shows_prediction_data_and_ratio(normalised: Normalised) -> None:
    main, ratio = region_figure(normalised, "4j2b").axes
    assert set(_legend(main)) == {"Data", "Stat. uncertainty", r"$t\bar{t}$", "W+jets", "tW"}
    assert main.get_ylabel() == "Events / 20 GeV"
    assert ratio.get_xlabel() == r"$m_{bjj}$ [GeV]"
    assert ratio.get_ylabel() == "Data / pred."
    assert _above(main) == ["Private work", "100 pb$^{-1}$ (13 TeV)"]

    observable = normalised.histograms["observable"][{"region": "4j2b", "channel": sum}]
    nominal = observable[{"variation": "nominal"}]
    data = nominal[{"process": "data"}].values()
    total = sum(nominal[{"process": p}].values() for p in ("ttbar", "wjets", "single_top_tW"))
    shown = (data > 0) | (total > 0)
    drawn = main.containers[-1].lines[0].get_ydata()
    np.testing.assert_allclose(drawn, data[shown])
    seen = ratio.containers[-1].lines[0].get_ydata()
    np.testing.assert_allclose(seen, (data / total)[total > 0])
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
    shown = _relabelled(normalised, labels=labels)
    assert FitCaption.of(shown, InferenceConfig().binning, observed).observed == said


@pytest.mark.parametrize(
    ("observed", "label"), [("data", "CMS Open Data"), ("asimov", "CMS Open Data Simulation")]
)
def test_figures_of_a_fit_say_whose_events_as_those_of_the_run(
    normalised: Normalised, observed: str, label: str
) -> None:
    luminosity = {"electron": 987.6, "muon": 1013.2}
    scaling = normalised.normalisation.model_copy(
        update={"luminosity": luminosity, "missing": ["a file"]}
    )
    shown = _relabelled(normalised, figure_label="CMS Open Data")._replace(normalisation=scaling)
    caption = FitCaption.of(shown, InferenceConfig().binning, observed)
    assert caption.above.label == f"{label}, incomplete"
    assert caption.simulation.label == "CMS Open Data Simulation, incomplete"
    assert caption.above.luminosity == r"987.6 (e), 1013 ($\mu$)"


def test_figures_without_data_say_simulation(normalised: Normalised) -> None:
    assert "Simulation" in _above(variations_figure(normalised, "4j1b", "ttbar").axes[0])[0]
    assert "Simulation" not in _above(region_figure(normalised, "4j1b").axes[0])[0]


def test_nothing_beyond_the_axis_of_a_fits_figure_is_lost() -> None:
    parameters = [
        Parameter(name=name, value=0, error=1, pull=pull, constraint=0.5)
        for name, pull in (("one", -4.5), ("two", 1.0), ("free", None))
    ]
    assert reach(parameters, 3.0) == pytest.approx(1.05 * 5.0)
    assert reach(parameters[1:], 3.0) == 3.0
    yields = Yields(
        channel="A", data=[30.0, 4.0, 10.0, 0.0], samples=["ttbar"], prefit=[[10.0] * 4],
        prefit_error=[1.0] * 4, prefit_total_error=1.0, postfit=[[10.0] * 4],
        postfit_error=[1.0] * 4, postfit_total_error=1.0,
    )  # fmt: skip
    caption = FitCaption(Caption("label"), Caption("label"))
    ratio = yields_figure(yields, caption).axes[2]
    marked = [list(line.get_xdata()) for line in ratio.lines if line.get_marker() in ("^", "v")]
    assert marked == [[1.0], [2.0, 4.0]]


def test_variations_stand_in_groups_with_their_ratio(normalised: Normalised) -> None:
    axes = variations_figure(normalised, "4j1b", "ttbar").axes
    assert len(axes) == 2 * 3  # jets, b tag, samples
    jets, btag, samples = (set(_legend(main)) for main in axes[:3])
    words = {"nominal", "nominal, stat.", "up", "down"}
    assert jets - words == {"pt_scale", "pt_res"}
    assert btag - words == {f"btag_var_{i}" for i in range(4)}
    assert "scale" in samples


@pytest.mark.parametrize("count", [1, 2, 6, 26, 30, 60, pytest.param(200, marks=pytest.mark.full)])
def test_any_number_of_variations_can_be_seen(count: int) -> None:
    stack = _stack(1, count)
    figure, [(main, ratio)] = panels()
    _compare(main, ratio, stack, stack.parts[0], list(stack.parts[0].varied))
    low, high = main.get_ylim()
    highest = 10.0 + count - 1
    assert low == 0
    assert 0.25 * high < highest < high
    figure.draw_without_rendering()
    _nothing_behind_the_legend(main, highest)


@pytest.mark.parametrize("count", [1, 12, pytest.param(40, marks=pytest.mark.full)])
@pytest.mark.parametrize("label", ["W", "a process with a long label, and more"])
def test_no_process_is_behind_the_legend(count: int, label: str) -> None:
    stack = _stack(count, label=label)
    figure, [(main, ratio)] = panels()
    draw_stack(main, ratio, stack)
    figure.draw_without_rendering()
    _nothing_behind_the_legend(main, stack.highest)
    assert len(_legend(main)) == count + 1
    legend = main.get_legend()
    assert legend is not None
    assert legend.get_window_extent().width <= main.bbox.width


def _nothing_behind_the_legend(main: Axes, highest: float) -> None:
    legend = main.get_legend()
    assert legend is not None
    assert legend.get_window_extent().y0 > main.transData.transform((0, highest))[1]
    assert legend.get_window_extent().y1 <= main.bbox.y1


@pytest.mark.parametrize("height", [1e5, 3e6, 1e12])
def test_the_multiplier_of_an_axis_is_apart_from_the_words(height: float) -> None:
    figure, [(main, ratio)] = panels()
    draw_stack(main, ratio, _stack(2, height=height))
    annotate(main, Caption("CMS Open Data", "100", "13 TeV"))
    figure.draw_without_rendering()
    offset = main.yaxis.get_offset_text()
    assert offset.get_text() or height < 1e6
    for text in main.texts:
        assert not text.get_window_extent().overlaps(offset.get_window_extent()), text


@pytest.mark.parametrize(
    "label",
    ["CMS Open Data: $new {a_b}^2 \\alpha R&D~", "Draft #1, 100% checked", "$x$", "CMSSW", "_a"],
)
def test_a_label_is_drawn_as_it_is_written(label: str) -> None:
    figure, axes = one_panel()
    annotate(axes, Caption(label))
    figure.draw_without_rendering()
    drawn = [text._preprocess_math(text.get_text()) for text in axes.texts]
    assert not any(is_formula for _, is_formula in drawn)
    assert " ".join(text for text, _ in drawn if text) == label


def test_words_above_the_axes_do_not_meet() -> None:
    figure, axes = one_panel()
    annotate(
        axes, Caption("CMS Open Data " + "and many words " * 5, "987.6 (e), 1013 (m)", "13 TeV")
    )
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert boxes[0].x1 <= boxes[1].x0
    assert boxes[1].x1 <= boxes[2].x0
    assert boxes[2].x1 <= axes.bbox.x1 + 1


def test_a_process_whose_label_begins_with_an_underscore_is_in_the_legend(
    normalised: Normalised,
) -> None:
    labels = normalised.ledger.labels | {"wjets": "_other", "single_top_tW": r"V$_{$"}
    main = region_figure(_relabelled(normalised, labels=labels), "4j1b").axes[0]
    assert {"_other", r"V\$_{\$"} < set(_legend(main))


def test_control_figures_have_a_column_for_each_channel(normalised: Normalised) -> None:
    axes = control_figure(normalised, "control/n_jets").axes
    assert len(axes) == 4
    assert axes[0].get_ylabel() == "Events"
    assert axes[2].get_xlabel() == "Jets"


def test_a_figure_of_what_is_not_there_is_refused(normalised: Normalised) -> None:
    with pytest.raises(OutputError, match="did you mean '4j2b'"):
        region_figure(normalised, "4j2B")
    with pytest.raises(OutputError, match="did you mean 'ttbar'"):
        variations_figure(normalised, "4j2b", "tbar")


def test_a_run_without_data_says_simulation(tmp_path: Path, catalogue: Catalogue) -> None:
    result = run(TtbarAnalysis(), catalogue.select(processes=["ttbar"]))
    results.save_run(tmp_path, result.output, result.ledger)
    main, ratio = region_figure(stages.normalise(tmp_path), "4j1b").axes
    assert "Simulation" in _above(main)[0]
    # Its statistical uncertainty, where there are no points.
    assert [patch.get_hatch() for patch in ratio.patches if isinstance(patch, StepPatch)]


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
        assert _above(main)[-1] == text


def test_an_incomplete_run_says_so(normalised: Normalised) -> None:
    scaling = normalised.normalisation.model_copy(update={"missing": ["a file"]})
    caption = run_caption(normalised._replace(normalisation=scaling))
    assert caption.label == "Private work, incomplete"


@pytest.mark.full
def test_the_same_results_give_the_same_files_whoever_draws(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    """Of one process and one control plot: the others are drawn alike."""
    result = run(TtbarAnalysis(), catalogue.select(["ttbar__nominal"]))
    results.save_run(tmp_path, result.output, result.ledger)
    normalised = stages.normalise(tmp_path)
    kept = {name: normalised.histograms[name] for name in ("observable", "control/met")}
    few = normalised._replace(histograms=kept)
    one = make_figures(few, tmp_path / "one")
    two = make_figures(few, tmp_path / "two", processes=2)
    assert {path.stem for path in one} >= {"4j2b", "variations_4j2b_ttbar", "control_met"}
    assert [path.name for path in one] == [path.name for path in two]
    for first, second in zip(one, two, strict=True):
        assert first.read_bytes() == second.read_bytes(), first.name
        assert b"/Type3" not in first.read_bytes()


SETTINGS = {
    "text.usetex": True, "savefig.bbox": "tight", "axes.grid": True, "hatch.linewidth": 5.0,
    "figure.constrained_layout.use": True, "text.color": "white", "axes.facecolor": "black",
    "savefig.facecolor": "black", "lines.linewidth": 8.0, "errorbar.capsize": 10.0,
    "font.family": ["serif"], "pdf.fonttype": 3, "axes.formatter.limits": [-1, 1],
}  # fmt: skip


@pytest.mark.full
def test_a_users_own_settings_decide_nothing(normalised: Normalised, tmp_path: Path) -> None:
    drawing = [(("a",), lambda: region_figure(normalised, "4j1b"))]
    usual = save_figures(drawing, tmp_path / "usual")
    with mpl.rc_context(SETTINGS):
        other = save_figures(drawing, tmp_path / "other")
    assert [path.read_bytes() for path in usual] == [path.read_bytes() for path in other]


@pytest.mark.full
def test_a_backend_of_another_environment_is_not_asked_for() -> None:
    script = (
        "from analysis.plotting.style import one_panel, style\n"
        "import io\n"
        "with style():\n"
        "    one_panel()[0].savefig(io.BytesIO(), format='png')\n"
    )
    environment = {"MPLBACKEND": "module://backend_of_another_environment", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PROJECT,
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_figures_of_names_that_are_alike_are_two_and_old_ones_go(tmp_path: Path) -> None:
    (tmp_path / "fit_yields_old.png").touch()
    (tmp_path / "4j1b.png").touch()
    names = [("fit", "yields", "SR-1"), ("fit", "yields", "SR_1"), ("fit", "yields", "../SR 1")]
    paths = save_figures(
        [(name, lambda: one_panel()[0]) for name in names], tmp_path, ["png"], instead_of="fit_*"
    )
    assert len(set(paths)) == 3
    assert {path.parent for path in paths} == {tmp_path}
    assert not (tmp_path / "fit_yields_old.png").exists()
    assert (tmp_path / "4j1b.png").exists()
    assert all(re.fullmatch(r"[\w.-]+", path.name) for path in paths)
