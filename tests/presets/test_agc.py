"""The presets of the Analysis Grand Challenge: its own histograms, and a plain loop of its selection."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from analysis import histograms
from analysis.cli import main
from analysis.common.errors import CatalogueError, ConfigError, DefinitionError, NormalisationError
from analysis.config import AnalysisConfig
from analysis.datasets import ntuples
from analysis.datasets.catalogue import Catalogue
from analysis.execution.runner import run
from analysis.execution.settings import Execution
from analysis.histograms import flatten
from analysis.postprocess.normalisation import Scaling, normalised
from analysis.presets.agc import AGC_V1, AGC_V2
from analysis.processor import TtbarAnalysis
from analysis.results import UNSCALED
from analysis.selection.preset import Preset
from tests.ntuples import as_nanoaod, make_events, write_nanoaod, write_random

REFERENCES = {AGC_V1.name: "v1.4.0_histos_nano.json", AGC_V2.name: "v2_histos_nano.json"}


def catalogue_of(path: Path, events: int, **fields: Any) -> Catalogue:
    dataset = {"process": "ttbar", "kind": "signal", "files": {path.name: events}, **fields}
    values = {"format": "nanoaod", "tree": "Events", "base": str(path.parent)}
    return Catalogue.model_validate({**values, "datasets": {"ttbar__nominal": dataset}})


@pytest.mark.shared
@pytest.mark.parametrize("preset", [AGC_V1, AGC_V2], ids=lambda preset: preset.name)
def test_histograms_are_those_of_its_own_processor(shared: Path, preset: Preset) -> None:
    """Its weights are cross section × luminosity / events, so that its counts are known."""
    folder = shared / "agc"
    reference = json.loads((folder / "reference" / REFERENCES[preset.name]).read_text())
    datasets = {}
    for name, told in reference["metadata"].items():
        files = sorted((folder / "nano").glob(f"{name}_*.root"))
        events = {path.name: uproot.open(path)["Events"].num_entries for path in files}
        assert sum(events.values()) == told["nevts"]
        kind = "signal" if told["process"] == "ttbar" else "background"
        named = {key: told[key] for key in ("process", "variation")}
        datasets[name] = {**named, "kind": kind, "files": events}
    values = {"format": "nanoaod", "tree": "Events", "base": str(folder / "nano")}
    catalogue = Catalogue.model_validate({**values, "datasets": datasets})
    output = run(TtbarAnalysis(preset=preset), catalogue).output
    compared = 0
    for name, told in reference["metadata"].items():
        weight = told["xsec"] * 3378 / told["nevts"]
        observable = output[name]["observable"][{"channel": sum, "process": told["process"]}]
        for region, variation in itertools.product(("4j1b", "4j2b"), observable.axes["variation"]):
            key = "_".join([region, told["process"], variation]).removesuffix("_nominal")
            if variation == "pt_res_up" or key not in reference["histograms"]:
                continue
            counts = np.array(reference["histograms"][key]["contents"]) / weight
            found = observable[{"region": region, "variation": variation}].values(flow=True)
            np.testing.assert_allclose(found, counts, atol=1e-6, err_msg=key)
            compared += 1
    left_out = [name for name in reference["histograms"] if "pt_res_up" in name]
    assert compared == len(reference["histograms"]) - len(left_out) > 80


def _selected(
    nano: dict[str, Any], event: int, scale: float, preset: Preset
) -> list[tuple[float, ...]] | None:
    """Good jets (pT, eta, phi, mass, discriminator) of an event with one good lepton."""
    v2 = preset is AGC_V2
    least = 30 if v2 else 25
    leptons = 0
    for flavour in ("Electron", "Muon"):
        for i in range(len(nano[f"{flavour}_pt"][event])):
            good = nano[f"{flavour}_pt"][event][i] > least
            if v2:
                eta, sip = (nano[f"{flavour}_{f}"][event][i] for f in ("eta", "sip3d"))
                good &= abs(eta) < 2.1 and sip < 4
            if v2 and flavour == "Electron":
                good &= nano["Electron_cutBased"][event][i] == 4
            elif v2:
                good &= nano["Muon_tightId"][event][i]
                good &= nano["Muon_pfRelIso04_all"][event][i] < 0.15
            leptons += bool(good)
    if leptons != 1:
        return None
    names = ("pt", "eta", "phi", "mass", "btagCSVV2", "jetId")
    jets = zip(*(nano[f"Jet_{name}"][event] for name in names), strict=True)
    return [
        (pt * scale, eta, phi, mass, tag)
        for pt, eta, phi, mass, tag, bits in jets
        if pt * scale > least and (not v2 or (abs(eta) < 2.4 and bits & 4))
    ]


def _trijet_mass(jets: list[tuple[float, ...]]) -> float:
    best, mass = -1.0, np.nan
    for trijet in itertools.combinations(jets, 3):
        if max(jet[4] for jet in trijet) <= 0.5:
            continue
        x, y, z, e = np.sum(
            [
                (pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta),
                 np.sqrt((pt * np.cosh(eta)) ** 2 + m**2))
                for pt, eta, phi, m, _ in trijet
            ],
            axis=0,
        )  # fmt: skip
        if np.hypot(x, y) > best:
            best, mass = np.hypot(x, y), np.sqrt(e**2 - x**2 - y**2 - z**2)
    return float(mass)


def plain_loop(
    nano: dict[str, Any], preset: Preset, process: str = "ttbar"
) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Region and variation -> value and weight of each event."""
    values: dict[tuple[str, str], list[tuple[float, float]]] = {}
    plain = {name: np.asarray(v) if v.ndim == 1 else v.to_list() for name, v in nano.items()}
    for event in range(len(plain["event"])):
        for variation, scale in (("nominal", 1.0), ("pt_scale_up", 1.03)):
            jets = _selected(plain, event, scale, preset)
            if jets is None or len(jets) < 4:
                continue
            tags = sum(jet[4] > 0.5 for jet in jets)
            if tags == 0:
                continue
            region = "4j1b" if tags == 1 else "4j2b"
            value = sum(jet[0] for jet in jets) if tags == 1 else _trijet_mass(jets)
            weights = {variation: 1.0}
            if variation == "nominal":
                for sign, direction in ((1, "up"), (-1, "down")):
                    weights |= {
                        f"btag_var_{i}_{direction}": 1 + sign * 0.075 * jets[i][0] / 50
                        for i in range(4)
                    }
                    if process == "wjets":
                        weights[f"scale_var_{direction}"] = 1 + sign * 0.025
            for name, weight in weights.items():
                values.setdefault((region, name), []).append((value, weight))
    return values


@pytest.mark.parametrize("preset", [AGC_V1, AGC_V2], ids=lambda preset: preset.name)
def test_the_command_gives_the_histograms_of_a_plain_loop(tmp_path: Path, preset: Preset) -> None:
    """Of POET ntuples that are written as NanoAOD, with their catalogue from `catalogue build`."""
    samples = {}
    for seed, process in ((33, "ttbar"), (37, "wjets")):
        poet = ntuples.read(write_random(tmp_path / f"{process}.root", 400, seed=seed))
        nano = as_nanoaod(poet)
        nano["Jet_jetId"] = nano["Jet_jetId"] - 4 * (nano["Jet_hadronFlavour"] == 5)
        write_nanoaod(tmp_path / "nano" / f"{process}__nominal.root", nano)
        samples[process] = nano
    catalogue, results = tmp_path / "catalogue.json", tmp_path / "results"
    assert main(["catalogue", "build", str(tmp_path / "nano"), "--output", str(catalogue)]) == 0
    command = ["process", "--analysis", preset.name, "--catalogue", str(catalogue), "--quiet"]
    assert main([*command, "--output", str(results)]) == 0
    found = histograms.load(results / UNSCALED)
    for process, nano in samples.items():
        observable = found[f"{process}__nominal/observable"][{"process": process, "channel": sum}]
        values = plain_loop(nano, preset, process)
        assert len(values[("4j2b", "nominal")]) > 10
        variations = {variation for _, variation in values} | {"pt_res_up"}
        assert set(observable.axes["variation"]) == variations
        for (region, variation), events in values.items():
            expected, _ = np.histogram(
                [value for value, _ in events],
                np.linspace(50, 550, 26),
                weights=[weight for _, weight in events],
            )
            counts = observable[{"region": region, "variation": variation}].values()
            np.testing.assert_allclose(counts, expected, atol=1e-9)


@pytest.mark.full
def test_the_smearing_is_the_same_for_any_chunks_and_executor(tmp_path: Path) -> None:
    path = write_nanoaod(tmp_path / "a.root", as_nanoaod(make_events(400, seed=34)))
    outputs = [
        run(TtbarAnalysis(preset=AGC_V2), catalogue_of(path, 400), execution=execution).output
        for execution in (Execution(), Execution(chunk_size=90), Execution("futures", 2))
    ]
    observables = [output["ttbar__nominal"]["observable"] for output in outputs]
    smeared = [observable[{"variation": "pt_res_up"}].values() for observable in observables]
    assert (smeared[0] == smeared[1]).all()
    assert (smeared[0] == smeared[2]).all()
    assert (smeared[0] != observables[0][{"variation": "nominal"}].values()).any()


def test_a_preset_of_nanoaod_is_refused_for_poet_ntuples_and_the_reverse(tmp_path: Path) -> None:
    poet = write_random(tmp_path / "poet.root", 20, seed=1)
    catalogue = catalogue_of(poet, 20).model_copy(update={"format": "poet", "tree": "events"})
    with pytest.raises(
        ConfigError, match=r"^no branch of a POET ntuple gives 'jet.isTightLepVeto'"
    ):
        run(TtbarAnalysis(preset=AGC_V2), catalogue)
    nano = write_nanoaod(tmp_path / "nano.root", as_nanoaod(make_events(20, seed=1)))
    with pytest.raises(
        DefinitionError, match=r"shift 'pt_scale'.*: NanoAOD has no jet.corrpt(Up|Down): let"
    ):
        run(TtbarAnalysis(), catalogue_of(nano, 20))


def test_generator_weights_are_in_histograms_cutflow_and_sums(tmp_path: Path) -> None:
    nano = as_nanoaod(make_events(400, seed=35))
    assert 0 < np.sum(nano["genWeight"] < 0) < 200
    config = AnalysisConfig.model_validate(
        {"variations": {"jet_energy": False}, "multijet": {"enabled": False}}
    )
    outputs = {}
    for sign in (1, -1):
        rows = np.flatnonzero(nano["genWeight"] == sign)
        part = {name: values[rows] for name, values in nano.items()}
        path = write_nanoaod(tmp_path / f"{sign}.root", part)
        result = run(TtbarAnalysis(config), catalogue_of(path, len(rows)))
        result.ledger.require_complete()
        outputs[sign] = result.output
    path = write_nanoaod(tmp_path / "all.root", nano)
    weighted = catalogue_of(path, 400, generator_weights=True)
    found = run(TtbarAnalysis(config), weighted)
    found.ledger.require_complete()
    output = found.output["ttbar__nominal"]
    plus, minus = (outputs[sign]["ttbar__nominal"] for sign in (1, -1))
    expected = plus["observable"].view(flow=True), minus["observable"].view(flow=True)
    view = output["observable"].view(flow=True)
    np.testing.assert_allclose(
        view["value"], expected[0]["value"] - expected[1]["value"], atol=1e-9
    )
    np.testing.assert_allclose(view["variance"], expected[0]["variance"] + expected[1]["variance"])
    assert output["counts"] == {"events": 400, "sum_of_weights": float(np.sum(nano["genWeight"]))}
    record = found.ledger.datasets["ttbar__nominal"]
    assert record.sum_of_weights_processed == float(np.sum(nano["genWeight"]))
    for channel, steps in output["cutflow"].items():
        for step, count in steps.items():
            a, b = (o["cutflow"][channel][step]["events"] for o in (plus, minus))
            assert count == {"events": a + b, "weighted": float(a - b)}


def test_generator_weights_that_add_up_to_nothing_are_refused(tmp_path: Path) -> None:
    nano = as_nanoaod(make_events(20, seed=1))
    nano["genWeight"] = np.resize([1, -1], 20).astype(np.float32)
    path = write_nanoaod(tmp_path / "a.root", nano)
    config = AnalysisConfig.model_validate({"variations": {"jet_energy": False}})
    catalogue = catalogue_of(path, 20, generator_weights=True, cross_section=800)
    result = run(TtbarAnalysis(config), catalogue)
    with pytest.raises(
        NormalisationError, match="ttbar__nominal: the sum of weights must be positive"
    ):
        normalised(flatten(result.output), result.ledger, Scaling(luminosity_ipb=1))


def test_a_sum_of_weights_of_another_kind_than_the_weights_is_refused(tmp_path: Path) -> None:
    path = write_nanoaod(tmp_path / "a.root", as_nanoaod(make_events(20, seed=1)))
    summed = {"sum_of_weights": 12, "sum_of_weights_is": "weights", "generator_weights": True}
    with pytest.raises(CatalogueError, match="the analysis takes no generator weights and each"):
        run(TtbarAnalysis(preset=AGC_V2), catalogue_of(path, 20, **summed))
    counted = catalogue_of(path, 20, **{**summed, "sum_of_weights_is": "count"})
    assert any("'weights' is needed" in fault for fault in counted.inconsistencies())
