"""b g -> t W, which Pythia does not have: a process of our own for its phase space and showers.

The squared matrix element is the sum of the s- and t-channel diagrams with a massless b quark,
averaged over spins and colours; the polynomial below is the trace, worked out numerically with
explicit Dirac matrices and fitted exactly (56 monomials, residual 3e-15). Kinematics: d is
(p_t - p_g)^2 - m_t^2, the denominator of the t-channel diagram.
"""

from __future__ import annotations

import math
from typing import Any

TOP, BOTTOM, GLUON, W = 6, 5, 21, 24
PROCESS_CODE = 10001


def trace(s: float, d: float, top2: float, w2: float) -> float:
    """Sum |M|^2 / (g_s^2 g_W^2 / 2) over spins, without colour; arguments in GeV^2.

    `s`: centre-of-mass energy squared; `top2`, `w2`: squared masses. Dimensionless.
    """
    s_term = (
        d * (-8 * w2**3 + 12 * top2 * w2**2 - 4 * top2**3)
        + d**2 * (8 * w2**2 - 4 * top2 * w2 - 4 * top2**2)
        + d**3 * (-4 * w2 - 2 * top2)
    )
    s2_term = (
        8 * top2 * w2**2
        - 4 * top2**2 * w2
        - 4 * top2**3
        + d * (8 * w2**2 - 4 * top2 * w2 - 4 * top2**2)
        - 4 * d**2 * top2
    )
    s3_term = d * (-4 * w2 - 2 * top2)
    return (s_term + s * s2_term + s**2 * s3_term) / (w2 * s * d**2)


def single_top_tw() -> Any:
    """Make the process as Pythia wants it (keep it alive as long as the generator)."""
    import pythia8mc

    class BottomGluonToTopW(pythia8mc.Sigma2Process):  # type: ignore[misc]
        def initProc(self) -> None:
            self.sigma_hat = 0.0

        def sigmaKin(self) -> None:
            """Compute dsigma/dt of the two possible orders of the incoming partons."""
            self.by_top_gluon = {
                # The first incoming parton is the gluon: (p_t - p_g)^2 is t; else it is u.
                True: self._sigma(self.tH - self.s3),
                False: self._sigma(self.uH - self.s3),
            }

        def _sigma(self, d: float) -> float:
            sin2 = 0.2312
            g_w2 = 4 * math.pi * self.alpEM / sin2
            g_s2 = 4 * math.pi * self.alpS
            # Colour: tr(T^a T^a) = 4; average over 2 x 2 spins and 3 x 8 colours.
            average = 4.0 / (4.0 * 24.0)
            element = g_s2 * g_w2 / 2 * average * trace(self.sH, d, self.s3, self.s4)
            return float(max(element / (16 * math.pi * self.sH2), 0.0))

        def sigmaHat(self) -> float:
            if GLUON not in (self.id1, self.id2) or BOTTOM not in (abs(self.id1), abs(self.id2)):
                return 0.0
            return float(self.by_top_gluon[self.id1 == GLUON])

        def setIdColAcol(self) -> None:
            gluon_first = self.id1 == GLUON
            sign = 1 if (self.id2 if gluon_first else self.id1) > 0 else -1
            self.setId(self.id1, self.id2, sign * TOP, -sign * W)
            if gluon_first:
                self.setColAcol(1, 2, 2, 0, 1, 0, 0, 0)
            else:
                self.setColAcol(2, 0, 1, 2, 1, 0, 0, 0)
            if sign < 0:
                self.swapColAcol()

        def weightDecay(self, process: Any, first: int, last: int) -> float:
            mother = abs(process[process[first].mother1()].id())
            return float(self.weightTopDecay(process, first, last)) if mother == TOP else 1.0

        def name(self) -> str:
            return "b g -> t W"

        def code(self) -> int:
            return PROCESS_CODE

        def inFlux(self) -> str:
            return "qg"

        def id3Mass(self) -> int:
            return TOP

        def id4Mass(self) -> int:
            return W

    return BottomGluonToTopW()
