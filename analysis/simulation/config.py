"""Every number of the detector response and of the pre-selection, with its source.

Sources are given by short names in the descriptions:

- POET: the 2015 ntuples' own pre-selection (trigger, one tight lepton with pT > 26 GeV).
- BTV-15-001: CMS-PAS-BTV-15-001, CSVv2 working points of 2015 (76X: 0.460, 0.800, 0.935).
- JME-13-004: CMS, JINST 12 (2017) P02014, jet energy scale and resolution.
- EGM-13-001, MUO-10-004: CMS, JINST 10 (2015) P06005; JINST 7 (2012) P10002.
- W2015, TT2022: measured in the 200 CMS full-simulation events each of `cms_wjets_poet_layout.root`
  (2015) and `cms_ttbar_poet_layout.root` (13.6 TeV), so known to about 10 % only.
- tuned: set by hand so that ttbar agrees with the CMS 2015 templates (docs/simulation.md).

Units: GeV, cm for impact parameters. All models are frozen and reject unknown names.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field, ValidationError

from analysis.common.errors import SimulationError, did_you_mean
from analysis.common.files import short_digest
from analysis.common.strict import Strict, faults


class JetConfig(Strict):
    """Clustering, scale, resolution and uncertainties of the jets."""

    radius: float = Field(
        default=0.4, gt=0, description="anti-kT radius of the slimmed jets (POET)"
    )
    particle_abs_eta: float = Field(default=5.0, description="acceptance of the calorimeters")
    min_pt: float = Field(default=15.0, ge=0, description="smallest corrpt in TT2022")
    scale: float = Field(
        default=1.0, gt=0, description="corrected pT over particle-level pT; tuned"
    )
    noise: float = Field(
        default=2.0, ge=0, description="N [GeV] of sqrt(N2/pT2 + S2/pT + C2); JME-13-004"
    )
    stochastic: float = Field(default=0.80, ge=0, description="S [sqrt GeV]; JME-13-004")
    constant: float = Field(default=0.04, ge=0, description="C; JME-13-004")
    raw_correction_eta: tuple[float, ...] = Field(
        default=(0.4, 1.05, 1.6, 2.15),
        description="|eta| of the next row, linear in between; W2015",
    )
    raw_correction: tuple[float, ...] = Field(
        default=(0.02, 0.04, 0.08, 0.11),
        description="corrpt/pt - 1 at high pT; W2015 times about 0.6, tuned",
    )
    raw_correction_low: float = Field(default=0.03, description="more of it at pT = 0; W2015")
    raw_correction_decay: float = Field(
        default=40.0, gt=0, description="e-folding pT [GeV] of that; W2015"
    )
    lepton_raw_response: float = Field(
        default=1.02,
        description="raw over true for the prompt-lepton part: leptons lose nothing; TT2022",
    )
    scale_uncertainty: float = Field(
        default=0.010, ge=0, description="at high pT, central; JME-13-004"
    )
    scale_uncertainty_low: float = Field(
        default=0.45, ge=0, description="[GeV]/pT added; JME-13-004"
    )
    resolution_uncertainty: float = Field(
        default=0.06, ge=0, description="of the smearing width; 2015 scale factors 1.06 +- 0.06"
    )
    flavour_radius: float = Field(default=0.4, description="hadron-jet distance for hflav")
    flavour_min_pt: float = Field(default=5.0, description="pT of the b or c hadron for hflav")


class FatJetConfig(Strict):
    """AK8 jets; their scale and resolution are those of the jets."""

    radius: float = Field(default=0.8, gt=0, description="anti-kT radius (POET)")
    min_pt: float = Field(
        default=170.0, gt=0, description="[GeV] corrpt; AK8 jets of MiniAOD start there, assumed"
    )
    softdrop_cut: float = Field(default=0.1, description="z_cut of the soft drop; JME-16-003")
    softdrop_beta: float = Field(default=0.0, description="its angular exponent; JME-16-003")


class BTagConfig(Strict):
    """CSVv2 discriminator: efficiencies at the three working points, by flavour."""

    working_points: tuple[float, float, float] = Field(
        default=(0.460, 0.800, 0.935), description="76X"
    )
    b: tuple[float, float, float] = Field(
        default=(0.86, 0.735, 0.53), description="BTV-15-001; M tuned"
    )
    c: tuple[float, float, float] = Field(
        default=(0.41, 0.18, 0.06), description="BTV-15-001; M tuned"
    )
    light: tuple[float, float, float] = Field(
        default=(0.100, 0.012, 0.0015), description="BTV-15-001; M tuned"
    )
    low_pt_loss: float = Field(
        default=0.25, description="relative loss of b, c efficiency at pT = 0"
    )
    low_pt_decay: float = Field(
        default=35.0, gt=0, description="e-folding pT [GeV]; BTV-15-001 shape"
    )
    high_pt_loss: float = Field(
        default=0.0008, description="relative loss per GeV above; BTV-15-001"
    )
    high_pt_start: float = Field(
        default=120.0, description="[GeV] where the loss sets in; BTV-15-001"
    )
    lepton_light: float = Field(
        default=0.003, description="P(d > 0.8) of a prompt-lepton jet; TT2022"
    )
    max_abs_eta: float = Field(default=2.4, description="tracker acceptance; beyond it d = -10")
    no_track: float = Field(
        default=0.25, description="light jets without vertex input (d = -10); W2015"
    )
    no_track_heavy: float = Field(default=0.01, description="same for b and c jets; TT2022")
    light_low: tuple[float, float] = Field(
        default=(0.2, 0.28), description="further point of the light curve: P(d > 0.2); W2015"
    )
    b_uncertainty: float = Field(default=0.03, description="of the b scale factor; BTV-15-001")
    c_uncertainty: float = Field(default=0.06, description="twice that of b; BTV-15-001")
    light_uncertainty: float = Field(
        default=0.15, description="of the mistag scale factor; BTV-15-001"
    )


class ElectronConfig(Strict):
    """Electrons: resolution, identification, isolation, impact parameter."""

    min_pt: float = Field(default=5.0, description="smallest pT in TT2022")
    max_abs_eta: float = Field(default=2.5, description="tracker acceptance")
    resolution: tuple[float, float] = Field(
        default=(0.016, 0.028), description="relative, barrel and endcap; EGM-13-001"
    )
    barrel_abs_eta: float = Field(default=1.479, description="ECAL barrel")
    cluster_radius: float = Field(
        default=0.1, description="photons in it join the cluster; EGM-13-001"
    )
    reconstruction: float = Field(default=0.97, description="EGM-13-001")
    tight: tuple[float, float] = Field(
        default=(0.90, 0.82), description="identification without isolation; EGM-13-001, tuned"
    )
    medium_over_tight: float = Field(default=1.09, description="EGM-13-001")
    loose_over_tight: float = Field(default=1.18, description="EGM-13-001")
    low_pt_loss: float = Field(default=0.6, description="relative loss at pT = 0, e-folding 12 GeV")
    nonprompt_identification: float = Field(
        default=0.25, description="factor for hadron decays; TT2022"
    )
    isolation: tuple[float, float] = Field(
        default=(0.0354, 0.0646), description="cut of the tight working point (Spring15 25 ns)"
    )
    loose_isolation: tuple[float, float] = Field(default=(0.0893, 0.121), description="same, loose")
    isolation_radius: float = Field(default=0.3, description="effective-area isolation of POET")


class MuonConfig(Strict):
    """Muons: resolution, identification, isolation, impact parameter."""

    min_pt: float = Field(default=3.0, description="smallest pT in TT2022")
    max_abs_eta: float = Field(default=2.4, description="muon system")
    resolution: tuple[float, float] = Field(
        default=(0.011, 0.020), description="relative, |eta| below and above 0.9; MUO-10-004"
    )
    resolution_abs_eta: float = Field(default=0.9, description="barrel of the muon system")
    reconstruction: float = Field(default=0.99, description="MUO-10-004")
    tight: float = Field(default=0.965, description="MUO-10-004")
    medium: float = Field(default=0.985, description="MUO-10-004")
    isolation_radius: float = Field(default=0.4, description="pfreliso04DBCorr")


class TrackConfig(Strict):
    """Impact parameters and pile-up under leptons."""

    ip_resolution: float = Field(default=0.0012, description="[cm] median dxyError of TT2022")
    ip_pull: float = Field(
        default=0.45, description="sip3d core: Rayleigh scale; W2015 (median 0.44)"
    )
    ip_tail: float = Field(default=0.12, description="share with a wider scale; W2015")
    ip_tail_pull: float = Field(default=1.5, description="that scale; W2015 (95 % at 2.3)")
    charged_in_cone: float = Field(
        default=0.25, description="[GeV] mean stray charged energy; tuned"
    )
    neutral_spread: float = Field(
        default=1.2,
        description="[GeV] spread of neutral energy after the pile-up correction; tuned",
    )


class TriggerConfig(Strict):
    """Turn-on curves of the three triggers of the skim."""

    electron_threshold: float = Field(default=22.0, description="HLT_Ele22_eta2p1_WPLoose_Gsf")
    electron_width: float = Field(default=1.5, gt=0, description="[GeV]; EGM-13-001")
    electron_plateau: float = Field(default=0.93, description="tuned")
    muon_threshold: float = Field(default=20.0, description="HLT_IsoMu20, HLT_IsoTkMu20")
    muon_width: float = Field(default=0.6, gt=0, description="[GeV]; MUO-10-004")
    muon_plateau: float = Field(default=0.93, description="tuned")
    track_recovery: float = Field(default=0.35, description="IsoTkMu20 where IsoMu20 failed")
    track_correlation: float = Field(default=0.95, description="IsoTkMu20 where IsoMu20 fired")
    isolation: float = Field(
        default=0.22, description="relative isolation of half efficiency; HLT cuts"
    )
    isolation_width: float = Field(default=0.05, gt=0, description="its width")
    nonisolated: float = Field(default=0.03, description="efficiency left for non-isolated muons")
    max_abs_eta: float = Field(default=2.1, description="of the electron trigger")


class MetConfig(Strict):
    """Missing transverse momentum: neutrinos plus noise."""

    stochastic: float = Field(default=0.6, description="per component, of sqrt(sum ET); JME-13-003")
    noise: float = Field(default=8.0, description="[GeV] from pile-up; JME-13-003 at 11 vertices")


class VertexConfig(Strict):
    """Primary vertices."""

    mean: float = Field(default=10.7, gt=0, description="mean PV_npvs; W2015 (median 10)")
    spread: float = Field(default=2.6, ge=0, description="of the mean from event to event; W2015")
    good: float = Field(default=0.96, description="share of good vertices; W2015")
    z_width: float = Field(default=3.7, description="[cm] beam spot length of 2015")


class PreselectionConfig(Strict):
    """What the POET skim keeps (and how far the bundled sample goes beyond it)."""

    lepton_pt: float = Field(default=26.0, description="POET")
    lepton_abs_eta: float = Field(default=2.1, description="POET")


class DetectorConfig(Strict):
    """The detector: one object with every response number."""

    jet: JetConfig = JetConfig()
    fat_jet: FatJetConfig = FatJetConfig()
    btag: BTagConfig = BTagConfig()
    electron: ElectronConfig = ElectronConfig()
    muon: MuonConfig = MuonConfig()
    track: TrackConfig = TrackConfig()
    trigger: TriggerConfig = TriggerConfig()
    met: MetConfig = MetConfig()
    vertex: VertexConfig = VertexConfig()
    preselection: PreselectionConfig = PreselectionConfig()


def digest(content: Any) -> str:
    """Compute a short fingerprint of JSON-like settings: equal settings, equal fingerprint."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return short_digest(text)


def detector_with(assignments: list[str]) -> DetectorConfig:
    """Change the default detector by `group.name=value`. Raises SimulationError for a wrong change."""
    content = DetectorConfig().model_dump()
    for assignment in assignments:
        name, separator, value = assignment.partition("=")
        group, _, key = name.strip().partition(".")
        known = [f"{g}.{k}" for g, values in content.items() for k in values]
        if name.strip() not in known:
            msg = f"unknown setting {assignment!r}: {did_you_mean(name, known)}"
            raise SimulationError(msg)
        if not separator:
            msg = f"setting {assignment!r} has no value: expected {name.strip()}=NUMBER"
            raise SimulationError(msg)
        try:
            content[group][key] = json.loads(value)
        except json.JSONDecodeError as err:
            msg = f"setting {assignment!r}: {value!r} is not a number or list"
            raise SimulationError(msg) from err
    try:
        return DetectorConfig.model_validate(content)
    except ValidationError as error:
        msg = f"setting {faults(error, DetectorConfig)[0]}"
        raise SimulationError(msg) from error
