"""Comparison with histograms of the Analysis Grand Challenge, and export in their format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.cli import main
from analysis.common.errors import OutputError
from analysis.postprocess.agc_json import Content, compare, load
from tests.ntuples import as_nanoaod, make_events, write_nanoaod

EDGES = np.linspace(50, 550, 26)
WEIGHT = 1.7


def content(**changes: float) -> Content:
    """Counts 1, 2, 3, ... with changes of bins `bin_5=1`, in events."""
    counts = np.arange(1.0, 28.0)
    for name, change in changes.items():
        counts[int(name.removeprefix("bin_"))] += change
    return Content(EDGES, WEIGHT * counts)


@pytest.mark.parametrize(
    ("changes", "bins", "agrees"),
    [
        ({}, 0, True),
        ({"bin_5": 1, "bin_6": -1}, 2, True),
        ({"bin_5": 2, "bin_6": -1, "bin_7": -1}, 3, True),
        ({"bin_5": 1, "bin_8": -1}, 2, False),
        ({"bin_5": 3, "bin_6": -3}, 2, False),
        ({"bin_26": 1}, 1, False),
    ],
)
def test_events_may_be_on_the_other_side_of_an_edge(
    changes: dict[str, float], bins: int, agrees: bool
) -> None:
    (found,) = compare({"4j1b_ttbar": content(**changes)}, {"4j1b_ttbar": content()})
    assert (found.bins, found.agrees, found.events) == (bins, agrees, 27 * 14)
    assert found.largest == pytest.approx(max(map(abs, changes.values()), default=0))


def test_a_variation_by_weights_is_counted_by_the_nominal_weight() -> None:
    factors = np.linspace(1.01, 1.37, 27)
    varied = Content(EDGES, content().contents * factors)
    moved = Content(EDGES, varied.contents.copy())
    moved.contents[[5, 6]] += WEIGHT * np.array([1.2, -1.2])
    reference = {"4j1b_ttbar": content(), "4j1b_ttbar_btag_var_0_up": varied}
    _, found = compare({**reference, "4j1b_ttbar_btag_var_0_up": moved}, reference)
    assert (found.bins, found.events, found.agrees) == (2, None, True)
    assert found.largest == pytest.approx(1.2)


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no histogram of the reference is there: it has b"):
        compare({"a": content()}, {"b": content()})
    with pytest.raises(OutputError, match="a: 26 edges that are not those of the reference"):
        compare({"a": content()}, {"a": content()._replace(edges=EDGES + 1)})
    for text, message in (
        ("[]", "expected JSON"),
        ('{"a": {"edges": [0, 1]}}', r"expected JSON .*'contents'"),
        ('{"a": {"edges": [0, 1], "contents": [1]}}', "a has 1 contents for 2 edges"),
    ):
        (tmp_path / "r.json").write_text(text)
        with pytest.raises(OutputError, match=message):
            load(tmp_path / "r.json")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the preset over a small sample of each process that pseudo-data are made of."""
    folder = tmp_path_factory.mktemp("agc")
    names = ("ttbar__nominal", "ttbar__ME_var", "ttbar__PS_var", "wjets__nominal")
    for seed, name in enumerate(names):
        events = as_nanoaod(make_events(150, seed=seed))
        write_nanoaod(folder / "nano" / f"{name}.root", events)
    build = ["catalogue", "build", str(folder / "nano"), "--output", str(folder / "c.json"),
             "--luminosity", "3378 /pb", "--cross-section", "ttbar=730", "--cross-section",
             "wjets=15487", "--quiet"]  # fmt: skip
    assert main(build) == 0
    command = ["process", "--analysis", "agc-v2", "--catalogue", str(folder / "c.json"), "--quiet"]
    assert main([*command, "--output", str(folder / "results")]) == 0
    return folder / "results"


def test_a_run_is_compared_with_its_own_export(
    results: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exported = tmp_path / "histograms.json"
    assert main(["export", str(results), "--output", str(exported)]) == 0
    values: dict[str, Any] = json.loads(exported.read_text())
    assert len(values["4j1b_ttbar"]["contents"]) == 27
    pseudodata, matrix, shower, wjets = (
        np.array(values[f"4j2b_{name}"]["contents"])
        for name in ("pseudodata", "ttbar_ME_var", "ttbar_PS_var", "wjets")
    )
    np.testing.assert_allclose(pseudodata, (matrix + shower) / 2 + wjets)
    assert main(["compare", str(results), str(exported)]) == 0
    monkeypatch.setattr("analysis.plotting.comparison.make_figures", lambda *_: [])
    capsys.readouterr()
    assert main(["compare", str(results), str(results), "--all"]) == 0
    assert "results: ttbar__nominal: sum of weights not known" in capsys.readouterr().err
    values["4j2b_ttbar"]["contents"][9] += 100.0
    exported.write_text(json.dumps(values))
    capsys.readouterr()
    assert main(["compare", str(results), str(exported)]) == 1
    assert "4j2b_ttbar" in capsys.readouterr().out
