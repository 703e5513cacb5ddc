"""The fit of the Analysis Grand Challenge's histograms, and of a run of its presets, by its own model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis import stages
from analysis.cli import main
from analysis.common.errors import OutputError, WorkspaceError
from analysis.inference.config import InferenceConfig
from analysis.inference.templates import from_json
from analysis.presets.agc import MODEL
from tests.ntuples import as_nanoaod, make_events, write_nanoaod

GRAND_CHALLENGE = InferenceConfig.of_run(MODEL)
EDGES = np.linspace(50, 550, 26).tolist()
SAMPLES = (
    "ttbar__nominal", "ttbar__ME_var", "ttbar__PS_var", "wjets__nominal", "wjets__nominal__b",
    "single_top_tW__nominal",
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the preset, of which one process has two weights, and its export. Not to be changed."""
    folder = tmp_path_factory.mktemp("agc")
    for seed, name in enumerate(SAMPLES):
        events = as_nanoaod(make_events(150, seed=seed))
        write_nanoaod(folder / "nano" / f"{name}.root", events)
    numbers = {
        "ttbar": 730,
        "wjets__nominal": 15487,
        "wjets__nominal__b": 10000,
        "single_top_tW": 75,
    }
    build = ["catalogue", "build", str(folder / "nano"), "--output", str(folder / "c.json")]
    for name, value in numbers.items():
        build += ["--cross-section", f"{name}={value}"]
    assert main([*build, "--luminosity", "3378 /pb", "--quiet"]) == 0
    command = ["process", "--analysis", "agc-v2", "--catalogue", str(folder / "c.json"), "--quiet"]
    assert main([*command, "--output", str(folder / "run")]) == 0
    assert main(["export", str(folder / "run"), "--output", str(folder / "h.json"), "--quiet"]) == 0
    return folder


def _assert_alike(one: Any, other: Any) -> None:
    """The same structure, with numbers that differ by rounding."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            _assert_alike(one[key], other[key])
    elif isinstance(one, list) and one and not isinstance(one[0], int | float):
        for first, second in zip(one, other, strict=True):
            _assert_alike(first, second)
    elif isinstance(one, list | float):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)
    else:
        assert one == other


@pytest.mark.full
def test_a_run_and_its_export_have_one_model(finished: Path) -> None:
    run, exported = (stages.model_of(finished / name) for name in ("run", "h.json"))
    assert (run.observed, exported.observed) == ("pseudo-data", "pseudo-data")
    assert (run.reference_pb, exported.reference_pb) == (730, 730)
    _assert_alike(run.built.spec, exported.built.spec)
    samples = run.built.spec["channels"][0]["samples"]
    names = {modifier["name"] for sample in samples for modifier in sample["modifiers"]}
    assert {"Luminosity", "ME variation", "Jet energy scale", "b-tag NP 1"} < names
    assert not {"cross section W+jets", "b-tag scale factors"} & names
    pseudodata = np.array(
        json.loads((finished / "h.json").read_text())["4j1b_pseudodata"]["contents"]
    )
    expected = np.add.reduceat(pseudodata[4:26], range(0, 22, 2))  # 110 to 550 GeV, bins of 40
    np.testing.assert_allclose(run.built.spec["observations"][0]["data"], expected)


def test_another_model_is_that_of_a_preset_or_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _file(tmp_path / "h.json")

    def printed(*options: str) -> str:
        assert main(["fit", str(file), "--print-model", *options]) == 0
        return capsys.readouterr().out

    usual = printed()
    assert ("significance = 1.0" in usual, 'observed = "pseudodata"' in usual) == (True, True)
    assert (
        printed("--model", "lesson")
        == (main(["fit", "nothing", "--print-model"]), capsys.readouterr().out)[1]
    )
    changed = tmp_path / "model.toml"
    changed.write_text("significance = 0.003\n")
    assert printed("--model", str(changed)) == usual.replace(
        "significance = 1.0", "significance = 0.003"
    )


def _counts(weight: float, seed: int, extra: float = 0.0) -> dict[str, Any]:
    counts = np.random.default_rng(seed).poisson(400, 27) + 60
    return {"edges": EDGES, "contents": (weight * counts + extra).tolist()}


def _file(path: Path, **changed: Any) -> Path:
    """Histograms of two processes in two regions, as the Grand Challenge writes them."""
    values = {}
    for number, region in enumerate(("4j1b", "4j2b")):
        values[f"{region}_ttbar"] = _counts(0.37, number)
        values[f"{region}_wjets"] = _counts(1.9, 10 + number)
        values[f"{region}_pseudodata"] = _counts(0.41, 20 + number)
    path.write_text(json.dumps(values | changed))
    return path


def test_variances_are_contents_times_the_weight_that_they_are_multiples_of(tmp_path: Path) -> None:
    made = from_json(_file(tmp_path / "h.json"), GRAND_CHALLENGE)
    for process, weight in (("ttbar", 0.37), ("wjets", 1.9)):
        template = made.by_key["4j2b", process, "nominal"]
        np.testing.assert_allclose(template.variances, weight * template.values, rtol=1e-9)
    assert made.cross_section_pb == pytest.approx(396.87 + 332.97)
    stated = GRAND_CHALLENGE.model_copy(update={"signal_cross_section_pb": 800})
    assert from_json(tmp_path / "h.json", stated).cross_section_pb == 800


def test_histograms_without_variances_are_refused(tmp_path: Path) -> None:
    two_weights = _counts(0.37, 0)
    two_weights["contents"] = np.add(
        two_weights["contents"], _counts(np.pi / 10, 7)["contents"]
    ).tolist()
    path = _file(tmp_path / "h.json", **{"4j1b_ttbar": two_weights})
    with pytest.raises(
        WorkspaceError, match=r"4j1b_ttbar has no variances, and its contents are no"
    ):
        from_json(path, GRAND_CHALLENGE)
    with pytest.raises(OutputError, match="a has 1 contents for 26 edges"):
        from_json(_file(path, a={"edges": EDGES, "contents": [1.0]}), GRAND_CHALLENGE)
    assert main(["fit", str(_file(path, a=[])), "--output", str(tmp_path)]) == 2


@pytest.mark.full
@pytest.mark.shared
@pytest.mark.parametrize(
    ("files", "value", "error", "up", "down"),
    [
        # MINOS of cabinetry 0.6 with strategy 2; for 1 file without the events that it gives to empty bins.
        ("5", 0.9533, 0.0919, 0.09866, 0.08624),
        ("all", 0.9468, 0.0789, 0.0812, 0.0805),
        ("1", 0.9534, 0.1127, 0.1214, 0.1048),
    ],
)  # fmt: skip
def test_its_references_are_fitted_as_by_cabinetry(
    shared: Path, files: str, value: float, error: float, up: float, down: float
) -> None:
    path = shared / "agc" / "reference" / f"v2_histos_{files}_file_per_process.json"
    result = stages.measure(stages.model_of(path), with_ranking=False).fit
    assert result.value == pytest.approx(value, abs=3e-4)
    assert result.error == pytest.approx(error, rel=5e-3)
    assert result.error_up == pytest.approx(up, rel=5e-3)
    assert result.error_down == pytest.approx(down, rel=5e-3)
