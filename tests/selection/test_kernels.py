"""The compiled loops: hand-computed values, and the same as a plain search for any jets."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.selection import kernels as reconstruction
from analysis.selection.kernels import (
    _compiled,
    jet_sums,
    leading_pt,
    stored_pt,
    top_candidate_masses,
)

JET = st.tuples(
    st.floats(1, 500, width=32),
    st.floats(-2.375, 2.375, width=32),
    st.floats(-3.25, 3.25, width=32),
    st.floats(0, 60, width=32),
    st.booleans(),
    st.booleans(),
)
MIN_PT = 30.0
SCALES = (1.0, 0.5, 2.0)
"""Jet shifts, exact in single precision."""
EVENTS = st.lists(st.lists(JET, max_size=9), min_size=1, max_size=6)


def flat(events: list[list[Any]]) -> tuple[Any, ...]:
    """Offsets, pt, eta, phi, mass (float32), good, btagged."""
    offsets = np.cumsum([0, *(len(event) for event in events)]).astype(np.int64)
    jets = [jet for event in events for jet in event]
    columns = list(zip(*jets, strict=True)) if jets else [()] * 6
    kinds = [np.float32] * 4 + [bool] * 2
    return (offsets, *(np.array(c, dtype=kind) for c, kind in zip(columns, kinds, strict=True)))


def plain_masses(event: list[Any]) -> list[float]:
    """Masses of the tagged combinations with the largest pT; several where they are as good as equal."""
    vectors = [
        (pt * math.cos(phi), pt * math.sin(phi), pt * math.sinh(eta), m, tag)
        for pt, eta, phi, m, good, tag in event
        if good
    ]
    found = []
    for triple in combinations(vectors, 3):
        if any(v[4] for v in triple):
            x, y, z = (sum(v[k] for v in triple) for k in range(3))
            energy = sum(math.sqrt(v[0] ** 2 + v[1] ** 2 + v[2] ** 2 + v[3] ** 2) for v in triple)
            found.append((x * x + y * y, math.sqrt(max(0, energy**2 - x * x - y * y - z * z))))
    best = max((pt2 for pt2, _ in found), default=0)
    return [mass for pt2, mass in found if pt2 >= best * (1 - 1e-9) - 1e-9]


def shifted(event: list[Any], scale: float, mass_scales: bool = True) -> list[Any]:
    """The event with its jets scaled; those too soft then are not good."""
    by = scale if mass_scales else 1.0
    return [
        (pt * scale, eta, phi, mass * by, good and pt * scale > MIN_PT, tag)
        for pt, eta, phi, mass, good, tag in event
    ]


def pts_of(pt: Any) -> Any:
    return np.stack([pt * np.float32(scale) for scale in SCALES])


@settings(deadline=None, max_examples=200)
@given(EVENTS)
def test_top_candidate_is_that_of_a_plain_search(events: list[list[Any]]) -> None:
    offsets, pt, eta, phi, mass, good, btagged = flat(events)
    wanted = np.ones((len(SCALES), len(events)), bool)
    wanted[1, 0] = False
    scales = np.array([True, True, False])
    got = top_candidate_masses(
        offsets, wanted, pts_of(pt), scales, eta, phi, mass, good, btagged, MIN_PT
    )
    assert math.isnan(got[1, 0])
    for shift, row in enumerate(got):
        for number, mass_found in enumerate(row):
            masses = plain_masses(shifted(events[number], SCALES[shift], scales[shift]))
            if masses and wanted[shift, number]:
                assert min(abs(mass_found - m) for m in masses) < 1e-3 + 1e-6 * mass_found
            else:
                assert math.isnan(mass_found)


@settings(deadline=None)
@given(EVENTS)
def test_sums_and_leading_jets_are_those_of_a_plain_loop(events: list[list[Any]]) -> None:
    offsets, pt, _, _, _, good, btagged = flat(events)
    wanted = np.arange(len(events)) % 2 == 0
    sums = jet_sums(offsets, wanted, pts_of(pt), good, btagged, MIN_PT)
    for i, unshifted in enumerate(events):
        for shift, scale in enumerate(SCALES):
            event = shifted(unshifted, scale)
            kept = [jet for jet in event if jet[4]] if wanted[i] else []
            assert sums.n_jets[shift, i] == len(kept)
            assert sums.n_btags[shift, i] == sum(jet[5] for jet in kept)
            assert sums.ht[shift, i] == sum(jet[0] for jet in kept)
    some = np.broadcast_to(wanted, (len(SCALES), len(events)))
    leading = leading_pt(offsets, some, pts_of(pt), good, MIN_PT, 4)
    stored = stored_pt(offsets, some, pts_of(pt), good, MIN_PT, 4)
    for i, unshifted in enumerate(events):
        for shift, scale in enumerate(SCALES):
            kept = [jet[0] for jet in shifted(unshifted, scale) if jet[4] and wanted[i]]
            assert leading[:, shift, i].tolist() == (sorted(kept, reverse=True) + [0.0] * 4)[:4]
            assert stored[:, shift, i].tolist() == (kept + [0.0] * 4)[:4]


def test_three_massless_jets_at_right_angles() -> None:
    """Jets of 100, 80, 60 GeV along x, y and -x: E = 240, p = (40, 80), m = sqrt(240² - 8000)."""
    event = [(100, 0, 0, 0, True, True), (80, 0, math.pi / 2, 0, True, False)]
    event += [(60, 0, math.pi, 0, True, False)]
    mass = masses_of([event])
    assert mass[0] == pytest.approx(math.sqrt(240**2 - 40**2 - 80**2), rel=1e-6)


def test_untagged_combination_with_more_pt_is_not_taken() -> None:
    hard = [(200, 0, 0.1 * i, 10, True, False) for i in range(3)]
    soft = (40, 1, 3, 5, True, True)
    with_tag, without = masses_of([[*hard, soft], hard])
    assert math.isnan(without)
    assert with_tag == pytest.approx(plain_masses([*hard, soft])[0], rel=1e-6)


def test_many_jets_have_no_fixed_maximum() -> None:
    event = [(30 + i, 0.01 * i, 0.3 * i, 5, True, i == 50) for i in range(60)]
    mass = masses_of([event])
    assert mass[0] == pytest.approx(plain_masses(event)[0], rel=1e-6)


def masses_of(events: list[list[Any]]) -> Any:
    """Under one shift."""
    offsets, pt, *others = flat(events)
    wanted = np.ones((1, len(events)), bool)
    scales = np.ones(1, bool)
    return top_candidate_masses(offsets, wanted, pt[np.newaxis], scales, *others, MIN_PT)[0]


def test_without_a_file_for_its_cache_a_loop_is_compiled_all_the_same() -> None:
    code: dict[str, Any] = {}
    exec("def double(x):\n    return 2 * x", code)  # noqa: S102
    assert _compiled(code["double"])(21) == 42


@pytest.mark.full
def test_jet_shifts_or_none_of_them_are_one_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two types of arguments, compiled by two workers at once, may overwrite each other's cache."""
    for name in ("top_candidate_masses", "_jet_sums"):
        fresh = numba.njit(getattr(reconstruction, name).py_func)
        monkeypatch.setattr(reconstruction, name, fresh)
    for events in ([[]], [[(50.0, 0.0, 0.0, 5.0, True, True)] * 4]):
        offsets, pt, *others = flat(events)
        for pts in (pts_of(pt), pt[np.newaxis]):
            wanted = np.ones((len(pts), 1), bool)
            scales = np.ones(len(pts), bool)
            reconstruction.top_candidate_masses(offsets, wanted, pts, scales, *others, MIN_PT)
            jet_sums(offsets, wanted[0], pts, *others[-2:], MIN_PT)
    assert len(reconstruction.top_candidate_masses.signatures) == 1
    assert len(reconstruction._jet_sums.signatures) == 1
