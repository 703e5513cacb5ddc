"""Compiled loops over the jets of an event: sums, leading momenta, the hadronic top candidate.

All take the flat jets of many events with `offsets` (event i has the jets from offsets[i] to
offsets[i+1]), and compute in double precision, whatever the precision of the input.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class JetSums(NamedTuple):
    """What the regions are defined by; one value an event, zero where the event was not asked for."""

    n_jets: Ints
    n_btags: Ints
    ht: NDArray[np.float64]
    """Scalar sum of the good jets' pT, GeV."""


def jet_sums(offsets: Ints, wanted: Bools, pt: Floats, good: Bools, btagged: Bools) -> JetSums:
    """Count good jets and b-tagged good jets, and sum pT, in the events `wanted`."""
    return JetSums(*_jet_sums(offsets, wanted, pt, good, btagged))


@numba.njit(cache=True)
def _jet_sums(offsets, wanted, pt, good, btagged):  # type: ignore[no-untyped-def]
    n_events = len(offsets) - 1
    n_jets = np.zeros(n_events, np.int64)
    n_btags = np.zeros(n_events, np.int64)
    ht = np.zeros(n_events, np.float64)
    for event in range(n_events):
        if not wanted[event]:
            continue
        for jet in range(offsets[event], offsets[event + 1]):
            if good[jet]:
                n_jets[event] += 1
                n_btags[event] += btagged[jet]
                ht[event] += np.float64(pt[jet])
    return n_jets, n_btags, ht


@numba.njit(cache=True)
def leading_pt(offsets, events, pt, good, n_leading):  # type: ignore[no-untyped-def]
    """pT in GeV of the `n_leading` hardest good jets of each event of the index array `events`.

    Shape (len(events), n_leading), descending; zero where an event has fewer good jets.
    """
    leading = np.zeros((len(events), n_leading), np.float64)
    for row in range(len(events)):
        for jet in range(offsets[events[row]], offsets[events[row] + 1]):
            if not good[jet]:
                continue
            value = np.float64(pt[jet])
            for rank in range(n_leading):
                if value > leading[row, rank]:
                    value, leading[row, rank] = leading[row, rank], value
    return leading


@numba.njit(cache=True)
def top_candidate_mass(  # type: ignore[no-untyped-def]
    offsets, events, pt, eta, phi, mass, good, btagged
):
    """Mass in GeV of the hadronic top candidate of each event of the index array `events`.

    The candidate is the combination of three good jets, at least one of them b-tagged, with the
    largest transverse momentum; the first in the order of the jets where two are equal. NaN where an
    event has no such combination. The search follows the Analysis Grand Challenge's ttbar analysis.
    """
    result = np.full(len(events), np.nan)
    longest = 0
    for row in range(len(events)):
        longest = max(longest, offsets[events[row] + 1] - offsets[events[row]])
    px, py, pz, energy = np.empty(longest), np.empty(longest), np.empty(longest), np.empty(longest)
    tagged = np.empty(longest, np.bool_)
    for row in range(len(events)):
        n = 0
        for jet in range(offsets[events[row]], offsets[events[row] + 1]):
            if not good[jet]:
                continue
            jet_pt = np.float64(pt[jet])
            px[n] = jet_pt * np.cos(np.float64(phi[jet]))
            py[n] = jet_pt * np.sin(np.float64(phi[jet]))
            pz[n] = jet_pt * np.sinh(np.float64(eta[jet]))
            energy[n] = np.sqrt(px[n] ** 2 + py[n] ** 2 + pz[n] ** 2 + np.float64(mass[jet]) ** 2)
            tagged[n] = btagged[jet]
            n += 1
        best = -1.0
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
                        result[row] = np.sqrt(max(0.0, total_energy**2 - pt2 - total_pz**2))
    return result
