"""What the page says, and that its charts draw what the histograms hold."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vl_convert

from analysis import results, stages
from analysis.cli import main
from analysis.config import AnalysisConfig, Binning
from analysis.dimuon.resonances import PRESETS, analyse
from analysis.inference.measurement import Measurement
from analysis.plotting.captions import FitCaption
from analysis.postprocess.normalisation import Scaling, summed
from analysis.report.charts import plain
from analysis.report.distributions import fit_charts
from analysis.report.loaded import Run, load
from analysis.report.page import render, write
from analysis.report.sections import Difference, differences, shared, toml
from analysis.report.vega import short
from tests.ntuples import write_random

pytestmark = pytest.mark.full


class _Outline(HTMLParser):
    """Elements and their attributes, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def page(finished: Path) -> str:
    path = write(finished)
    assert path.name == "report.html"
    assert path.stat().st_size < 5e6
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def outline(page: str) -> _Outline:
    parser = _Outline()
    # Scripts are not of the page's structure.
    parser.feed(re.sub(r"(<script[^>]*>).*?(?=</script>)", r"\1", page, flags=re.DOTALL))
    return parser


@pytest.fixture(scope="module")
def run(finished: Path) -> Run:
    return load(finished)


def specs(page: str) -> dict[str, dict[str, Any]]:
    found = re.search(r'<script type="application/json" id="specs">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])  # type: ignore[no-any-return]


def test_nothing_is_fetched(outline: _Outline, page: str) -> None:
    for tag, name in (("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src")):
        for attributes in outline.of(tag):
            assert (attributes.get(name) or "data:,").startswith("data:")
    assert "@import" not in page
    assert "url(" not in re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]  # type: ignore[index]


def test_every_figure_has_a_text_alternative_and_its_numbers(outline: _Outline, page: str) -> None:
    figures = outline.of("figure")
    assert [f["data-chart"] for f in figures] == list(specs(page))
    assert {"region_4j1b", "region_4j2b", "control", "fit_A", "fit_B", "pulls", "ranking"} <= set(
        specs(page)
    )
    pictures = [div for div in outline.of("div") if div.get("role") == "img"]
    assert len(pictures) == len(figures)
    assert all(len(picture["aria-label"] or "") > 40 for picture in pictures)
    assert page.count("<summary>Numbers of this figure<") == len(figures)


def test_headings_do_not_skip_a_level_and_links_lead_somewhere(outline: _Outline) -> None:
    levels = [int(tag[1]) for tag, _ in outline.found if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(deeper <= level + 1 for level, deeper in itertools.pairwise(levels))
    names = {attributes["id"] for _, attributes in outline.found if "id" in attributes}
    for link in outline.of("a"):
        assert (link["href"] or "").removeprefix("#") in names


def test_the_charts_are_valid_and_show_the_histograms(page: str, run: Run) -> None:
    assert run.normalised is not None
    for chart in specs(page).values():
        spec = next(iter(chart.values()))
        assert "<svg" in vl_convert.vegalite_to_svg(spec)
    observable = summed(run.normalised.histograms["observable"])
    data = specs(page)["region_4j2b"][""]["datasets"]
    keys = {row["variation"]: row["key"] for row in data["variations"]}
    for process, variation in (
        ("ttbar", "nominal"),
        ("ttbar", "pt_scale_up"),
        ("wjets", "nominal"),
    ):
        where = {"region": "4j2b", "process": process, "variation": variation}
        field = keys.get(variation, "events")
        label = plain(run.labels[process])
        drawn = [row[field] for row in data["prediction"] if row["label"] == label]
        np.testing.assert_allclose(drawn, observable[where].values(), rtol=1e-5)
    # wjets has no alternative sample: its part of that variation is the nominal one.
    rows = [row for row in data["prediction"] if row["label"] == "W+jets"]
    assert [row[keys["scaleup"]] for row in rows] == [row["events"] for row in rows]
    counts = observable[{"region": "4j2b", "process": "data", "variation": "nominal"}].values()
    places = {row["low"] for row in data["prediction"] if row["events"] > 0}
    lows = observable.axes["observable"].edges[:-1]
    assert [row["events"] for row in data["data"]] == [
        n for n, low in zip(counts, lows, strict=True) if n > 0 or low in places
    ]


def test_fitted_bins_are_those_of_the_fit(run: Run) -> None:
    """Not those of the default model; without any, bins are numbered."""
    assert run.measurement is not None
    (bins,) = {len(yields.data) for yields in run.measurement.fit.yields}
    known, numbered = Binning(bins=bins, low=130, high=530), (0.5, bins + 0.5)
    for channel, binning, edges in (
        ("4j2b", known, (130, 530)),
        ("4j2b", None, numbered),
        ("4j2b_tight", known, (130, 530)),
    ):
        yields = run.measurement.fit.yields[0].model_copy(update={"channel": channel})
        caption = FitCaption.of_file("a.json", binning)
        (chart,) = fit_charts([yields], caption)
        points = chart.specs["after the fit"]["datasets"]["prediction"]
        assert (points[0]["low"], points[bins - 1]["high"]) == edges
    stored = run.measurement.model_copy(update={"binning": Binning(bins=bins, low=130, high=530)})
    assert Measurement.model_validate_json(stored.model_dump_json()).binning == stored.binning


def test_the_title_says_whose_events_it_shows(page: str, run: Run) -> None:
    """Not CMS Open Data, which these are not."""
    assert f"<h1>tt̄ → lepton + jets, {run.ledger.figure_label}</h1>" in page
    assert "Open Data 2015" not in page


def test_pseudo_data_are_called_so(run: Run) -> None:
    assert run.normalised is not None
    ledger = run.normalised.ledger
    labels = ledger.labels | {"data": "Pseudo-data"}
    other = run.normalised._replace(ledger=ledger.model_copy(update={"labels": labels}))
    page = render(run._replace(normalised=other))
    assert "<dt>σ(signal), pseudo-data</dt>" in page
    assert "fitted to pseudo-data." in page
    # One name in all tables and figures.
    assert '<th scope="row">Pseudo-data</th>' in page
    assert '<th scope="row">data</th>' not in page
    assert "Measurement (data)" not in page


def test_regions_are_told_by_label_and_with_their_unit(run: Run) -> None:
    axes = {"4j1b": r"$H_T$ [GeV]", "4j2b": "Jets"}
    told = {name: {"axis_label": axis, "label": "four"} for name, axis in axes.items()}
    ledger = run.ledger.model_copy(update={"analysis": run.ledger.analysis | {"regions": told}})
    assert run.normalised is not None
    page = render(run._replace(ledger=ledger, normalised=run.normalised._replace(ledger=ledger)))
    assert "in the regions 4j1b, 4j2b (four) by H_T, Jets." in page
    assert re.search(r"4j1b: [^<]* the fullest bin at \d+ GeV\. Events", page)
    assert re.search(r"4j2b: [^<]* the fullest bin at \d+\. Events", page), (
        "a unit where it has one"
    )


def test_the_text_has_the_numbers_of_the_run(page: str, run: Run) -> None:
    assert "20,000 of 20,000 events processed" in page
    assert '<span class="chip good">complete</span>' in page
    assert "Integrated luminosity of the processed data: 100 /pb." in page
    assert run.measurement is not None
    assert str(run.measurement.cross_section) in page
    changed = page[page.index("<caption>Changed</caption>") :]
    cells = re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", changed)[:3]
    assert cells == ["jet.min_pt", "32.0", "30.0"]
    assert "[jet]\nmin_pt = 32.0" in page.replace("&#34;", '"')
    assert run.ledger.versions["coffea"] in page


def test_what_is_missing_is_said_with_the_command_that_makes_it(
    processed: Path, finished: Path
) -> None:
    page = render(load(processed))
    for command in ("normalise", "toppeak", "abcd", "fit"):
        assert f"run &#39;{command}&#39; on it first" in page
    assert "<figure" not in page
    assert "Cutflow: events read" in page
    assert "on it first" not in render(load(finished))


def test_the_page_says_what_is_the_run_s_own(finished: Path, page: str) -> None:
    """The least number of jets, and what its data are called."""
    assert "exactly one lepton, at least 4 jets" in page
    run = load(finished)
    config = run.ledger.config | {"regions": run.ledger.config["regions"] | {"min_jets": 5}}
    ledger = run.ledger.model_copy(update={"config": config})
    assert run.normalised is not None
    labels = run.ledger.labels | {"data": "Pseudo-data"}
    scaled = run.normalised._replace(ledger=ledger.model_copy(update={"labels": labels}))
    changed = render(run._replace(ledger=ledger, normalised=scaled))
    assert "at least 5 jets" in changed
    table = changed[changed.index("Multijet background, muon channel (ABCD)") :]
    assert "pseudo-data" in table[: table.index("</table>")]


def test_what_was_not_processed_is_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_random(tmp_path / "ttbar__nominal" / f"{name}.root", 300, seed=1)
    catalogue, output = str(tmp_path / "c.json"), str(tmp_path / "out")
    numbers = ["--cross-section", "ttbar=800", "--luminosity", "1 /fb"]
    assert (
        main(["catalogue", "build", str(tmp_path), "--output", catalogue, *numbers, "--quiet"]) == 0
    )
    (tmp_path / "ttbar__nominal" / "b.root").unlink()
    command = ["process", "--catalogue", catalogue, "--output", output, "--quiet"]
    assert main([*command, "--allow-incomplete"]) == 0
    assert main(["toppeak", output, "--quiet"]) == 0
    assert "\nincomplete: 300 of 600 events" in (tmp_path / "out" / "top_peak.md").read_text()
    page = render(load(tmp_path / "out"))
    assert '<span class="chip bad">incomplete</span>' in page
    assert "300 of 600 events processed" in page
    failures = page[page.index("<caption>Not processed</caption>") :]
    assert "b.root" in failures[: failures.index("</table>")]


def test_a_dimuon_peak_in_the_folder_is_shown(processed: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(processed, tmp_path / "results")
    assert load(folder).dimuon is None
    generator = np.random.default_rng(3)
    masses = np.concatenate([generator.normal(3.09, 0.03, 400), generator.uniform(2.6, 3.5, 300)])
    report = analyse(masses, PRESETS["jpsi"], "generated numbers")
    results.save_peak(folder / "sideband", report)
    page = render(load(folder))
    assert "Muon pairs of generated numbers" in page
    assert report.peak_fit is not None
    assert list(specs(page)) == ["peak-dimuon"]
    drawn = specs(page)["peak-dimuon"][""]["datasets"]["points"]
    assert sum(point["events"] for point in drawn) == pytest.approx(700)


def test_normalising_again_removes_the_page(processed: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(processed, tmp_path / "results")
    stages.normalise(folder)
    write(folder)
    stages.normalise(folder, Scaling(luminosity_ipb=50.0))
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(
    "datasets", [["data__SingleMuon"], ["ttbar__scaleup"], ["wjets__nominal"]], ids=str
)
def test_a_run_of_one_dataset_has_a_page(
    tmp_path: Path, catalogue_file: Path, datasets: list[str]
) -> None:
    command = ["process", "--catalogue", str(catalogue_file), "--datasets", ",".join(datasets)]
    assert main([*command, "--max-events", "200", "--output", str(tmp_path), "--quiet"]) == 0
    assert main(["report", str(tmp_path), "--quiet"]) == 0
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "200 of 200 events processed" in text
    for chart in specs(text).values():
        assert "<svg" in vl_convert.vegalite_to_svg(next(iter(chart.values())))


def test_labels_of_a_catalogue_cannot_leave_their_place(run: Run) -> None:
    """A process may be named by anybody: no markup, no end of a script."""
    assert run.normalised is not None
    bad = "</script><script>alert(1)</script><b>x"
    ledger = run.ledger.model_copy(update={"labels": run.ledger.labels | {"wjets": bad}})
    page = render(run._replace(normalised=run.normalised._replace(ledger=ledger), ledger=ledger))
    assert "alert(1)</script>" not in page
    assert "<b>x" not in page


def test_text_is_flush_left_and_numbers_right(page: str) -> None:
    datasets = page[page.index("<caption>Datasets</caption>") :]
    cells = re.findall(
        r"<td( class=\"words\")?>([^<]*)</td>", datasets[: datasets.index("</tr>\n</tbody>")]
    )
    assert ("", "-") in cells
    assert {text for mark, text in cells if mark} == {"signal", "background", "collision"}


def test_lines_of_variations_have_a_border_dashed_alike(page: str) -> None:
    """Else the gaps of a dashed line are filled, and up and down look the same."""
    layers = specs(page)["region_4j2b"][""]["vconcat"][0]["layer"]
    rules = [layer for layer in layers if "variation" in json.dumps(layer.get("transform", ""))]
    assert [rule["mark"]["strokeWidth"] for rule in rules] == [4.5, 2.5]
    assert rules[0]["encoding"]["strokeDash"] == rules[1]["encoding"]["strokeDash"]


def test_regions_with_the_same_events_are_named_together() -> None:
    overlaps = {"a": {"b": 5, "c": 5, "d": 2}, "b": {"c": 5}, "c": {"e": 5}}
    assert shared(overlaps) == [(["a", "b", "c"], 5), (["a", "d"], 2), (["c", "e"], 5)]
    assert shared({}) == []


def test_latex_becomes_unicode() -> None:
    assert plain(r"$t\bar{t}$") == "tt\u0304"
    assert plain(r"$m_{bjj}$ [GeV]") == "m_bjj [GeV]"
    assert plain(r"min $m_{\ell b}$ [GeV]") == "min m_ℓb [GeV]"
    assert plain(r"$\geq$ 2 b tags") == "≥ 2 b tags"
    assert plain("W+jets") == "W+jets"


@pytest.mark.parametrize("text", ["V$_{$+jets", r"a {b} \alpha_c", "5 $", "#1 100%", "<b>"])
def test_a_label_without_a_formula_stays_as_it_is(text: str) -> None:
    assert plain(text) == text


def test_what_is_no_number_is_not_drawn() -> None:
    """JSON has no NaN: a browser would refuse all charts of the page."""
    assert short(float("nan")) is None
    assert short(float("inf")) is None
    assert short(1234567.0) == 1234570.0


def test_differences_are_a_configuration_that_makes_them() -> None:
    config = AnalysisConfig(
        jet={"min_pt": 35, "btag_threshold": 0.9},
        trigger={"simulation": "channel"},
        variations={"scale_uncertainty": {"wjets": 0.05}, "jet_energy": False},
        top_peak={"fit_range": (90, 410)},
    )
    found = differences(config.model_dump(mode="json"))
    assert found[0] == Difference("jet.min_pt", 35.0, 30.0)
    assert len(found) == 6
    assert AnalysisConfig.model_validate(tomllib.loads(toml(found))) == config
    assert differences(AnalysisConfig().model_dump(mode="json")) == []
