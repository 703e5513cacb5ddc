"""What a model file adds to the default model, takes away, and what of its names is not there."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from analysis.cli import main
from analysis.common.errors import WorkspaceError
from analysis.common.strict import read_toml
from analysis.inference.config import InferenceConfig
from analysis.inference.templates import from_root
from analysis.inference.workspace import Built, build
from tests.inference.root_file import TTBAR, WJETS, contents, write

MORE = {
    "4j1b_ttbar_hard_jet_up": 1.1 * TTBAR,
    "4j1b_ttbar_hard_jet_down": 0.9 * TTBAR,
    "4j2b_ttbar_hard_jet_up": 0.6 * TTBAR,
    "4j2b_ttbar_hard_jet_down": 0.45 * TTBAR,
}
TWO_LINES = '[variations."hard jet"]\nup = "hard_jet_up"\ndown = "hard_jet_down"\n'


def _model(text: str, folder: Path) -> InferenceConfig:
    (folder / "model.toml").write_text(f'processes = ["ttbar", "wjets"]\n{text}')
    return read_toml(folder / "model.toml", InferenceConfig)


def _built(text: str, folder: Path, **more: object) -> Built:
    config = _model(text, folder)
    file = write(folder / "templates.root", contents() | MORE | more)
    return build(from_root(file, config), config)


def _parameters(built: Built) -> set[str]:
    samples = (sample for channel in built.spec["channels"] for sample in channel["samples"])
    return {modifier["name"] for sample in samples for modifier in sample["modifiers"]}


def test_lines_add_to_the_default_ones(tmp_path: Path) -> None:
    config = _model(TWO_LINES, tmp_path)
    assert list(config.variations) == [*InferenceConfig().variations, "hard jet"]
    assert {"hard jet", "Jet energy scale", "ME variation"} <= _parameters(
        _built(TWO_LINES, tmp_path)
    )


def test_a_line_changes_what_it_says_alone(tmp_path: Path) -> None:
    config = _model(
        '[variations."Jet energy scale"]\nprocesses = ["ttbar"]\n'
        '[cross_section_uncertainties."cross section W+jets"]\nrelative = 0.5\n',
        tmp_path,
    )
    changed = config.variations["Jet energy scale"]
    assert (changed.up, changed.down, changed.processes) == (
        "pt_scale_up", "pt_scale_down", ("ttbar",)
    )  # fmt: skip
    rate = config.cross_section_uncertainties["cross section W+jets"]
    assert (rate.relative, rate.processes) == (0.5, ("wjets",))
    assert config.cross_section_uncertainties.keys() == (
        InferenceConfig().cross_section_uncertainties.keys()
    )


def test_what_is_left_out_by_name_is_not_fitted(tmp_path: Path) -> None:
    whole = _parameters(_built(TWO_LINES, tmp_path))
    text = 'left_out = ["ME variation", "cross section W+jets", "hard_jet"]\n'
    taken = whole - _parameters(_built(text, tmp_path))
    assert taken == {"ME variation", "cross section W+jets", "hard jet"}
    one = 'left_out = ["hard_jet_up", "hard_jet_down"]\n'
    assert whole - _parameters(_built(one, tmp_path)) == {"hard jet"}


def test_variations_that_are_filled_and_not_in_the_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"hard_jet_up, hard_jet_down are filled and not") as e:
        _built("", tmp_path)
    for word in ("[variations.", "left_out = ['hard_jet']"):
        assert word in str(e.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            TWO_LINES.replace("_up", "_upp"),
            "no histogram 'hard_jet_upp': did you mean 'hard_jet_up'",
        ),
        (TWO_LINES.replace("_down", "_dow"), "no histogram 'hard_jet_dow': did you mean"),
        (TWO_LINES + 'processes = ["tbar"]', "no process 'tbar': did you mean 'ttbar'"),
        (
            TWO_LINES + '[cross_section_uncertainties.z]\nprocesses = ["wjet"]\nrelative = 0.1',
            "'z': no process 'wjet': did you mean 'wjets'",
        ),
        ('left_out = ["hard_jets"]', "nothing is called 'hard_jets': did you mean 'hard_jet"),
        ('left_out = ["hard_jet", "ME variatio"]', "did you mean 'ME variation'"),
        ('left_out = ["hard_jet"]\nregions = ["4j1"]', "region '4j1': did you mean '4j1b'"),
    ],
)
def test_a_name_that_is_not_there_is_told_with_the_nearest(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(WorkspaceError) as error:
        _built(text, tmp_path)
    assert said in str(error.value)


def test_the_default_lines_may_be_without_histograms(tmp_path: Path) -> None:
    built = _built(TWO_LINES, tmp_path)
    assert "W+jets scale variations" not in _parameters(built)
    assert any("W+jets scale variations: no histogram" in note for note in built.notes)


def test_b_tag_scale_factors_are_fitted_where_they_are_filled(tmp_path: Path) -> None:
    filled = {
        f"{region}_{process}_btag_sf_{side}": factor * values
        for region in ("4j1b", "4j2b")
        for process, values in (("ttbar", TTBAR), ("wjets", WJETS))
        for side, factor in (("up", 1.05), ("down", 0.95))
    }
    assert "b-tag scale factors" in _parameters(_built(TWO_LINES, tmp_path, **filled))


def test_one_histogram_under_two_names_is_refused() -> None:
    twice = {"JES": {"up": "pt_scale_up", "down": "pt_scale_down"}}
    with pytest.raises(ValidationError, match="'Jet energy scale' and 'JES' both have"):
        InferenceConfig(variations=twice)
    InferenceConfig(variations=twice, left_out=("Jet energy scale",))
    apart = {
        "JES": twice["JES"] | {"processes": ["wjets"]},
        "Jet energy scale": {"processes": ["ttbar"]},
    }
    InferenceConfig(variations=apart)


def test_negative_data_are_no_counts(tmp_path: Path) -> None:
    data = np.round(1.1 * TTBAR + WJETS)
    data[7:9] = -25.0
    with pytest.raises(WorkspaceError, match=r"4j1b data: negative events in bins 2 \(-50\)"):
        _built(TWO_LINES, tmp_path, **{"4j1b_data": data})


def test_the_printed_model_is_the_whole_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = _model(f'left_out = ["ME variation"]\n{TWO_LINES}', tmp_path)
    assert main(["fit", "--print-model", "--model", str(tmp_path / "model.toml")]) == 0
    printed = capsys.readouterr().out
    assert InferenceConfig.model_validate(tomllib.loads(printed)) == config
    assert '[variations."Jet energy scale"]' in printed
    assert "signal_cross_section_pb" not in printed


def _modifiers(built: Built, channel: str, sample: str) -> dict[tuple[str, str], Any]:
    (region,) = (c for c in built.spec["channels"] if c["name"] == channel)
    (found,) = (s for s in region["samples"] if s["name"] == sample)
    return {(m["name"], m["type"]): m["data"] for m in found["modifiers"]}


def test_a_region_may_have_bins_of_its_own(tmp_path: Path) -> None:
    own = '[binnings."4j2b"]\nbins = 4\nlow = 150\nhigh = 550\n'
    built = _built(f'left_out = ["hard_jet"]\n{own}', tmp_path)
    sizes = {c["name"]: len(c["samples"][0]["data"]) for c in built.spec["channels"]}
    assert sizes == {"4j1b": 11, "4j2b": 4}
    with pytest.raises(WorkspaceError, match="binnings: no region '4j2'"):
        _built(f'left_out = ["hard_jet"]\n{own.replace("4j2b", "4j2")}', tmp_path)


def test_the_number_of_events_may_be_a_parameter_of_its_own(tmp_path: Path) -> None:
    for word, apart in (("apart", True), ("none", False)):
        built = _built(f'{TWO_LINES}acceptance = "{word}"\n', tmp_path)
        found = _modifiers(built, "4j2b", "ttbar")
        assert ("hard jet", "normsys") not in found
        assert (("hard jet, acceptance", "normsys") in found) is apart
        left = [note for note in built.notes if "hard jet: normalisation left out" in note]
        assert bool(left) is not apart


def test_a_rate_may_be_free_in_some_regions(tmp_path: Path) -> None:
    line = '[cross_section_uncertainties."cross section W+jets"]\nrelative = "free"\nregions = ["4j1b"]\n'
    built = _built(f'left_out = ["hard_jet"]\n{line}', tmp_path)
    name = "cross section W+jets"
    assert (name, "normfactor") in _modifiers(built, "4j1b", "wjets")
    assert not {(name, "normfactor"), (name, "normsys")} & {*_modifiers(built, "4j2b", "wjets")}
    with pytest.raises(WorkspaceError, match="no region '4j1': did you mean '4j1b'"):
        _built(f'left_out = ["hard_jet"]\n{line.replace("4j1b", "4j1")}', tmp_path)


def test_correlations_are_declared(tmp_path: Path) -> None:
    lines = f'{TWO_LINES}correlated = "in a region"\n'
    found = _parameters(_built(lines, tmp_path))
    assert {"hard jet, 4j1b", "hard jet, 4j2b"} <= found
    assert "hard jet" not in found
    config = InferenceConfig()
    assert config.parameter("muon SF", "in a channel", "4j1b_muon") == "muon SF, muon"
    assert config.parameter("muon SF", "in a channel", "4j1b") == "muon SF"
    assert config.parameter("muon SF", "in a region", "4j1b_muon") == "muon SF, 4j1b"
