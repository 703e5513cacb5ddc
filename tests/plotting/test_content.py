"""What figures and page show: numbers computed by another way."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.mathtext import MathTextParser
from scipy.stats import chi2

from analysis.common.errors import OutputError
from analysis.common.names import direction, source
from analysis.inference.fit import Yields
from analysis.plotting.captions import Caption, FitCaption, figure_label, region_title, run_caption
from analysis.plotting.content import (
    Points,
    control_stacks,
    fit_stacks,
    per_bin,
    region_stack,
)
from analysis.plotting.style import colours
from analysis.postprocess.normalisation import Normalised, summed
from analysis.report.stacks import vega_stack


def garwood(n: float) -> tuple[float, float]:
    """Interval of 68.27 % by quantiles of χ²."""
    tail = (1 - 0.6826894921370859) / 2
    low = chi2.ppf(tail, 2 * n) / 2 if n > 0 else 0.0
    return float(low), float(chi2.ppf(1 - tail, 2 * n + 2) / 2)


def test_points_have_garwood_intervals() -> None:
    values = [0.0, 1.0, 4.0, 2.5]
    points = Points.of(range(5), values, expected=[3.0, 0.0, 1.0, 0.0])
    assert list(points.low) == pytest.approx([garwood(n)[0] for n in values])
    assert list(points.high) == pytest.approx([garwood(n)[1] for n in values])
    assert points.high[0] == pytest.approx(1.841, abs=1e-3)


def test_a_bin_that_expects_events_and_has_none_is_drawn() -> None:
    points = Points.of(range(4), [0.0, 0.0, 2.0], expected=[5.0, 0.0, 0.0])
    assert list(points.drawn) == [True, False, True]
    quotient = points.times(1 / np.array([5.0, np.nan, np.nan]))
    assert list(quotient.drawn) == [True, False, False]
    assert quotient.high[0] == pytest.approx(garwood(0)[1] / 5)
    assert points.highest == pytest.approx(garwood(2)[1])


def test_weights_have_symmetric_intervals_and_no_zero() -> None:
    points = Points.of(range(4), [3.0, 0.0, -1.0], variances=[9.0, 0.0, 4.0], expected=1.0)
    assert list(points.low) == [0.0, 0.0, -3.0]
    assert list(points.high) == [6.0, 0.0, 1.0]
    assert list(points.drawn) == [True, False, True]


def test_contents_of_other_widths_are_drawn_in_that_of_the_first() -> None:
    points = Points.of([0.0, 1.0, 3.0], [4.0, 8.0]).per_first_width()
    assert list(points.values) == [4.0, 4.0]
    assert points.high[1] == pytest.approx(garwood(8)[1] / 2)


@pytest.mark.parametrize(
    ("edges", "axis_label", "label"),
    [
        ([0, 20, 40], "$m$ [GeV]", "Events / 20 GeV"),
        ([0, 0.1, 0.2], "angle [rad]", "Events / 0.1 rad"),
        ([0.5, 1.5, 2.5], "Jets", "Events"),
        ([0, 0.2, 0.4], r"$\eta$", "Events / 0.2"),
        ([0, 1, 3], "$m$ [GeV]", "Events / bin"),
    ],
)
def test_the_vertical_axis_says_the_width_of_bins(
    edges: list[float], axis_label: str, label: str
) -> None:
    assert per_bin(np.array(edges), axis_label) == label


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pt_scale_up", ("pt_scale", "up")),
        ("scaledown", ("scale", "down")),
        ("ME_var", ("ME_var", "")),
        ("up", ("up", "up")),
    ],
)
def test_a_variation_has_a_source_and_a_direction(name: str, expected: tuple[str, str]) -> None:
    assert (source(name), direction(name)) == expected


@pytest.mark.parametrize("count", [3, 10, 12, 25, 60])
def test_every_process_has_a_colour_of_its_own(count: int) -> None:
    names = [f"process{i}" for i in range(count)]
    found = list(colours(names).values())
    assert len(set(found)) == count
    assert found[0] == "#bd1f01"
    assert sorted(colours(names, 2).values()) == sorted(found) or count % 10


def test_a_stack_is_the_histograms_of_its_region(normalised: Normalised) -> None:
    stack = region_stack(normalised, "4j2b")
    observable = summed(normalised.histograms["observable"])[{"region": "4j2b"}]
    nominal = observable[{"variation": "nominal"}]
    sums = [part.values.sum() for part in stack.parts]
    assert sums == sorted(sums)
    for part in stack.parts:
        np.testing.assert_array_equal(part.values, nominal[{"process": part.name}].values())
        assert part.events == pytest.approx(nominal[{"process": part.name}].sum(flow=True).value)
        assert set(part.varied) == set(normalised.normalisation.variations[part.name]) - {"nominal"}
    variances = [nominal[{"process": part.name}].variances() for part in stack.parts]
    np.testing.assert_allclose(stack.error, np.sqrt(np.sum(variances, axis=0)))
    assert stack.data is not None
    data = nominal[{"process": "data"}].values()
    np.testing.assert_array_equal(stack.data.values, data)
    np.testing.assert_array_equal(stack.data.drawn, (data > 0) | (stack.total > 0))


def test_the_page_draws_what_the_figures_draw(normalised: Normalised) -> None:
    stack = region_stack(normalised, "4j1b")
    assert stack.data is not None
    rows = vega_stack(stack)["datasets"]
    drawn = stack.data.drawn
    for key, values in (("from", stack.data.low), ("to", stack.data.high)):
        assert [row[key] for row in rows["data"]] == pytest.approx(values[drawn], rel=1e-5)
    total = sum(np.array([r["events"] for r in rows["prediction"] if r["place"] == i])
                for i in range(len(stack.parts)))  # fmt: skip
    np.testing.assert_allclose(total, stack.total, rtol=1e-5)


def test_a_fit_has_the_same_intervals_and_the_uncertainty_of_the_sum() -> None:
    yields = Yields(
        channel="A_1", data=[0.0, 4.0], samples=["big", "small"], prefit=[[9.0, 8.0], [1.0, 2.0]],
        prefit_error=[2.0, 3.0], prefit_total_error=1.0, postfit=[[9.0, 8.0], [1.0, 2.0]],
        postfit_error=[1.0, 1.5], postfit_total_error=1.0,
    )  # fmt: skip
    caption = FitCaption(Caption("a"), Caption("a"))
    stack = fit_stacks(yields, caption)["pre-fit"]
    assert [part.name for part in stack.parts] == ["small", "big"]
    np.testing.assert_allclose(stack.error, [2.0, 3.0])
    assert stack.data is not None
    assert stack.data.high == pytest.approx([garwood(0)[1], garwood(4)[1]])
    assert list(stack.data.drawn) == [True, True]
    assert (stack.across, stack.title) == ("Bin", "A_1, pre-fit")
    overflowing = fit_stacks(yields, caption._replace(overflow=True))["pre-fit"]
    assert overflowing.across == "Bin; end bins include overflow"


@pytest.mark.parametrize(
    ("label", "drawn"),
    [
        (r"$t\bar{t}$", r"$t\bar{t}$"),
        (r"V$_{$+jets", r"V\$_{\$+jets"),
        ("50 $ and more", r"50 \$ and more"),
        (r"$\nosuch$", r"\$\nosuch\$"),
        ("5 $", r"5 \$"),
        ("_other", "_other"),
        ("a\nb", "a b"),
    ],
)
def test_a_label_that_is_no_valid_formula_is_drawn_as_it_is_written(label: str, drawn: str) -> None:
    assert figure_label(label) == drawn


@pytest.mark.parametrize("label", [r"100 % #1 $x_$", "5 $, {", "$|m|$ & 5 $"])
def test_labels_of_regions_channels_and_axes_are_drawn_as_they_are_written(
    normalised: Normalised, label: str
) -> None:
    """One alone may be right where two in a line are not: all are parsed as they are drawn."""
    described = dict(normalised.ledger.analysis)
    for part, words in (("regions", {"axis_label": label}), ("channels", {})):
        described[part] = {
            n: info | {"label": label} | words for n, info in described[part].items()
        }
    ledger = normalised.ledger.model_copy(update={"analysis": described})
    apart = normalised.normalisation.model_copy(
        update={"luminosity": {"electron": 1.0, "muon": 2.0}}
    )
    results = normalised._replace(ledger=ledger, normalisation=apart)
    stacks = [region_stack(results, "4j2b"), *control_stacks(results, "control/met").values()]
    texts = [text for stack in stacks for text in (stack.axis_label, stack.title)]
    for text in (*texts, run_caption(results).luminosity):
        MathTextParser("path").parse(f"{text}, {text}")
    assert figure_label(label) in stacks[0].title
    assert figure_label(label) in run_caption(results).luminosity


def test_what_is_not_there_is_answered_with_what_is(normalised: Normalised) -> None:
    with pytest.raises(OutputError, match="no region '4j2B': did you mean '4j2b'"):
        region_stack(normalised, "4j2B")
    with pytest.raises(OutputError, match="no control histogram 'control/met_': did you mean"):
        control_stacks(normalised, "control/met_")


def test_a_region_whose_label_has_jets_is_not_given_others() -> None:
    assert region_title(r"$\geq$ 4 jets", "1 b tag") == r"$\geq$ 4 jets, 1 b tag"
    assert region_title(r"$\geq$ 3 jets", "e, 3 jets, 1 b tag") == "e, 3 jets, 1 b tag"
    assert region_title("", "1 b tag") == "1 b tag"
