"""Templates and the workspace made of them: what is in each number, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from pydantic import ValidationError

from analysis.common.errors import WorkspaceError
from analysis.config import Binning
from analysis.inference.config import InferenceConfig
from analysis.inference.fit import fit
from analysis.inference.impacts import breakdown
from analysis.inference.templates import Templates, from_root
from analysis.inference.validator import validate
from analysis.inference.workspace import FRACTION, Built, build, load
from tests.inference.models import shapes
from tests.inference.root_file import TTBAR, WJETS, contents, write

CONFIG = InferenceConfig()


def _templates(folder: Path, config: InferenceConfig = CONFIG, **changes: Any) -> Templates:
    return from_root(write(folder / "templates.root", contents() | changes), config)


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    return _templates(tmp_path_factory.mktemp("templates"))


def test_an_unknown_word_for_what_is_observed(templates: Templates) -> None:
    with pytest.raises(WorkspaceError, match="observed 'pseudo': did you mean 'pseudodata'"):
        build(templates, CONFIG, "pseudo")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def built(templates: Templates) -> Built:
    return build(templates, CONFIG)


def _modifiers(built: Built, process: str, region: str = "4j1b") -> dict[tuple[str, str], Any]:
    channel = next(c for c in built.spec["channels"] if c["name"] == region)
    sample = next(s for s in channel["samples"] if s["name"] == process)
    return {(m["name"], m["type"]): m["data"] for m in sample["modifiers"]}


def _pairs(values: Any) -> Any:
    """The model's bins: two of the file's each, from 110 GeV."""
    return np.asarray(values)[3:].reshape(11, 2).sum(axis=1)


def test_bins_are_added_up_between_the_models_edges(templates: Templates) -> None:
    assert templates.processes == ["ttbar", "wjets"]
    nominal = templates.nominal("4j1b", "ttbar")
    assert nominal is not None
    np.testing.assert_allclose(nominal.values, _pairs(TTBAR))
    np.testing.assert_allclose(nominal.variances, _pairs(0.5 * TTBAR))


def test_normalisation_and_shape_make_the_varied_template(templates: Templates) -> None:
    built = build(templates, InferenceConfig(two_sided="asymmetric"))
    modifiers = _modifiers(built, "ttbar")
    tilt = np.linspace(0.9, 1.1, 25)
    factor = modifiers["Jet energy scale", "normsys"]["hi"]
    shape = np.array(modifiers["Jet energy scale", "histosys"]["hi_data"])
    np.testing.assert_allclose(factor * shape, _pairs(TTBAR * tilt))
    assert np.sum(shape) == pytest.approx(np.sum(_pairs(TTBAR)))


def test_half_the_difference_of_both_directions_is_taken(built: Built) -> None:
    factors = _modifiers(built, "wjets")["Jet energy scale", "normsys"]
    ratio = (1.05 / 0.96) ** 0.5
    assert factors == pytest.approx({"hi": ratio, "lo": 1 / ratio})
    tilt = np.linspace(0.9, 1.1, 25)
    nominal, up, down = (_pairs(t) for t in (TTBAR, TTBAR * tilt, TTBAR / tilt))
    half = (up / np.sum(up) - down / np.sum(down)) / 2 * np.sum(nominal)
    shapes = _modifiers(built, "ttbar")["Jet energy scale", "histosys"]
    np.testing.assert_allclose(shapes["hi_data"], nominal + half)
    np.testing.assert_allclose(shapes["lo_data"], nominal - half)


def test_the_same_template_in_both_directions_is_an_error(tmp_path: Path) -> None:
    same = {f"4j1b_wjets_pt_scale_{side}": WJETS[::-1] for side in ("up", "down")}
    (finding,) = validate(build(_templates(tmp_path, **same), CONFIG).spec)
    assert (finding.severity, finding.rule) == ("error", "both-directions")


def test_the_same_few_events_in_both_directions_are_left_out(tmp_path: Path) -> None:
    """One event in a hundred leaves in either direction; everywhere so it would be a mistake."""
    few = WJETS * np.array([0.99, *np.ones(WJETS.size - 1)])
    same = {f"4j1b_wjets_pt_scale_{side}": few for side in ("up", "down")}
    made = build(_templates(tmp_path, **same), CONFIG)
    assert not any(finding.severity == "error" for finding in validate(made.spec))
    note = "4j1b / wjets / Jet energy scale: up and down are the same few events, left out there"
    assert note in made.notes


def test_shapes_that_are_the_same_where_rates_differ_leave_the_rates(tmp_path: Path) -> None:
    """As those of three events, of which one leaves its bin in either direction."""
    same = {f"4j1b_wjets_pt_scale_{side}": x * WJETS[::-1] for side, x in (("up", 2), ("down", 1))}
    config = InferenceConfig(two_sided="asymmetric")
    made = build(_templates(tmp_path, config, **same), config)
    modifiers = _modifiers(made, "wjets")
    assert modifiers["Jet energy scale", "normsys"]["hi"] > 1.2
    assert ("Jet energy scale", "histosys") not in modifiers
    assert any("4j1b / wjets / Jet energy scale: shape pruned" in note for note in made.notes)
    assert not any(finding.severity == "error" for finding in validate(made.spec))


def test_a_variation_of_one_direction_is_mirrored_or_flat(templates: Templates) -> None:
    mirrored = _modifiers(build(templates, CONFIG), "ttbar")
    assert mirrored["ME variation", "normsys"] == pytest.approx({"hi": 1.1, "lo": 0.9})
    up, down = (np.array(mirrored["PS variation", "histosys"][k]) for k in ("hi_data", "lo_data"))
    np.testing.assert_allclose(up + down, 2 * _pairs(TTBAR))
    flat = InferenceConfig(one_sided="flat")
    assert _modifiers(build(templates, flat), "ttbar")["ME variation", "normsys"]["lo"] == 1.0


def test_what_has_no_effect_is_pruned_and_said(built: Built) -> None:
    assert ("ME variation", "histosys") not in _modifiers(built, "ttbar")
    assert any("4j1b / ttbar / ME variation: shape pruned" in note for note in built.notes)
    assert ("Jet energy scale", "histosys") not in _modifiers(built, "wjets")


def test_what_is_not_there_makes_no_parameter_and_is_said(built: Built) -> None:
    assert not any(name == "W+jets scale variations" for name, _ in _modifiers(built, "wjets"))
    assert any("W+jets scale variations: no histogram 'scale_var_up'" in n for n in built.notes)


def _said(folder: Path, *missing: str, config: InferenceConfig = CONFIG) -> list[str]:
    """Notes of a model without some histograms, besides those of the whole one."""
    there = {name: values for name, values in contents().items() if name not in missing}
    found = build(from_root(write(folder / "some.root", there), config), config).notes
    return [note for note in found if "wjets scale" not in note and ": no '" in note]


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (["4j2b_ttbar_pt_scale_up"], "ttbar in 4j2b: no 'pt_scale_up', left out there"),
        (["4j2b_ttbar_PS_var"], "ttbar in 4j2b: no 'PS_var', left out there"),
        (["4j1b_wjets_pt_scale_down"], "wjets in 4j1b: no 'pt_scale_down', up is mirrored"),
        (
            [f"{r}_{p}_pt_scale_down" for r in ("4j1b", "4j2b") for p in ("ttbar", "wjets")],
            "everywhere: no 'pt_scale_down', up is mirrored",
        ),
        (
            ["4j1b_ttbar_pt_scale_down", "4j2b_ttbar_pt_scale_down", "4j1b_wjets_pt_scale_down"],
            "ttbar in 4j1b, 4j2b; wjets in 4j1b: no 'pt_scale_down', up is mirrored",
        ),
        (
            ["4j1b_ttbar_ME_var", "4j1b_ttbar_PS_var"],
            "ttbar in 4j1b: no 'ME_var', 'PS_var', left out there",
        ),
    ],
)
def test_what_is_missing_in_one_place_or_direction_is_said(
    tmp_path: Path, missing: list[str], said: str
) -> None:
    assert _said(tmp_path) == []
    assert _said(tmp_path, *missing) == [said]


def test_what_is_taken_for_a_missing_direction_is_said(tmp_path: Path) -> None:
    flat = InferenceConfig(one_sided="flat")
    (said,) = _said(tmp_path, "4j2b_ttbar_pt_scale_down", config=flat)
    assert said == "ttbar in 4j2b: no 'pt_scale_down', nominal is taken"


def test_luminosity_and_rates_go_up_and_down(built: Built) -> None:
    modifiers = _modifiers(built, "wjets")
    assert modifiers["Luminosity", "normsys"] == pytest.approx({"hi": 1.03, "lo": 0.97})
    assert modifiers["cross section W+jets", "normsys"] == pytest.approx({"hi": 1.3, "lo": 0.7})
    assert modifiers["staterror_4j1b", "staterror"] == pytest.approx(np.sqrt(_pairs(0.5 * WJETS)))


@pytest.mark.parametrize(
    ("observed", "signal"),
    [("asimov", TTBAR), ("pseudodata", TTBAR * (1.1 + np.linspace(1.1, 0.9, 25)) / 2)],
)
def test_made_up_observations_hold_every_process(
    templates: Templates, observed: Any, signal: Any
) -> None:
    spec = build(templates, CONFIG, observed).spec
    np.testing.assert_allclose(spec["observations"][0]["data"], _pairs(signal + WJETS))


def test_the_fit_finds_the_strength_of_the_data(built: Built) -> None:
    assert validate(built.spec, ["ttbar", "wjets"]) == []
    result = fit(built.spec).result
    assert result.value == pytest.approx(1.1, abs=result.error)


def test_variations_on_one_side_give_half_their_difference(tmp_path: Path) -> None:
    one_side = {"4j1b_wjets_pt_scale_up": 1.05 * WJETS, "4j1b_wjets_pt_scale_down": 1.01 * WJETS}
    built = build(_templates(tmp_path, **one_side), CONFIG)
    factors = _modifiers(built, "wjets")["Jet energy scale", "normsys"]
    ratio = (1.05 / 1.01) ** 0.5
    assert factors == pytest.approx({"hi": ratio, "lo": 1 / ratio})
    assert any("up and down on the same side (1.05, 1.01)" in note for note in built.notes)


def test_a_dead_variation_becomes_no_template(tmp_path: Path) -> None:
    built = build(_templates(tmp_path, **{"4j1b_ttbar_PS_var": 1e-9 * TTBAR}), CONFIG)
    assert not any(name == "PS variation" for name, _ in _modifiers(built, "ttbar"))
    assert any("4j1b ttbar PS_var: empty where nominal is not" in note for note in built.notes)


def test_negative_bins_are_set_to_zero_and_said(tmp_path: Path) -> None:
    values = WJETS.copy()
    values[3:5] = -1.0
    made = _templates(tmp_path, **{"4j1b_wjets": values})
    nominal = made.nominal("4j1b", "wjets")
    assert nominal is not None
    assert nominal.values[0] == 0.0
    assert "4j1b wjets: negative bins 0 set to zero" in made.notes
    assert [f for f in validate(build(made, CONFIG).spec) if f.severity == "error"] == []


def test_smoothing_takes_out_a_single_bin(tmp_path: Path) -> None:
    spike = np.ones(25)
    spike[13:15] = 1.2
    made = _templates(tmp_path, **{"4j1b_ttbar_PS_var": TTBAR * spike})
    rough, smooth = (
        np.array(
            _modifiers(build(made, InferenceConfig(smoothing=on, pruning=0.0)), "ttbar").get(
                ("PS variation", "histosys"), {"hi_data": _pairs(TTBAR)}
            )["hi_data"]
        )
        / _pairs(TTBAR)
        for on in (False, True)
    )
    assert np.ptp(rough) == pytest.approx(0.2, rel=0.1)
    assert np.ptp(smooth) < 0.05


def test_the_luminosity_fraction_is_given_or_fitted(templates: Templates, tmp_path: Path) -> None:
    half = InferenceConfig(luminosity_fraction=0.5)
    nominal = _templates(tmp_path, half).nominal("4j1b", "ttbar")
    assert nominal is not None
    np.testing.assert_allclose(nominal.values, 0.5 * _pairs(TTBAR))
    free = build(templates, InferenceConfig(luminosity_fraction="free"))
    assert (FRACTION, "normfactor") in _modifiers(free, "wjets")
    assert ("Luminosity", "normsys") not in _modifiers(free, "wjets")
    given, fitted = (breakdown(fit(b.spec)) for b in (build(templates, CONFIG), free))
    # Not to know the luminosity is no want of statistics.
    assert fitted["statistical"] == pytest.approx(given["statistical"], rel=0.1)
    assert fitted["luminosity"] > 3 * given["luminosity"]


@pytest.mark.parametrize(
    ("changes", "binning", "said"),
    [
        ({}, Binning(bins=11, low=100, high=540), "100 GeV is no edge"),
        (
            {"4j1b_ttbar": np.full(25, np.nan)},
            CONFIG.binning,
            "4j1b ttbar: values that are no numb",
        ),
    ],
)
def test_templates_that_do_not_fit_are_refused(
    tmp_path: Path, changes: dict[str, Any], binning: Binning, said: str
) -> None:
    with pytest.raises(WorkspaceError, match=said):
        _templates(tmp_path, InferenceConfig(binning=binning), **changes)


def test_missing_histograms_are_named(tmp_path: Path) -> None:
    without = {k: v for k, v in contents().items() if "ttbar" not in k}
    with pytest.raises(WorkspaceError, match=r"signal 'ttbar': valid are: wjets"):
        from_root(write(tmp_path / "a.root", without), CONFIG)
    with pytest.raises(WorkspaceError, match="there are other"):
        from_root(write(tmp_path / "b.root", {"other": TTBAR}), CONFIG)
    without = {k: v for k, v in contents().items() if "data" not in k and "ME_var" not in k}
    made = from_root(write(tmp_path / "c.root", without), CONFIG)
    with pytest.raises(
        WorkspaceError, match=r"no data in region 4j1b.*; '--observed asimov' needs"
    ):
        build(made, CONFIG)
    assert len(build(made, CONFIG, "asimov").spec["observations"]) == 2
    with pytest.raises(WorkspaceError, match="pseudo-data need the variation 'ME_var'"):
        build(made, CONFIG, "pseudodata")


def test_only_the_regions_of_the_model_are_fitted(tmp_path: Path) -> None:
    """Regions may share events, and an event counts once."""
    config = InferenceConfig(regions=("4j2b",))
    built = build(_templates(tmp_path, config), config)
    assert [channel["name"] for channel in built.spec["channels"]] == ["4j2b"]
    assert "region 4j1b: not in the model" in built.notes


def test_files_that_are_no_workspace_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "workspace.json"
    for text, said in (("{", "not JSON"), ("[]", "there is list"), ('{"a": 1}', "there is a")):
        path.write_text(text)
        with pytest.raises(WorkspaceError, match=said):
            load(path)
    with pytest.raises(WorkspaceError, match="No such file"):
        load(tmp_path / "none.json")


def test_a_workspace_with_a_byte_order_mark_or_a_key_that_is_there_twice(tmp_path: Path) -> None:
    path = tmp_path / "workspace.json"
    text = json.dumps(shapes())
    path.write_text(text, encoding="utf-8-sig")
    assert load(path) == shapes()
    path.write_text(text.replace('"data":', '"data": [1.0], "data":', 1))
    with pytest.raises(WorkspaceError, match="not JSON: data: given twice"):
        load(path)


def test_scaled_templates_without_errors_are_refused(tmp_path: Path) -> None:
    """Data need none: Poisson's are of what is predicted."""
    path = write(tmp_path / "a.root", contents())
    with uproot.update(path) as file:
        values, edges = file["4j1b_data"].to_numpy()
        file["4j1b_data"] = values + 0.25, edges
        from_root(path, CONFIG)
        values, edges = file["4j1b_wjets"].to_numpy()
        file["4j1b_wjets"] = values + 0.25, edges
    with pytest.raises(WorkspaceError, match="4j1b wjets: the histogram has no variances"):
        from_root(path, CONFIG)


def test_the_model_is_typed() -> None:
    with pytest.raises(ValidationError, match="luminosity_fraction"):
        InferenceConfig(luminosity_fraction=-1)


@pytest.mark.shared
def test_real_collision_data_can_be_fitted(shared: Path) -> None:
    """The first file of each stream: 0.0222 of the muons, 0.0140 of the electrons, by numbers of events."""
    config = InferenceConfig(luminosity_fraction=0.0186)
    templates = from_root(shared / "reference" / "ttbar_2015_histograms.root", config)
    built = build(templates, config)
    assert any("wjets scaleup: empty" in note for note in built.notes)
    assert [f for f in validate(built.spec) if f.severity == "error"] == []
    result = fit(built.spec).result
    assert 0.5 < result.value < 2.0
    assert result.goodness.p_value is not None
    assert result.goodness.p_value > 0.01
