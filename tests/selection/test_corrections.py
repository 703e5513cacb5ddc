"""Corrections from tables: closure, each event's weight by hand, and what a wrong file is answered with."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import cloudpickle
import numpy as np
import pytest
from coffea.nanoevents import NanoEventsFactory

from analysis.common.errors import AnalysisError, ConfigError, EventValueError
from analysis.config import AnalysisConfig, Binning, Correction, load_config
from analysis.datasets.bundled import SAMPLE
from analysis.datasets.catalogue import Catalogue
from analysis.execution.checkpoints.definition import definition
from analysis.presets.agc import AGC_V2
from analysis.processor import TtbarAnalysis
from analysis.selection.regions import Region
from analysis.selection.selection import Selection
from schemas import NanoSchema
from tests.conftest import PROJECT
from tests.ntuples import as_nanoaod, make_events, write, write_nanoaod
from tests.selection.plain import Event, process, seen_by_a_function, selected

EXAMPLES = PROJECT / "docs" / "examples"
USES = ("PV.npvs", "jet.hflav", "lepton.phi")
EFFICIENCY = 1 - 2 / math.pi * math.asin(math.sqrt(0.8))
"""Of the random discriminators, which have the arcsine distribution, whatever the flavour."""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    few = make_events(3000, seed=41, also=("electron_dxy", "muon_dxy"))
    return write(tmp_path_factory.mktemp("corrections") / "a.root", few)


@pytest.fixture(scope="module")
def events(path: Path) -> list[Event]:
    return list(selected(path))


@pytest.fixture(scope="module")
def selection(path: Path) -> Selection:
    return seen_by_a_function(path, USES).unshifted()


@pytest.fixture(scope="module")
def corrected() -> TtbarAnalysis:
    return TtbarAnalysis(load_config(EXAMPLES / "corrections.toml"))


def factors(analysis: TtbarAnalysis, selection: Selection, name: str, direction: str) -> Any:
    part = next(part for part in analysis.corrections if part.name == name)
    return part.factor(getattr(part, direction), selection)[selection.wanted[0]]


def in_bin(value: float, edges: list[float], content: list[float]) -> float:
    """Content of the bin of a value; the outermost beyond the edges."""
    place = int(np.searchsorted(edges, value, side="right")) - 1
    return content[min(max(place, 0), len(content) - 1)]


def table(name: str, inputs: dict[str, str], data: Any) -> dict[str, Any]:
    variables = [{"name": given, "type": kind} for given, kind in inputs.items()]
    output = {"name": "weight", "type": "real"}
    return {"name": name, "version": 1, "inputs": variables, "output": output, "data": data}


def binned(given: str, edges: list[float], content: list[Any], flow: Any = "error") -> Any:
    return {
        "nodetype": "binning", "input": given, "edges": edges, "content": content, "flow": flow
    }  # fmt: skip


def file_of(path: Path, *tables: Any, version: int = 2) -> str:
    path.write_text(json.dumps({"schema_version": version, "corrections": tables}))
    return str(path)


SHIFTED = {"nominal": 0.0, "up": 1.0, "down": -1.0}
_MUON = [[0.97, 0.98, 0.985], [0.96, 0.97, 0.975], [0.985, 0.99, 0.99], [0.95, 0.96, 0.965]]
_TAG = [20.0, 50, 100, 300]
_SF: dict[str, tuple[Any, dict[float, float]]] = {
    "btag_heavy": (lambda _: [0.95, 0.96, 0.94], {5: 0.025, 4: 0.05}),
    "btag_light": (lambda _: [1.05, 1.08, 1.12], {0: 0.1}),
}
_EFFICIENCY = {5: [0.68, 0.72, 0.70], 4: [0.16, 0.18, 0.17], 0: [0.012, 0.012, 0.015]}


def of_muon(event: Event, _: str, sign: float) -> float:
    if event.channel != "muon":
        return 1.0
    row = in_bin(abs(event.lepton["eta"]), [0, 0.9, 1.2, 2.1, 2.4], _MUON)  # type: ignore[arg-type]
    return in_bin(event.lepton["pt"], [20, 40, 60, 120], row) + 0.01 * sign  # type: ignore[arg-type]


def of_vertices(event: Event, _: str, sign: float) -> float:
    excess = in_bin(
        event.flat["PV_npvs"], [0, 6, 9, 12, 15, 20, 100], [0.3, 0.15, 0, -0.1, -0.15, -0.2]
    )
    return 1 + (1 + 0.3 * sign) * excess


def of_tags(event: Event, name: str, sign: float) -> float:
    content, errors = _SF[name]
    product = 1.0
    for jet in event.jets:
        flavour = jet["hflav"]
        if flavour not in errors:
            continue
        factor = in_bin(jet["pt"], _TAG, content(flavour)) + sign * errors[flavour]
        efficiency = in_bin(jet["pt"], _TAG, _EFFICIENCY[int(flavour)])
        tagged = jet["btag"] >= 0.8
        product *= factor if tagged else (1 - factor * efficiency) / (1 - efficiency)
    return product


@pytest.mark.parametrize("direction", SHIFTED)
@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        ("muon_id_iso", of_muon),
        ("pile_up", of_vertices),
        ("btag_heavy", of_tags),
        ("btag_light", of_tags),
    ],
)
def test_the_weight_of_each_event_is_that_of_the_table(
    corrected: TtbarAnalysis,
    selection: Selection,
    events: list[Event],
    name: str,
    by_hand: Callable[[Event, str, float], float],
    direction: str,
) -> None:
    want = [by_hand(event, name, SHIFTED[direction]) for event in events]
    assert len({round(value, 9) for value in want}) > 3, "the comparison has content"
    np.testing.assert_allclose(factors(corrected, selection, name, direction), want, rtol=1e-6)


def yields(path: Path, config: AnalysisConfig | None = None) -> Any:
    """Weighted events by number of b tags."""
    axis = Binning(bins=4, low=-0.5, high=3.5)
    region = Region("tags", lambda s: s.n_jets >= 1, lambda s: s.n_btags, binning=axis)
    output = process(TtbarAnalysis(config, regions=[region]), path)["observables"]["tags"]
    return output[{"variation": "nominal", "process": 0, "region": 0, "channel": sum}].values()


PT = binned("pt", [0.0, 50.0, 1e4], [0.5, 0.8])
VERTICES = binned("n", [0.0, 13.0, 1e3], [1.0, 0.5])
TAGS = {5: 0.2, 4: 0.3, 0: 0.5}
CLOSURES: dict[str, dict[str, Any]] = {
    "lepton": {"inputs": {"pt": "lepton.pt"}, "tables": [table("t", {"pt": "real"}, PT)]},
    "vertices": {"inputs": {"n": "PV.npvs"}, "tables": [table("t", {"n": "real"}, VERTICES)]},
    "tags": {
        "inputs": {"flavour": "jet.hflav"},
        "tables": [
            table("t", {"flavour": "int"}, {
                "nodetype": "category", "input": "flavour",
                "content": [{"key": key, "value": value} for key, value in TAGS.items()],
            }),
            table("efficiency", {"pt": "real"}, EFFICIENCY),
        ],
    },
}  # fmt: skip
"""Closure -> the correction, with the truth that is put into the pseudo-data."""


def injected(kind: str, made: dict[str, Any], selection: Selection) -> tuple[dict[str, Any], Any]:
    """Events as a detector of other efficiencies sees them, and the places of those that it keeps."""
    rng = np.random.default_rng(5)
    n_events = len(made["PV_npvs"])
    if kind == "lepton":
        kept = np.ones(n_events)
        kept[selection.rows] = np.where(selection.lepton.pt < 50, 0.5, 0.8)
        return made, np.flatnonzero(rng.random(n_events) < kept)
    if kind == "vertices":
        kept = np.where(np.asarray(made["PV_npvs"]) < 13, 1.0, 0.5)
        return made, np.flatnonzero(rng.random(n_events) < kept)
    counts = ak.num(made["jet_btag"])
    flavour, tag = (np.asarray(ak.flatten(made[f"jet_{name}"])) for name in ("hflav", "btag"))
    factor = np.select([flavour == key for key in TAGS], list(TAGS.values()), 1.0)
    lost = (tag >= 0.8) & (rng.random(len(tag)) > factor)
    tag = np.where(lost, 0.1, tag).astype(np.float32)
    return made | {"jet_btag": ak.unflatten(tag, counts)}, np.arange(n_events)


@pytest.mark.parametrize("kind", CLOSURES)
def test_what_is_put_in_comes_out(
    kind: str, path: Path, selection: Selection, tmp_path: Path
) -> None:
    """Corrected simulation has the yields of pseudo-data; without the correction it is far off."""
    told = CLOSURES[kind]
    file = file_of(tmp_path / "t.json", *told["tables"])
    correction: dict[str, Any] = {"file": file, "correction": "t", "inputs": told["inputs"]}
    if kind == "tags":
        pt = {"file": file, "correction": "efficiency", "inputs": {"pt": "jet.pt"}}
        correction |= {"tag_efficiency": pt, "hadron_flavours": list(TAGS)}
    made, places = injected(kind, make_events(3000, seed=41), selection)
    data = yields(write(tmp_path / "a.root", made, places=places))
    config = AnalysisConfig.model_validate({"corrections": {"sf": correction}})
    before, after = yields(path), yields(path, config)
    error = np.sqrt(data.clip(min=1))
    assert np.abs((before - data) / error).max() > 5
    assert np.abs((after - data) / error).max() < 3


def test_generated_top_quarks_weight_nanoaod(tmp_path: Path) -> None:
    made = as_nanoaod(make_events(40, seed=2))
    rows = [[6, 21, 6, -6], [-6, 6]] * 20
    pt = [[10.0, 20, 100, 300], [200.0, 50]] * 20
    last = [[0, 0, 1 << 13, 1 << 13], [1 << 13, 1 << 13]] * 20
    made |= {"GenPart_pdgId": rows, "GenPart_statusFlags": last, "GenPart_pt": pt}
    made |= dict.fromkeys(("GenPart_eta", "GenPart_phi", "GenPart_mass"), pt)
    path = write_nanoaod(tmp_path / "a.root", made)
    config = load_config(EXAMPLES / "top_pt.toml", AGC_V2.config)
    analysis = TtbarAnalysis(config, preset=AGC_V2)
    analysis.check([{"process": "ttbar"}], "nanoaod")
    (part,) = (part for part in analysis.corrections if part.name == "top_pt")
    told = {"dataset": "set", "process": "ttbar", "variation": "nominal"}
    read = NanoEventsFactory.from_root({path: "Events"}, schemaclass=NanoSchema, metadata=told)
    caught: list[Selection] = []
    region = Region("any", lambda s: caught.append(s) or s.n_jets >= 0, lambda s: s.ht)
    analysis.adding(regions=[region]).process(read.events())
    want = np.resize([math.exp(0.0615 - 0.0005 * 200), math.exp(0.0615 - 0.0005 * 125)], 40)
    for direction, power in {"nominal": 1, "up": 0, "down": 2}.items():
        found = part.factor(getattr(part, direction), caught[0].unshifted())
        rows = caught[0].rows
        assert len(rows) > 3
        np.testing.assert_allclose(found, want[rows] ** power, rtol=1e-6)


def muon_table(**changes: Any) -> dict[str, Any]:
    file = str(EXAMPLES / "leptons.json")
    directed = {"nominal": "nominal", "up": "systup", "down": "systdown"}
    inputs: dict[str, Any] = {"abseta": "abs(muon.eta)", "pt": "muon.pt", "scale_factors": directed}
    return {"file": file, "correction": "muon_id_iso", "inputs": inputs} | changes


def inputs_with(**changes: Any) -> dict[str, Any]:
    inputs = {**muon_table()["inputs"], **changes}
    return {"inputs": {name: value for name, value in inputs.items() if value is not None}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"file": "nowhere.json"}, "corrections.sf.file nowhere.json: No such file or directory"),
        ({"correction": "muon_id"}, "corrections.sf.correction: no 'muon_id' .* mean 'muon_id_iso'"),
        (inputs_with(pt=None), r"corrections.sf.inputs: 'muon_id_iso' of .*leptons.json needs pt"),
        (inputs_with(Pt="muon.pt"), r"corrections.sf.inputs: 'muon_id_iso' has no input 'Pt': .*'pt'"),
        (inputs_with(scale_factors="nominl"), "inputs.scale_factors: 'nominl', did you mean 'nominal'"),
        (inputs_with(scale_factors=1.0), "inputs.scale_factors: 1.0, expected a text"),
        (inputs_with(pt="pt"), "corrections.sf.inputs.pt: 'pt' is no column .* did you mean 'top_pt'"),
        (inputs_with(pt="electron.pt"), "corrections.sf.inputs: of electron and muon, expected"),
        (inputs_with(pt="muon.ptt"), "weight 'sf', uses: no branch of a POET .* muon.pt"),
        ({"processes": ["ttbarr"]}, "weight 'sf', 'ttbarr': unknown process, did you mean 'ttbar'"),
        ({"fil": "x"}, "corrections.sf.fil: unknown key, did you mean 'file'"),
    ],
)  # fmt: skip
def test_a_wrong_correction_is_one_line_at_the_start(changes: dict[str, Any], said: str) -> None:
    with pytest.raises((AnalysisError, ValueError), match=said) as caught:
        start(changes)
    assert "\n" not in str(caught.value)


def start(changes: dict[str, Any]) -> None:
    TtbarAnalysis(validated(changes)).require_events(Catalogue.load(SAMPLE))


def validated(changes: dict[str, Any]) -> AnalysisConfig:
    return AnalysisConfig().model_copy(update={"corrections": {"sf": muon_table(**changes)}})


def test_a_file_of_another_version_is_one_line(tmp_path: Path) -> None:
    one = table("muon_id_iso", {"pt": "real"}, 1.0)
    old = file_of(tmp_path / "old.json", one, version=1)
    with pytest.raises(ConfigError, match=r"old.json: schema version 1, expected 2"):
        TtbarAnalysis(validated({"file": old}))
    for text in ("{", "[]", "3"):
        (tmp_path / "no.json").write_text(text)
        with pytest.raises(ConfigError, match=r"no.json: (not JSON|no schema version)"):
            TtbarAnalysis(validated({"file": str(tmp_path / "no.json")}))
    broken = file_of(tmp_path / "broken.json", {**one, "data": {"nodetype": "nothing"}})
    with pytest.raises(ConfigError, match=r"corrections.sf: .*broken.json, 'muon_id_iso': "):
        TtbarAnalysis(validated({"file": broken, "inputs": {"pt": "muon.pt"}}))


def test_a_value_without_a_bin_names_table_and_input(path: Path, tmp_path: Path) -> None:
    file = file_of(
        tmp_path / "t.json", table("t", {"pt": "real"}, binned("pt", [30.0, 60.0], [1.0]))
    )
    told = {"file": file, "correction": "t", "inputs": {"pt": "muon.pt"}}
    analysis = TtbarAnalysis(AnalysisConfig.model_validate({"corrections": {"sf": told}}))
    analysis.check()
    said = r"weight 'sf': 't' of t.json has no bin for pt = \d+.* \(above bounds in binning\)$"
    with pytest.raises(EventValueError, match=said):
        process(analysis, path)


def test_a_correction_travels_by_value(path: Path, tmp_path: Path) -> None:
    """It is sent without its file, and another content of the same file is another analysis."""
    file = tmp_path / "t.json.gz"

    def analysis(value: float) -> TtbarAnalysis:
        content = {"schema_version": 2, "corrections": [table("t", {"n": "real"}, value)]}
        file.write_bytes(gzip.compress(json.dumps(content).encode()))
        told = Correction(file=str(file), correction="t", inputs={"n": "n_jets"})
        return TtbarAnalysis(AnalysisConfig(corrections={"sf": told}))

    one, other = analysis(2.0), analysis(3.0)
    file.unlink()
    sent = cloudpickle.loads(cloudpickle.dumps(one))
    assert definition(sent.corrections).digest == definition(one.corrections).digest
    assert definition(other.corrections).digest != definition(one.corrections).digest
    assert one.selecting()["weight 'sf'"] != other.selecting()["weight 'sf'"]
    plain = process(TtbarAnalysis(), path)["observable"]
    assert process(sent, path)["observable"].sum(flow=True).value == pytest.approx(
        2 * plain.sum(flow=True).value
    )
