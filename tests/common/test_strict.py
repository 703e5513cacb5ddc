"""Typed inputs: frozen as a whole, and a copy is held against the same rules."""

from __future__ import annotations

import copy
import pickle

import pytest

from analysis.common.errors import ConfigError
from analysis.config import AnalysisConfig


@pytest.mark.parametrize(
    "change",
    [
        lambda uncertainty: uncertainty.update(wjets=5.0),
        lambda uncertainty: uncertainty.__setitem__("wjets", 5.0),
        lambda uncertainty: uncertainty.pop("wjets"),
        lambda uncertainty: uncertainty.__ior__({"wjets": 5.0}),
        lambda uncertainty: uncertainty.setdefault("qcd", 5.0),
        lambda uncertainty: uncertainty.clear(),
    ],
)
def test_a_frozen_configuration_cannot_be_changed_through_a_dictionary(change) -> None:  # type: ignore[no-untyped-def]
    config = AnalysisConfig()
    with pytest.raises(TypeError, match="frozen"):
        change(config.variations.scale_uncertainty)
    assert config == AnalysisConfig()


def test_a_frozen_dictionary_goes_to_workers_and_into_files() -> None:
    config = AnalysisConfig.model_validate({"variations": {"scale_uncertainty": {"ttbar": 0.1}}})
    assert config.variations.scale_uncertainty == {"wjets": 0.025, "ttbar": 0.1}
    for same in (pickle.loads(pickle.dumps(config)), copy.deepcopy(config)):
        assert same == config
        assert same.digest == config.digest
        with pytest.raises(TypeError, match="frozen"):
            same.variations.scale_uncertainty["wjets"] = 5.0
    assert AnalysisConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("section", "update", "said"),
    [
        (None, {"jets": 1}, "jets: unknown key, did you mean 'jet'?"),
        ("jet", {"min_ptt": 60.0}, "min_ptt: unknown key, did you mean 'min_pt'?"),
        ("jet", {"min_pt": -1}, "min_pt: input should be greater than 0, got -1"),
        (None, {"variations": {"btag_jets": 4}, "regions": {"min_jets": 3}}, "set variations.btag_jets to 3"),
    ],
)  # fmt: skip
def test_a_copy_with_what_may_not_be_is_refused(
    section: str | None, update: dict[str, object], said: str
) -> None:
    config = AnalysisConfig()
    with pytest.raises(ConfigError) as caught:
        (getattr(config, section) if section else config).model_copy(update=update)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_a_copy_has_the_new_value() -> None:
    config = AnalysisConfig()
    changed = config.model_copy(update={"jet": config.jet.model_copy(update={"min_pt": 60})})
    assert changed == AnalysisConfig.model_validate({"jet": {"min_pt": 60}})
    assert config == AnalysisConfig()
