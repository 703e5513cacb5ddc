"""The libraries that the simulation needs."""

from __future__ import annotations

from analysis.common.errors import SimulationError


def require_generator() -> None:
    """Raise SimulationError, naming the extra to install, where Pythia or FastJet is missing."""
    import importlib.util

    missing = [name for name in ("pythia8mc", "fastjet") if importlib.util.find_spec(name) is None]
    if missing:
        msg = (
            f"{' and '.join(missing)} not installed: simulation needs the extra 'simulate' "
            "(pip install -e '.[simulate]')"
        )
        raise SimulationError(msg)
