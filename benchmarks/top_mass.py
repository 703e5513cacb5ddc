"""The top quark's mass from the peak of region 4j2b, calibrated: an exercise.

    python benchmarks/top_mass.py [--events 16000] [--seed 7] [--masses 160 173 186] [--peak POSITION ERROR]

Generates ttbar events at several masses, selects them as the default analysis does and fits the peak as
`run.py toppeak` does. A straight line through the positions is the calibration; it gives the mass of a peak that was
measured. Needs the extra `simulate`; six minutes of processor time.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from analysis.common.tables import Row, markdown, measured
from analysis.config import AnalysisConfig
from analysis.postprocess.top_peak import PREDICTION, fit_top_peak
from analysis.simulation.processes import BY_NAME
from benchmarks.top_truth import observable, produce

CENTRE = 173.0
"""GeV: where the line has its offset, so that it and the slope are hardly correlated."""


class Calibration(NamedTuple):
    """position = offset + slope × (mass - `CENTRE`), in GeV, with errors."""

    offset: float
    offset_error: float
    slope: float
    slope_error: float
    chi2: float

    @classmethod
    def of(cls, masses: list[float], positions: list[float], errors: list[float]) -> Calibration:
        """Fit the line to peaks."""
        design = np.stack([np.ones(len(masses)), np.array(masses) - CENTRE], axis=1)
        weights = 1 / np.square(errors)
        covariance = np.linalg.inv(design.T @ (weights[:, None] * design))
        found = covariance @ design.T @ (weights * positions)
        offset_error, slope_error = np.sqrt(np.diag(covariance))
        chi2 = float(np.sum(weights * (positions - design @ found) ** 2))
        return cls(*map(float, (found[0], offset_error, found[1], slope_error)), chi2)

    def mass(self, position: float, error: float) -> tuple[float, float, float]:
        """Mass of a peak; its error by the peak's, and by the calibration's."""
        distance = (position - self.offset) / self.slope
        own = np.hypot(self.offset_error, distance * self.slope_error)
        return CENTRE + distance, abs(error / self.slope), float(own / abs(self.slope))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--events", type=int, default=16_000, metavar="N", help="generated, at each mass"
    )
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--masses", type=float, nargs="+", default=[160.0, 173.0, 186.0])
    parser.add_argument(
        "--peak", type=float, nargs=2, default=(168.1, 2.7), metavar=("GEV", "ERROR")
    )
    given = parser.parse_args()
    nominal, settings = BY_NAME["ttbar__nominal"], AnalysisConfig().top_peak
    rows: list[Row] = []
    fitted = []
    for mass in given.masses:
        process = replace(nominal, settings=(*nominal.settings, f"6:m0 = {mass:g}"))
        candidates, _ = produce(given.events, given.seed + round(1000 * mass), process)
        peak = fit_top_peak(observable(candidates), settings).fits[PREDICTION].peak
        if peak is None:
            print(f"no peak at {mass:g} GeV")  # noqa: T201
            continue
        position, width = peak.parameters["position"], peak.parameters["width"]
        fitted.append((mass, position.value, position.error))
        rows.append([f"{mass:g}", f"{candidates.size}", str(position), str(width)])
    line = Calibration.of(*map(list, zip(*fitted, strict=True)))
    value, by_peak, by_line = line.mass(*given.peak)
    print(markdown(["mass, GeV", "candidates", "position, GeV", "width, GeV"], rows))  # noqa: T201
    print(  # noqa: T201
        f"position = {measured(line.offset, line.offset_error)} + {measured(line.slope, line.slope_error)} × "
        f"(mass - {CENTRE:g}) GeV, χ² = {line.chi2:.1f}\na peak at {measured(*given.peak)} GeV: mass "
        f"{value:.1f} ± {by_peak:.1f} (peak) ± {by_line:.1f} (calibration) GeV"
    )


if __name__ == "__main__":
    main()
