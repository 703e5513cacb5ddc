"""What varies and how: shifts of objects, weights of events.

Alternative samples (scale, matrix element, parton shower) vary by being other datasets; they fill
under their own variation, without shifts and weights.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from analysis.common.errors import DefinitionError, EventValueError, did_you_mean
from analysis.common.names import one_or_more
from analysis.datasets.sample import SampleInfo
from analysis.selection.part import Part, blamed, read_only, require_declared
from analysis.selection.selection import Selection, computed_numbers

Weights = NDArray[np.float64]
WeightFunction = Callable[[Selection], Any]

DIRECTIONS = ("up", "down")
_By = TypeVar("_By")
SHIFTED = ("jet", "electron", "muon", "met")


def _directed(name: str, up: _By | None, down: _By | None) -> dict[str, _By]:
    """Name what varies up and down, without what is not there."""
    both = zip(DIRECTIONS, (up, down), strict=True)
    return {f"{name}_{direction}": by for direction, by in both if by is not None}


class Objects:
    """The objects of a collection as a shift sees them: columns as attributes, flat arrays."""

    def __init__(self, objects: Any, allowed: AbstractSet[str], collection: str) -> None:
        self._objects = objects
        self._allowed = allowed
        self._collection = collection

    def __getattr__(self, field: str) -> NDArray[Any]:
        if field.startswith("_"):
            raise AttributeError(field)
        column = f"{self._collection}.{field}"
        require_declared(column, self._allowed)
        return read_only(np.asarray(self._objects[field]))


@dataclass(frozen=True, repr=False)
class Shift(Part):
    """A variation of the pT of jets, of leptons, or of the missing momentum, one- or two-sided.

    `up` and `down` name a column with the shifted pT, or compute it from the flat objects
    (`lambda jets: 1.03 * jets.pt`); None for none.
    """

    kind: ClassVar = "shift"
    name: str
    up: str | Callable[[Objects], Any] | None = None
    down: str | Callable[[Objects], Any] | None = None
    mass_scales: bool = True
    """Whether a jet's mass scales with its pT."""
    of: Literal["jet", "electron", "muon", "met"] = "jet"
    uses: AbstractSet[str] = frozenset()
    """Columns that functions read besides those of the selection."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.of not in SHIFTED:
            self._refuse(f"of {self.of!r}, {did_you_mean(str(self.of), SHIFTED)}")
        if self.up is None and self.down is None:
            self._refuse("neither up nor down")
        given: tuple[Any, Any] = (self.up, self.down)
        for by in given:
            if not (by is None or isinstance(by, str) or callable(by)):
                self._refuse(f"by {by!r}, expected a column or a function")
        named = {f"{self.of}.{by}" for by in (self.up, self.down) if isinstance(by, str)}
        self._set("uses", self.uses | named | {f"{self.of}.pt"})

    @property
    def variations(self) -> dict[str, str | Callable[[Objects], Any]]:
        """Variation -> column or function."""
        return _directed(self.name, self.up, self.down)

    def pt(
        self, by: str | Callable[[Objects], Any], objects: Any, allowed: AbstractSet[str]
    ) -> NDArray[Any]:
        """Compute the shifted pT in the precision of the unshifted.

        Raises DefinitionError for a function that gives no number for each object.
        """
        unshifted = np.asarray(objects["pt"])
        if isinstance(by, str):
            return np.asarray(objects[by])
        with blamed(self.owner):
            shifted = np.asarray(by(Objects(objects, allowed | self.uses, self.of)))
        if shifted.shape != unshifted.shape or shifted.dtype.kind not in "fiu":
            msg = (
                f"{self.owner}: {shifted.dtype} of shape {shifted.shape}, expected a pT for each of "
                f"{len(unshifted)} objects"
            )
            raise DefinitionError(msg)
        return shifted.astype(unshifted.dtype)


@dataclass(frozen=True, repr=False)
class Weight(Part):
    """A factor on the weights of simulated events, and its variations, one- or two-sided.

    `nominal`, `up` and `down` are functions of the unshifted `Selection` that give the factor; None for
    one that is not there, `nominal` is then 1. Events that have their leptons by a shift alone have the
    nominal factor of the shifted leptons.
    """

    kind: ClassVar = "weight"
    functions: ClassVar = ("up", "down", "nominal")
    name: str
    up: WeightFunction | None = None
    down: WeightFunction | None = None
    nominal: WeightFunction | None = None
    uses: AbstractSet[str] = frozenset()
    processes: AbstractSet[str] | None = None
    """Processes that it is of; None for all simulated ones."""
    group: str = ""
    """Variations of one figure; the name where it is empty."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.up is None and self.down is None and self.nominal is None:
            self._refuse("neither up nor down nor nominal")
        if self.processes is not None:
            self._set("processes", frozenset(one_or_more(self.processes)))

    def applies_to(self, sample: SampleInfo) -> bool:
        """Whether it weights the events of a sample: alternative ones have the nominal factor only."""
        wanted = self.processes is None or sample.process in self.processes
        return wanted and (sample.is_varied or (sample.is_simulation and self.nominal is not None))

    @property
    def variations(self) -> dict[str, WeightFunction]:
        """Variation -> function."""
        return _directed(self.name, self.up, self.down)

    def factor(self, function: WeightFunction, selection: Selection) -> Weights:
        """Compute one of its functions for an unshifted selection; shape (events,).

        Raises DefinitionError where a wanted event's is no finite number.
        """
        values = computed_numbers(function, selection, self.uses, self.owner)[0]
        weights: Weights = values.astype(np.float64)
        finite = np.isfinite(weights)
        if not finite.all() and (bad := int(np.sum(~finite[selection.wanted[0]]))):
            msg = f"{self.owner}: not finite in {bad} events of a chunk"
            raise EventValueError(msg)
        return weights
