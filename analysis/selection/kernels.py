"""Compiled loops over the jets of an event: sums, leading momenta, the hadronic top candidate.

All take the flat jets of many events with `offsets` (event i has the jets from offsets[i] to
offsets[i+1]), and compute in double precision, whatever the precision of the input. A jet is good
where it is `acceptable` and its pT is above `min_pt`; `pts` has the pT under several jet shifts, shape
(shifts, jets), and everything else of a jet is read once for all of them.

Of each loop one type of arguments occurs, so that workers that compile at the same time write the
same file to numba's cache; two types could take the same file name there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile at the first call, and cache on disk if a folder for that can be written."""
    try:
        compiled: Callable[..., Any] = numba.njit(cache=True)(function)
    except RuntimeError:
        compiled = numba.njit(function)
    return compiled


class JetSums(NamedTuple):
    """Counts and sums of good jets; shape (shifts, events), zero for events that are not wanted."""

    n_jets: Ints
    n_btags: Ints
    ht: NDArray[np.float64]
    """Scalar sum of the good jets' pT, GeV."""


def jet_sums(
    offsets: Ints,
    wanted: Bools,
    pts: Floats,
    acceptable: Bools,
    btagged: Bools,
    min_pt: float,
) -> JetSums:
    """Count good jets and b-tagged good jets, and sum pT, in the events `wanted`."""
    return JetSums(*_jet_sums(offsets, wanted, pts, acceptable, btagged, min_pt))


@_compiled
def _jet_sums(offsets, wanted, pts, acceptable, btagged, min_pt):  # type: ignore[no-untyped-def]
    shape = (len(pts), len(offsets) - 1)
    n_jets = np.zeros(shape, np.int64)
    n_btags = np.zeros(shape, np.int64)
    ht = np.zeros(shape, np.float64)
    for event in range(shape[1]):
        if not wanted[event]:
            continue
        for jet in range(offsets[event], offsets[event + 1]):
            if not acceptable[jet]:
                continue
            for shift in range(shape[0]):
                pt = np.float64(pts[shift, jet])
                if pt > min_pt:
                    n_jets[shift, event] += 1
                    n_btags[shift, event] += btagged[jet]
                    ht[shift, event] += pt
    return n_jets, n_btags, ht


@_compiled
def leading_pt(offsets, wanted, pts, acceptable, min_pt, n_leading):  # type: ignore[no-untyped-def]
    """pT in GeV of the `n_leading` hardest good jets, shape (n_leading, shifts, events).

    Descending along the first axis; zero where an event has fewer good jets or is not `wanted`.
    """
    leading = np.zeros((n_leading, *wanted.shape), np.float64)
    hardest = np.empty(n_leading, np.float64)
    for shift in range(wanted.shape[0]):
        for event in range(wanted.shape[1]):
            if not wanted[shift, event]:
                continue
            hardest[:] = 0.0
            for jet in range(offsets[event], offsets[event + 1]):
                value = np.float64(pts[shift, jet])
                if not (acceptable[jet] and value > min_pt):
                    continue
                for rank in range(n_leading):
                    if value > hardest[rank]:
                        value, hardest[rank] = hardest[rank], value
            leading[:, shift, event] = hardest
    return leading


@_compiled
def scaled_by_part(pt, varied, eta, pile_up_pt, central_abs_eta, forward, source):  # type: ignore[no-untyped-def]
    """Shift each jet's pT by the part of its change to `varied` that one of three sources has.

    `source` 0 is absolute, 1 pile-up, 2 relative; the squares of the parts are 1 together. Relative has
    `forward` beyond `central_abs_eta`; of the rest pile-up has 1 / (1 + (pT / `pile_up_pt`)²).
    """
    shifted = np.empty_like(pt)
    for jet in range(len(pt)):
        relative = forward if np.abs(eta[jet]) >= central_abs_eta else 0.0
        squared = relative
        if source < 2:
            pile_up = 1 / (1 + (pt[jet] / pile_up_pt) ** 2)
            squared = (1 - relative) * (pile_up if source == 1 else 1 - pile_up)
        shifted[jet] = pt[jet] + np.sqrt(squared) * (varied[jet] - pt[jet])
    return shifted


@_compiled
def apart(offsets, acceptable, eta, phi, lepton_eta, lepton_phi, delta_r):  # type: ignore[no-untyped-def]
    """Mask the `acceptable` jets that are no nearer than `delta_r` to the lepton of their event.

    The lepton's eta and phi have the shape (events,).
    """
    kept = acceptable.copy()
    for event in range(len(offsets) - 1):
        for jet in range(offsets[event], offsets[event + 1]):
            if acceptable[jet]:
                delta_eta = np.float64(eta[jet]) - lepton_eta[event]
                delta_phi = np.abs(np.float64(phi[jet]) - lepton_phi[event])
                if delta_phi > np.pi:
                    delta_phi = 2 * np.pi - delta_phi
                kept[jet] = delta_eta**2 + delta_phi**2 >= delta_r**2
    return kept


@_compiled
def lepton_b_masses(  # type: ignore[no-untyped-def]
    offsets, wanted, pts, mass_scales, eta, phi, mass, acceptable, btagged, min_pt, lepton
):
    """Least mass in GeV of the lepton and a b-tagged good jet, shape (shifts, events); NaN without.

    `lepton` has pt, eta, phi and mass, shape (4, events). Masses of jets as in `top_candidate_masses`.
    From (E + E')² - (p + p')², with η and φ of both: m² + m'² + 2 (E E' - p p').
    """
    least = np.full(wanted.shape, np.inf)
    for event in range(wanted.shape[1]):
        some = False
        for shift in range(wanted.shape[0]):
            some |= wanted[shift, event]
        if not some:
            continue
        pt_l, eta_l = lepton[0, event], lepton[1, event]
        phi_l, m_l = lepton[2, event], lepton[3, event]
        sinh_l = np.sinh(eta_l)
        energy_l = np.sqrt(pt_l**2 * (1 + sinh_l**2) + m_l**2)
        for jet in range(offsets[event], offsets[event + 1]):
            if not (btagged[jet] and acceptable[jet]):
                continue
            sinh = np.sinh(np.float64(eta[jet]))
            direction = np.cos(np.float64(phi[jet]) - phi_l) + sinh * sinh_l
            unshifted = np.float64(pts[0, jet])
            for shift in range(wanted.shape[0]):
                pt = np.float64(pts[shift, jet])
                if not (wanted[shift, event] and pt > min_pt):
                    continue
                m = np.float64(mass[jet])
                if mass_scales[shift]:
                    m = m * (pt / unshifted) if unshifted > 0 else np.float64(0.0)
                energy = np.sqrt(pt**2 * (1 + sinh**2) + m**2)
                squared = m**2 + m_l**2 + 2 * (energy * energy_l - pt * pt_l * direction)
                least[shift, event] = min(least[shift, event], max(0.0, squared))
    return np.where(least < np.inf, np.sqrt(least), np.nan)


@_compiled
def stored_pt(offsets, wanted, pts, acceptable, min_pt, n_first):  # type: ignore[no-untyped-def]
    """pT in GeV of the `n_first` good jets that are stored first, shape (n_first, shifts, events).

    Zero where an event has fewer good jets or is not `wanted`.
    """
    first = np.zeros((n_first, *wanted.shape), np.float64)
    for shift in range(wanted.shape[0]):
        for event in range(wanted.shape[1]):
            if not wanted[shift, event]:
                continue
            found = 0
            for jet in range(offsets[event], offsets[event + 1]):
                value = np.float64(pts[shift, jet])
                if found < n_first and acceptable[jet] and value > min_pt:
                    first[found, shift, event] = value
                    found += 1
    return first


@_compiled
def top_candidate_masses(  # type: ignore[no-untyped-def]
    offsets, wanted, pts, mass_scales, eta, phi, mass, acceptable, btagged, min_pt
):
    """Mass in GeV of the hadronic top candidate, shape (shifts, events); NaN where not `wanted`.

    The candidate is the combination of three good jets, at least one of them b-tagged, with the
    largest transverse momentum; the first in the order of the jets where two are equal. NaN where an
    event has no such combination. The search follows the Analysis Grand Challenge's ttbar analysis.
    `mass` is that of the jets under the first of `pts`; it scales with pT under the shifts where
    `mass_scales` is true, and stays as it is under the others.
    """
    result = np.full(wanted.shape, np.nan)
    longest = 0
    for event in range(wanted.shape[1]):
        longest = max(longest, offsets[event + 1] - offsets[event])
    directions = np.empty((longest, 3))
    px, py, pz, energy = np.empty(longest), np.empty(longest), np.empty(longest), np.empty(longest)
    tagged = np.empty(longest, np.bool_)
    for event in range(wanted.shape[1]):
        first = offsets[event]
        directions_known = False
        for shift in range(wanted.shape[0]):
            if not wanted[shift, event]:
                continue
            if not directions_known:
                for jet in range(first, offsets[event + 1]):
                    if acceptable[jet]:
                        directions[jet - first, 0] = np.cos(np.float64(phi[jet]))
                        directions[jet - first, 1] = np.sin(np.float64(phi[jet]))
                        directions[jet - first, 2] = np.sinh(np.float64(eta[jet]))
                directions_known = True
            n = 0
            for jet in range(first, offsets[event + 1]):
                pt = np.float64(pts[shift, jet])
                if not (acceptable[jet] and pt > min_pt):
                    continue
                m = np.float64(mass[jet])
                if mass_scales[shift]:
                    unshifted = np.float64(pts[0, jet])
                    m = m * (pt / unshifted) if unshifted > 0 else np.float64(0.0)
                px[n] = pt * directions[jet - first, 0]
                py[n] = pt * directions[jet - first, 1]
                pz[n] = pt * directions[jet - first, 2]
                energy[n] = np.sqrt(px[n] ** 2 + py[n] ** 2 + pz[n] ** 2 + m**2)
                tagged[n] = btagged[jet]
                n += 1
            result[shift, event] = _top_mass(n, px, py, pz, energy, tagged)
    return result


@_compiled
def _top_mass(n, px, py, pz, energy, tagged):  # type: ignore[no-untyped-def]
    """Mass of the top candidate among the first `n` four-vectors, NaN without one."""
    best, mass = -1.0, np.nan
    for i in range(n):
        for j in range(i + 1, n):
            pair_tagged = tagged[i] or tagged[j]
            pair_px, pair_py = px[i] + px[j], py[i] + py[j]
            for k in range(j + 1, n):
                if not (pair_tagged or tagged[k]):
                    continue
                pt2 = (pair_px + px[k]) ** 2 + (pair_py + py[k]) ** 2
                if pt2 > best:
                    best = pt2
                    total_pz = pz[i] + pz[j] + pz[k]
                    total_energy = energy[i] + energy[j] + energy[k]
                    mass = np.sqrt(max(0.0, total_energy**2 - pt2 - total_pz**2))
    return mass


@_compiled
def smeared(pt, eta, phi, resolution):  # type: ignore[no-untyped-def]
    """Multiply each jet's pT by a number of a normal distribution of width `resolution` around 1.

    The number follows from the jet's momentum in single precision, by the mixing function of SplitMix64
    (Steele, Lea, Flood, OOPSLA 2014) and the transformation of Box and Muller.
    """
    result = np.empty_like(pt)
    for jet in range(len(pt)):
        bits = np.uint64(0)
        for value in (pt[jet], eta[jet], phi[jet]):
            bits = _mixed(bits ^ np.uint64(np.float32(value).view(np.uint32)))
        first = (np.float64(_mixed(bits + np.uint64(1)) >> np.uint64(11)) + 0.5) / 2**53
        second = (np.float64(_mixed(bits + np.uint64(2)) >> np.uint64(11)) + 0.5) / 2**53
        normal = np.sqrt(-2 * np.log(first)) * np.cos(2 * np.pi * second)
        result[jet] = pt[jet] * (1 + resolution * normal)
    return result


@_compiled
def _mixed(bits):  # type: ignore[no-untyped-def]
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
