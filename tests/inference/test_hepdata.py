"""The HEPData submission, read back."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from analysis.common.errors import ConfigError
from analysis.config import Binning
from analysis.inference import hepdata
from analysis.inference.measurement import Measurement, measure
from tests.inference.models import shapes


@pytest.fixture(scope="module")
def measurement() -> Measurement:
    binnings = {"B": Binning(bins=3, low=0, high=6)}
    return measure(
        shapes(),
        cross_section_pb=831.76,
        binning=Binning(bins=3, low=0, high=30),
        binnings=binnings,
    )


def _read(path: Path) -> tuple[list[Any], dict[str, list[Any]]]:
    """Independent values, and dependent ones by name."""
    table = yaml.safe_load(path.read_text())
    dependent = {v["header"]["name"]: v["values"] for v in table["dependent_variables"]}
    return table["independent_variables"][0]["values"], dependent


# Of the library and its validator, about themselves.
@pytest.mark.filterwarnings("ignore")
def test_the_submission_is_valid_and_holds_the_numbers(
    measurement: Measurement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    archive = hepdata.write(measurement, Path("out"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    with tarfile.open(archive) as tar:
        assert "submission.yaml" in tar.getnames()
    out = tmp_path / "out"
    _, result = _read(out / "result.yaml")
    section, strength = result["Value"]
    assert section["value"] == pytest.approx(831.76 * strength["value"], rel=1e-3)
    errors = {e["label"]: e["symerror"] for e in section["errors"]}
    assert errors["luminosity"] == pytest.approx(measurement.cross_section.luminosity, rel=1e-3)
    (asymmetric,) = result["Value, with the total (MINOS) error"][1]["errors"]
    assert asymmetric["asymerror"]["plus"] == pytest.approx(measurement.fit.error_up, rel=1e-3)
    assert asymmetric["asymerror"]["minus"] == pytest.approx(-measurement.fit.error_down, rel=1e-3)
    seen = measurement.cross_section.model_copy(update={"value": 80.0, "statistical": 3.0})
    hepdata.write(measurement.model_copy(update={"visible": seen}), Path("seen"))
    quantities, result = _read(tmp_path / "seen" / "result.yaml")
    assert quantities[2]["value"] == "visible σ(signal) [pb]"
    assert result["Value"][2]["value"] == pytest.approx(80.0)
    assert result["Value"][2]["errors"][0]["symerror"] == pytest.approx(3.0)
    sources, parts = _read(out / "uncertainties.yaml")
    assert [v["value"] for v in sources] == list(measurement.uncertainties_pb)
    ((values),) = parts.values()
    assert values[-1]["value"] == pytest.approx(measurement.cross_section.error, rel=1e-3)
    own, yields = _read(out / "yields_b.yaml")
    assert own == [{"low": 0, "high": 2}, {"low": 2, "high": 4}, {"low": 4, "high": 6}]
    bins, _ = _read(out / "yields_a.yaml")
    assert bins == [{"low": 0, "high": 10}, {"low": 10, "high": 20}, {"low": 20, "high": 30}]
    assert [v["value"] for v in yields["signal, prefit"]] == [40, 120, 60]
    assert [v["value"] for v in yields["Observed"]] == [440, 320, 160]
    _, correlations = _read(out / "correlations.yaml")
    assert len(correlations["Correlation"]) == len(measurement.fit.parameters) ** 2
    names, impacts = _read(out / "impacts.yaml")
    assert [v["value"] for v in names] == [impact.name for impact in measurement.ranking]
    assert impacts["postfit, up"][0]["value"] == pytest.approx(
        measurement.ranking[0].postfit_up, rel=1e-3
    )


def test_without_the_library_the_extra_is_named(
    measurement: Measurement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "hepdata_lib", None)
    with pytest.raises(ConfigError, match="extra 'hepdata'"):
        hepdata.write(measurement, tmp_path)
