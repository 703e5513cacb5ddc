"""Where a cut falls on a histogram's axis; shared by the estimates that count in windows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.common.errors import AnalysisError


def edge_index(
    edges: NDArray[Any], value: float, what: str, error: type[AnalysisError] = AnalysisError
) -> int:
    """Index of the edge at `value`; raises `error`, naming `what`, if it cuts a bin or is outside."""
    nearest = int(np.argmin(np.abs(edges - value)))
    if math.isclose(edges[nearest], value, rel_tol=1e-9, abs_tol=1e-12):
        return nearest
    if not edges[0] < value < edges[-1]:
        msg = f"{what} is outside of the axis ({edges[0]:g} to {edges[-1]:g})"
        raise error(msg)
    below = int(np.searchsorted(edges, value)) - 1
    msg = f"{what} cuts the bin from {edges[below]:g} to {edges[below + 1]:g}: move it to an edge"
    raise error(msg)
