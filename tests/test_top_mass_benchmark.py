"""The calibration of `benchmarks/top_mass.py`."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.top_mass import CENTRE, Calibration


def test_a_peak_on_the_line_has_the_mass_that_made_it() -> None:
    masses, errors = [160.0, 173.0, 186.0], [2.0, 1.0, 2.0]
    line = Calibration.of(masses, [5 + 0.9 * (m - CENTRE) + 160 for m in masses], errors)
    assert (line.offset, line.slope) == (pytest.approx(165.0), pytest.approx(0.9))
    assert line.chi2 == pytest.approx(0.0, abs=1e-9)
    # The outer two alone say the slope; all three the offset.
    assert line.slope_error == pytest.approx(2 / (13 * 2**0.5))
    assert line.offset_error == pytest.approx(1 / (1 + 2 / 4) ** 0.5)
    mass, by_peak, by_line = line.mass(165.0 + 0.9 * 4, 1.8)
    assert (mass, by_peak) == (pytest.approx(177.0), pytest.approx(2.0))
    assert by_line == pytest.approx(np.hypot(line.offset_error, 4 * line.slope_error) / 0.9)
