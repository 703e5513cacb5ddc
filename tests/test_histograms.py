from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import uproot
from hist import Hist

from analysis import histograms
from analysis.common.errors import OutputError
from analysis.config import Binning


def filled() -> Hist:
    histogram = histograms.book_observable(
        Binning(bins=4, low=0, high=4),
        ["4j1b", "4j2b"],
        "ttbar",
        ["nominal", "x_up"],
        ["electron", "muon"],
    )
    for region, channel, variation, weight in (
        ("4j1b", "electron", "nominal", 1.0),
        ("4j2b", "muon", "x_up", 0.1),
        ("4j2b", "muon", "ME_var", 1 / 3),
    ):
        histogram.fill(
            observable=[-1, 0.5, 3.5, 9], region=region, process="ttbar", variation=variation,
            channel=channel, weight=weight,
        )  # fmt: skip
    return histogram


def test_saved_and_loaded_it_is_exactly_the_same(tmp_path: Path) -> None:
    saved = {"a/observable": filled(), "a/control/met": filled()[{"channel": sum}]}
    histograms.save(tmp_path / "h.zip", saved)
    loaded = histograms.load(tmp_path / "h.zip")
    assert loaded == saved
    for name, histogram in loaded.items():
        assert [axis.label for axis in histogram.axes] == [axis.label for axis in saved[name].axes]
        assert histogram.axes["variation"].traits.growth
    assert filled() + loaded["a/observable"] == filled() + filled()


def test_nothing_is_pickled(tmp_path: Path) -> None:
    histograms.save(tmp_path / "h.zip", {"a": filled()})
    with zipfile.ZipFile(tmp_path / "h.zip") as archive:
        names = archive.namelist()
        assert {Path(name).suffix for name in names} == {".json", ".npy"}
        for name in names:
            if name.endswith(".npy"):
                np.load(archive.open(name), allow_pickle=False)


def test_root_names_contents_and_overflow(tmp_path: Path) -> None:
    observable = filled()[{"channel": sum}]
    regions = {name: observable[{"region": name}] for name in observable.axes["region"]}
    histograms.export_root(tmp_path / "h.root", regions, {"ttbar": ["nominal", "ME_var"]})
    with uproot.open(tmp_path / "h.root") as file:
        assert set(file.keys(cycle=False)) == {
            f"{region}_ttbar{suffix}" for region in ("4j1b", "4j2b") for suffix in ("", "_ME_var")
        }
        written = file["4j2b_ttbar_ME_var"]
        want = observable[{"region": "4j2b", "process": "ttbar", "variation": "ME_var"}]
        np.testing.assert_array_equal(written.values(flow=True), want.values(flow=True))
        np.testing.assert_allclose(written.variances(flow=True), want.variances(flow=True))


def test_an_incomplete_result_says_so_in_the_root_file(tmp_path: Path) -> None:
    observable = filled()[{"channel": sum}]
    regions = {name: observable[{"region": name}] for name in observable.axes["region"]}
    histograms.export_root(tmp_path / "h.root", regions, {"ttbar": ["nominal"]}, "incomplete: x")
    with uproot.open(tmp_path / "h.root") as file:
        assert str(file["note"]) == "incomplete: x"


@pytest.mark.parametrize("content", [None, b"", b"no zip"])
def test_what_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "h.zip"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OutputError, match=r"h.zip: cannot be read"):
        histograms.load(path)


def test_a_damaged_archive(tmp_path: Path) -> None:
    path = tmp_path / "h.zip"
    histograms.save(path, {"a": filled()})
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(OutputError, match=r"h.zip: cannot be read"):
        histograms.load(path)


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "h.zip"
    with pytest.raises(TypeError):
        histograms.save(path, {"a": filled(), "b": None})
    assert list(tmp_path.iterdir()) == []
