"""An analysis of one's own, all of it in the `__main__` of a script: a test runs it with each executor.

`python user_analysis.py CATALOGUE FOLDER STEP...`: the results of each step are in a folder of its name.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import awkward as ak

from analysis import (
    CHANNELS,
    REGIONS,
    Binning,
    Catalogue,
    Channel,
    Control,
    Execution,
    Region,
    Shift,
    TtbarAnalysis,
    Weight,
    run,
)
from analysis.common.errors import AnalysisError
from analysis.skim import make_skim

HARDER = 1.05


def nearest_tag(event: Any) -> Any:
    """ΔR between the lepton and the nearest b-tagged jet."""
    return ak.min(event.jets[event.jets.btagged].deltaR(event.lepton), axis=1)


def positive(lepton: Any) -> Any:
    if os.environ.get("KILL_THE_RUN") and len(lepton.pt) > 100:
        os.kill(os.getpid(), signal.SIGKILL)
    return lepton.charge > 0


analysis = TtbarAnalysis(
    channels=[
        CHANNELS[0],
        Channel("mu_plus", "muon", ("IsoMu20",), where=positive, uses={"lepton.charge"}),
        Channel(
            "mu_minus", "muon", ("IsoMu20",), where=lambda l: l.charge < 0, uses={"lepton.charge"}
        ),
    ],
    regions=[
        *REGIONS,
        Region(
            "3j_met",
            where=lambda s: (s.n_jets == 3) & (s.met.pt > 60),
            observable=lambda s: s.each(nearest_tag),
            axis_label=r"$\Delta R$",
            label="3 jets, MET",
            uses={"met.pt", "lepton.phi"},
            binning=Binning(bins=10, low=0, high=5),
        ),
    ],
    name="mine",
).adding(
    shifts=[Shift("mu_scale", up=lambda muons: HARDER * muons.pt, of="muon")],
    weights=[Weight("pile_up", up=lambda s: 1 + s.n_vertices / 100, uses={"PV.npvs"})],
    controls=[Control("ht", lambda s: s.ht, Binning(bins=20, low=0, high=1000), r"$H_T$ [GeV]")],
)

logging.basicConfig(level="INFO", format="%(message)s")
path, folder = sys.argv[1], Path(sys.argv[2])
catalogue = Catalogue.load(path)
try:
    for step in sys.argv[3:]:
        used = catalogue
        if step == "skim":
            if not (folder / "made").exists():
                make_skim(catalogue, folder / "made", analysis, source=path)
            used = Catalogue.load(folder / "made" / "ntuples.json")
        executor = step if step in ("futures", "dask") else "iterative"
        execution = Execution(executor=executor, workers=2, chunk_size=900)
        run(analysis, used, execution=execution, output=folder / step, resume=step == "resumed")
except AnalysisError as error:
    sys.exit(f"error: {error}")
