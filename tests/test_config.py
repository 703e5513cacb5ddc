from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from analysis.common.errors import ConfigError
from analysis.config import AnalysisConfig, load_config


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "my.toml"
    path.write_text(text)
    return path


def test_defaults_are_the_published_selection() -> None:
    config = load_config()
    assert (config.electron.min_pt, config.electron.max_abs_eta) == (30, 2.1)
    assert (config.muon.max_sip3d, config.muon.max_isolation) == (4, 0.15)
    assert (config.jet.min_pt, config.jet.max_abs_eta, config.jet.btag_threshold) == (30, 2.4, 0.8)
    assert config.jet.min_lepton_delta_r == 0
    assert config.variations.scale_uncertainty == {"wjets": 0.025}
    assert (config.observable.bins, config.observable.low, config.observable.high) == (25, 50, 550)


def test_a_file_changes_what_it_names_only(tmp_path: Path) -> None:
    config = load_config(
        written(tmp_path, "[jet]\nmin_pt = 25\n[control.met]\nbins=10\nlow=0\nhigh=100")
    )
    assert config.jet.min_pt == 25
    assert config.jet.max_abs_eta == 2.4
    assert config.control.met.bins == 10
    assert config.digest != AnalysisConfig().digest


def test_the_digest_is_of_the_values(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, "[jet]\nmin_pt = 30.0")).digest == AnalysisConfig().digest


def test_it_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError):
        AnalysisConfig().jet.min_pt = 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[jet]\nmin_ptt = 25", r"my.toml: jet.min_ptt: unknown key, did you mean 'min_pt'"),
        (
            "min_pt = 35",
            r"'electron.min_pt' or 'muon.min_pt' or 'jet.min_pt' or 'further_leptons.min_pt'\?",
        ),
        ("btag_treshold = 0.7", r"btag_treshold: unknown key, did you mean 'jet.btag_threshold'\?"),
        ("[jet]\nmin_jets = 5", r"jet.min_jets: unknown key, did you mean 'regions.min_jets'\?"),
        ("[met]\nbins = 3", r"met: unknown key, did you mean 'control.met'\?"),
        ("[jet]\nqqq = 5", r"jet.qqq: unknown key, valid are: min_pt, max_abs_eta"),
        ("[jets]\nmin_pt = 25", r"jets: unknown key, did you mean 'jet'"),
        ("[control.mett]\nbins=1", r"control.mett: unknown key, did you mean 'met'"),
        ("[jet]\nmin_pt = 'low'", r"jet.min_pt: input should be a valid number.*got 'low'"),
        ("[jet]\nmin_pt = -3", r"jet.min_pt: input should be greater than 0, got -3"),
        ("[jet]\nmin_pt = nan", r"jet.min_pt: input should be a finite number"),
        ("[observable]\nbins=5\nlow=9\nhigh=3", r"observable: high \(3.0\) must be above low"),
        ("[trigger]\nsimulation='all'", r"trigger.simulation: input should be 'any' or 'channel'"),
        (
            "[regions]\nmin_jets=3",
            r"my.toml: set variations.btag_jets to 3 or less: regions.min_jets",
        ),
        ("[muon]\nmax_isolation=0.3", r"my.toml: set multijet.min_control_isolation \(0.3\) above"),
        ("[jet", r"my.toml: not TOML"),
    ],
)
def test_faults_are_named_with_their_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(written(tmp_path, text))


def test_a_scale_uncertainty_adds_to_the_default_ones(tmp_path: Path) -> None:
    text = "[variations.scale_uncertainty]\nttbar = 0.1"
    config = load_config(written(tmp_path, text))
    assert config.variations.scale_uncertainty == {"wjets": 0.025, "ttbar": 0.1}


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path, "[jet]\nmin_ptt = 25\n[muon]\nmax_isolation = 'x'"))
    assert len(str(caught.value).splitlines()) == 2


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no.toml: No such file"):
        load_config(tmp_path / "no.toml")
