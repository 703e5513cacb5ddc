"""Pythia 8: one fresh generator per block of events, seeded, with counted vetoes.

`generate` returns Pythia's own awkward event record and what was counted. Hooks written in Python
must outlive the generator that calls them: `_Generator` holds both.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.common.errors import SimulationError
from analysis.simulation.processes import COMMON, Filters, Process

if TYPE_CHECKING:
    from collections.abc import Iterator

LEPTONS = (11, 13, 15)
MAX_SEED = 900_000_000  # Pythia's largest seed
PB_PER_MB = 1e9
CONE = 0.4
SHOWERS_OVER = 5
"""Pythia's position of the veto after the showers of resonance decays, which come last."""


@dataclass(frozen=True)
class Counts:
    """What one block did: `generated` of `tried` hard processes passed all the filters.

    `cross_section_pb` is Pythia's estimate of the hard process before the filters.
    """

    tried: int
    generated: int
    cross_section_pb: float


def _cluster_count(partons: list[tuple[float, float, float]], pt: float) -> int:
    """Count cones of radius 0.4 with a scalar pT sum above `pt`, hardest parton first."""
    left = sorted(partons, reverse=True)
    count = 0
    while left:
        _, eta, phi = left[0]
        near = [p for p in left if _distance2(p[1] - eta, p[2] - phi) < CONE**2]
        count += sum(p[0] for p in near) > pt
        left = [p for p in left if _distance2(p[1] - eta, p[2] - phi) >= CONE**2]
    return count


def _distance2(deta: float, dphi: float) -> float:
    return deta**2 + math.remainder(dphi, 2 * math.pi) ** 2


def _make_hook(filters: Filters) -> Any:
    import pythia8mc

    class Hook(pythia8mc.UserHooks):  # type: ignore[misc]
        """Vetoes hard processes, then showers, by the rules of `filters`; counts trials."""

        def __init__(self) -> None:
            super().__init__()
            self.tried = 0
            self.wrong_charge = 0

        def canVetoProcessLevel(self) -> bool:
            return True

        def doVetoProcessLevel(self, event: Any) -> bool:
            particles = [event[i] for i in range(event.size())]
            if filters.top_charge and not any(p.id() == 6 * filters.top_charge for p in particles):
                self.wrong_charge += 1
                return True
            self.tried += 1
            return filters.lepton_pt > 0 and not any(
                p.isFinal()
                and p.idAbs() in LEPTONS
                and p.pT() > filters.lepton_pt
                and abs(p.eta()) < filters.lepton_abs_eta
                for p in particles
            )

        def canVetoPT(self) -> bool:
            return filters.parton_jets > 0

        def scaleVetoPT(self) -> float:
            return filters.shower_scale

        def doVetoPT(self, position: int, event: Any) -> bool:
            over = position == SHOWERS_OVER
            threshold = filters.showered_jet_pt if over else filters.parton_jet_pt
            partons = []
            for i in range(event.size() - 1, 4, -1):
                p = event[i]
                if p.isFinal() and (p.idAbs() < 6 or p.idAbs() == 21):
                    pt, eta = p.pT(), p.eta()
                    if pt > 3.0 and abs(eta) < filters.parton_jet_abs_eta:
                        partons.append((pt, eta, p.phi()))
            return _cluster_count(partons, threshold) < filters.parton_jets

    return Hook()


@contextmanager
def silenced() -> Iterator[Any]:
    """Send what C++ writes to stdout and stderr to a file, given back to be read on failure."""
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryFile("w+b") as sink:
        saved = os.dup(1), os.dup(2)
        try:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
            yield sink
        finally:
            os.dup2(saved[0], 1)
            os.dup2(saved[1], 2)
            os.close(saved[0])
            os.close(saved[1])


class _Generator:
    """An initialised Pythia with everything that must stay alive beside it."""

    def __init__(self, process: Process, seed: int) -> None:
        import pythia8mc

        self.pythia = pythia8mc.Pythia("", False)
        for setting in (*COMMON, *process.settings, f"Random:seed = {seed}"):
            if not self.pythia.readString(setting):
                msg = f"{process.name}: Pythia does not know the setting {setting!r}"
                raise SimulationError(msg)
        self.hook = _make_hook(process.filters)
        self.pythia.setUserHooksPtr(self.hook)
        self.matrix_element = None
        if process.user_process == "tW":
            from analysis.simulation.matrix_elements import single_top_tw

            self.matrix_element = single_top_tw()
            self.pythia.setSigmaPtr(self.matrix_element)
        if not self.pythia.init():
            msg = f"{process.name}: Pythia failed to initialise"
            raise SimulationError(msg)


def generate(process: Process, count: int, seed: int) -> tuple[Any, Counts]:
    """Generate `count` events of `process` after its filters: Pythia's awkward record and the counts.

    Raises SimulationError if Pythia refuses the settings, or gives up before `count`.
    """
    with silenced() as sink:
        try:
            generator = _Generator(process, seed)
            events = generator.pythia.nextBatch(count)
        except SimulationError as err:
            sink.seek(0)
            lines = [line.strip() for line in sink.read().decode(errors="replace").splitlines()]
            said = next((line for line in lines if "PYTHIA" in line.upper() and "rror" in line), "")
            msg = f"{err}{': ' + said if said else ''}"
            raise SimulationError(msg) from err
        sigma_pb = generator.pythia.infoPython().sigmaGen(0) * PB_PER_MB
    if len(events) != count:
        msg = f"{process.name}: Pythia gave {len(events)} of {count} events"
        raise SimulationError(msg)
    # sigmaGen is what is left after the vetoes; the hook knows how many came before them.
    return events, Counts(
        tried=generator.hook.tried,
        generated=count,
        cross_section_pb=sigma_pb * generator.hook.tried / count,
    )
