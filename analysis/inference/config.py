"""InferenceConfig: every number of the statistical model, typed and frozen."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from analysis.common.errors import WorkspaceError
from analysis.common.strict import Strict
from analysis.config import Binning, Fraction

_SAME = 1e-4
"""Relative difference of two cross sections that is rounding."""


class Variation(Strict):
    """A systematic variation of templates: its histograms, and the processes that have it."""

    up: str
    down: str | None = None
    """None: the variation has one direction, and is made symmetric as `one_sided` says."""
    processes: tuple[str, ...] = ()
    """Empty: every simulated process."""


class RateUncertainty(Strict):
    """A relative uncertainty of the cross section of processes that go together."""

    processes: tuple[str, ...]
    relative: Fraction


def _two_sided(name: str) -> Variation:
    return Variation(up=f"{name}_up", down=f"{name}_down")


_VARIATIONS = {
    "ME variation": Variation(up="ME_var", processes=("ttbar",)),
    "PS variation": Variation(up="PS_var", processes=("ttbar",)),
    "ttbar scale variations": Variation(up="scaleup", down="scaledown", processes=("ttbar",)),
    "Jet energy scale": _two_sided("pt_scale"),
    "Jet energy resolution": _two_sided("pt_res"),
    **{f"b-tag NP {i + 1}": _two_sided(f"btag_var_{i}") for i in range(4)},
    "W+jets scale variations": _two_sided("scale_var").model_copy(update={"processes": ("wjets",)}),
}

_BACKGROUNDS = {
    "cross section t-channel": RateUncertainty(
        processes=("single_top_t_chan", "single_atop_t_chan"), relative=0.04
    ),
    "cross section tW": RateUncertainty(processes=("single_top_tW",), relative=0.054),
    "cross section W+jets": RateUncertainty(processes=("wjets",), relative=0.3),
    "cross section QCD": RateUncertainty(processes=("qcd",), relative=0.5),
}


class InferenceConfig(Strict):
    """The model of the measurement; `InferenceConfig()` has the lesson's binning and variations."""

    poi: str = "ttbar_norm"
    signal: str = "ttbar"
    processes: tuple[str, ...] = (
        "ttbar", "single_top_t_chan", "single_atop_t_chan", "single_top_tW", "wjets"
    )  # fmt: skip
    """What every region must have; others are taken where there are any."""
    regions: tuple[str, ...] = ("4j1b", "4j2b")
    """What is fitted: no event may be in two of them."""
    signal_cross_section_pb: PositiveFloat = 831.76
    """What templates of a file were scaled to that does not say it: NNLO+NNLL for tt̄ (Top++ 2.0,
    m_t = 172.5 GeV). A run knows its own, and a model that states another one is refused."""
    binning: Binning = Binning(bins=11, low=110, high=550)
    """GeV; its edges must be edges of the histograms."""
    variations: dict[str, Variation] = _VARIATIONS
    """Nuisance parameter -> what it varies."""
    one_sided: Literal["mirror", "flat"] = "mirror"
    """The missing direction: 2 × nominal - the other, or nominal."""
    two_sided: Literal["symmetric", "asymmetric"] = "symmetric"
    """Half the difference of both directions, of the logarithm of the normalisation and of the shape,
    or each as it is. The rest is of second order and in part statistical noise of the simulation, to
    which the fit answers with a bias: -0.2 of an error in toys of the bundled sample."""
    smoothing: bool = False
    """Smooth the ratio of each varied shape to nominal: 353QH twice (Friedman, 1974; ROOT's)."""
    pruning: Fraction = 0.001
    """Changes of a normalisation, and of every bin of a shape, below this are left out."""
    luminosity_uncertainty: Fraction = 0.03
    """As in the lesson; CMS measured 2.7 % for 2015 (CMS-PAS-LUM-15-001)."""
    cross_section_uncertainties: dict[str, RateUncertainty] = _BACKGROUNDS
    """Single top: scale and parton distributions, added in quadrature, of the predictions at 13 TeV
    that LHC experiments use (LHC Top Working Group). t-channel: 216.99 +6.62 -4.64 ± 6.16 pb, 4 %
    (NLO, Hathor 2.1, arXiv:1406.4403). tW: 71.7 ± 1.8 ± 3.4 pb, 5.4 % (approximate NNLO, N.
    Kidonakis). W+jets 30 % and QCD 50 %: assumed, for the rate of events with four jets and a b
    tag, which the precision of inclusive predictions does not cover."""
    luminosity_fraction: Annotated[float, Field(gt=0)] | Literal["free"] = 1.0
    """Part of the simulation's luminosity that the data have; `free` fits it."""

    @property
    def varied(self) -> set[str]:
        """The names of all variations in histograms."""
        return {name for v in self.variations.values() for name in (v.up, v.down) if name}

    @property
    def named_processes(self) -> set[str]:
        """The processes that any part of the model names."""
        varied = (variation.processes for variation in self.variations.values())
        rates = (rate.processes for rate in self.cross_section_uncertainties.values())
        return {self.signal, *self.processes}.union(*varied, *rates)

    @property
    def stated_pb(self) -> float | None:
        """The cross section of the signal if it was given, and is not the default."""
        given = "signal_cross_section_pb" in self.model_fields_set
        return self.signal_cross_section_pb if given else None

    def reference_pb(self, known: float | None, source: str) -> float:
        """The cross section that a strength of 1 stands for; `known` is what the source says of it.

        Raises WorkspaceError where the model states another one than the source, and where neither
        says what a signal that is not the default one was scaled to.
        """
        stated = self.stated_pb
        if known is None:
            if stated is None and self.signal != InferenceConfig.model_fields["signal"].default:
                msg = (
                    f"{source} does not say what {self.signal} was scaled to: "
                    "give the model signal_cross_section_pb"
                )
                raise WorkspaceError(msg)
            return self.signal_cross_section_pb
        if stated is not None and not math.isclose(known, stated, rel_tol=_SAME):
            msg = (
                f"the model's signal_cross_section_pb is {stated:g}, but in "
                f"{source} {self.signal} was scaled to {known:g} pb: leave it out of the model"
            )
            raise WorkspaceError(msg)
        return known
