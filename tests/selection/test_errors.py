"""What cannot be, in a part of an analysis, is told in one line that begins with the part's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.common.errors import DefinitionError, EventValueError
from analysis.config import Binning
from analysis.processor import TtbarAnalysis
from analysis.selection.channels import Channel
from analysis.selection.control_plots import Control
from analysis.selection.regions import Region
from analysis.selection.variations import Shift, Weight
from tests.ntuples import make_events, write
from tests.selection.plain import process

AXIS = Binning(bins=5, low=0, high=1)


def four(s: Any) -> Any:
    return s.n_jets >= 4


def ht(s: Any) -> Any:
    return s.ht


def boom(_: Any) -> Any:
    msg = "wrong\nin two lines"
    raise RuntimeError(msg)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Region("all", four, ht), "region 'all': a name is none of 'all'"),
        (lambda: Region("a/b", four, ht), "region 'a/b': a name has letters, digits"),
        (lambda: Region("a", True, ht), "region 'a': where is True, expected a function"),
        (lambda: Region("a", (four, 3), ht), "region 'a': where is 3, expected a function"),
        (lambda: Region("a", four, "ht"), "region 'a': observable is 'ht', expected a function"),
        (
            lambda: Region("a", four, ht, binning=(5, 0, 1)),
            r"region 'a': binning \(5, 0, 1\), expected Binning",
        ),
        (
            lambda: Region("a", four, ht, uses="met.pt"),
            "region 'a': uses='met.pt', expected a set of columns, such as {'met.pt'}",
        ),
        (lambda: Region("a", four, ht, uses={"met"}), "region 'a': uses 'met', expected columns"),
        (lambda: Control("c", ht, None), "control plot 'c': binning None, expected Binning"),
        (lambda: Control("c", None, AXIS), "control plot 'c': value is None, expected a function"),
        (
            lambda: Channel("c", "tau", ("x",)),
            "channel 'c': lepton 'tau', valid are: electron, muon",
        ),
        (lambda: Channel("c", "muon", "x", stream="muons"), "stream 'muons', did you mean 'muon'"),
        (lambda: Shift("s"), "shift 's': neither up nor down"),
        (lambda: Shift("s", up="pt", of="jets"), "shift 's': of 'jets', did you mean 'jet'"),
        (lambda: Shift("s", up=1.1), "shift 's': by 1.1, expected a column or a function"),
        (lambda: Weight("w"), "weight 'w': neither up nor down nor nominal"),
        (lambda: Weight("w", up=1.1), "weight 'w': up is 1.1, expected a function"),
    ],
)
def test_a_part_that_cannot_be(make: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"regions": [Region("4j1b", four, ht)]}, "region '4j1b': the name '4j1b' is there twice"),
        (
            {"shifts": [Shift("btag_var_0", up="corrptUp")]},
            "the name 'btag_var_0_up' is there twice, also in shift 'btag_var_0'",
        ),
        ({"region": []}, "an analysis has no 'region': did you mean 'regions'"),
        ({"regions": Region("a", four, ht)}, "regions: .* expected a list of Region"),
        ({"regions": [Control("a", ht, AXIS)]}, "regions: .* expected a Region"),
    ],
)
def test_parts_that_cannot_be_together(parts: dict[str, Any], said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        TtbarAnalysis().adding(**parts)


def test_an_analysis_needs_a_region_and_a_channel() -> None:
    for part in ("regions", "channels"):
        with pytest.raises(DefinitionError, match=f"needs {part}"):
            TtbarAnalysis(**{part: []})  # type: ignore[arg-type]


BAD: list[tuple[dict[str, Any], str]] = [
    (
        {"regions": [Region("a", lambda s: s.n_jet >= 4, ht)]},
        "region 'a', where: AttributeError: Selection has no 'n_jet': did you mean 'n_jets'",
    ),
    (
        {"regions": [Region("a", four, lambda s: s.met.pt)]},
        r"region 'a', observable: met.pt is read and not declared: add uses=\{'met.pt'\}",
    ),
    (
        {"regions": [Region("a", four, ht, uses={"met.ptt"})]},
        "region 'a', uses: no branch of a POET ntuple gives 'met.ptt': nearest are met.pt",
    ),
    (
        {"regions": [Region("a", four, lambda s: s.met.pt[:1], uses={"met.pt"})]},
        r"region 'a', observable: shape \(1,\), expected \(16,\)",
    ),
    (
        {"regions": [Region("a", lambda s: s.n_jets, ht)]},
        "region 'a', where: a mask of true and false expected, got int64",
    ),
    (
        {"regions": [Region("a", four, lambda s: s.ht[:, :3])]},
        r"region 'a', observable: shape \(5, 3\), expected \(\d+,\) or \(5, \d+\)",
    ),
    (
        {"regions": [Region("a", four, lambda _: "text")]},
        "region 'a', observable: numbers expected, got <U4",
    ),
    (
        {"regions": [Region("a", four, lambda _: not_there)]},  # type: ignore[name-defined]  # noqa: F821
        "region 'a', observable: NameError: name 'not_there' is not defined",
    ),
    (
        {"weights": [Weight("w", up=lambda s: s.jets.lead(1))]},
        "weight 'w': AttributeError: SelectedJets has no 'lead': did you mean 'leading_pt'",
    ),
    ({"weights": [Weight("w", up=lambda s: s.ht[:, :2])]}, r"weight 'w': shape \(1, 2\)"),
    (
        {"shifts": [Shift("s", up="corrptUpp")]},
        "shift 's', uses: .* 'jet.corrptUpp': nearest are jet.corrptUp",
    ),
    ({"shifts": [Shift("s", up=lambda j: j.pt[:2])]}, "shift 's': float32 of shape"),
    ({"shifts": [Shift("s", up=lambda j: j.hflav)]}, "shift 's': jet.hflav is read and not declared"),
    (
        {"controls": [Control("c", lambda s: s.jets.values("hflav"), AXIS)]},
        "control plot 'c': jet.hflav is read and not declared",
    ),
    (
        {"controls": [Control("c", ht, AXIS, where=lambda s: s.ht)]},
        "control plot 'c', where: a mask of true and false expected",
    ),
    (
        {"channels": [Channel("m", "muon", ("IsoMu2",))]},
        "channel 'm', uses: .* 'trig.IsoMu2': nearest are trig.IsoMu20",
    ),
    (
        {"channels": [Channel("m", "muon", ("IsoMu20",), where=lambda lepton: lepton.pt)]},
        "channel 'm', where: float64 of shape .* expected a mask",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("parts", "said"), BAD)
def test_a_function_is_tried_before_a_file_is_opened(parts: dict[str, Any], said: str) -> None:
    analysis = TtbarAnalysis(**parts) if "channels" in parts else TtbarAnalysis().adding(**parts)
    with pytest.raises(DefinitionError, match=said) as caught:
        analysis.check()
    assert "\n" not in str(caught.value)


def test_a_right_analysis_passes() -> None:
    TtbarAnalysis().check()
    columns = {
        "lepton.phi",
        "lepton.charge",
        "muon.jetidx",
        "jet.hflav",
        "met.phi",
        "met.pt",
        "PV.npvs",
    }
    columns |= {"muon.cartesian.px", "muon.cartesian.py", "PV.z", "fatjet.tau1", "trig.IsoMu20"}
    region = Region(
        "a",
        lambda s: (s.lepton.charge > 0) & (s.column("trig.IsoMu20") > 0),
        lambda s: s.each(lambda e: e.jets[:, 0].deltaR(e.lepton)),
        uses=columns,
    )
    TtbarAnalysis().adding(regions=[region]).check()


def test_every_process_of_a_weight_is_tried() -> None:
    weight = Weight("w", up=lambda s: s.what, processes={"wjets"})
    analysis = TtbarAnalysis().adding(weights=[weight])
    analysis.check()
    with pytest.raises(DefinitionError, match="weight 'w'"):
        analysis.check([{"process": "ttbar"}, {"process": "wjets"}])


def test_what_depends_on_the_events_waits_for_them() -> None:
    table = {1: 0.5}
    parts: dict[str, Any] = {
        "regions": [Region("a", four, lambda s: table[int(s.n_vertices[0])], uses={"PV.npvs"})],
        "weights": [Weight("w", up=lambda s: 1 / (s.n_jets * 0))],
    }
    for name, values in parts.items():
        TtbarAnalysis().adding(**{name: values}).check()


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"regions": [Region("a", four, boom)]}, "region 'a', observable: RuntimeError: wrong$"),
        (
            {"regions": [Region("a", four, lambda s: s.each(lambda e: e.jets.pt))]},
            "region 'a', observable: ValueError",
        ),
        (
            {"weights": [Weight("w", up=lambda s: s.ht * float("nan"))]},
            r"weight 'w': not finite in \d+ events",
        ),
        (
            {"channels": [Channel(name, "muon", ("IsoMu20",)) for name in ("one", "two")]},
            r"channels 'one' and 'two' share \d+ events",
        ),
    ],
)
def test_what_fails_for_the_events_is_told_with_its_part(
    tmp_path: Path, parts: dict[str, Any], said: str
) -> None:
    path = write(tmp_path / "a.root", make_events(200, seed=2))
    with pytest.raises(EventValueError, match=said):
        process(TtbarAnalysis(**parts), path)
