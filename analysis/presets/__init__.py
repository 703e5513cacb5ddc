"""Named analyses: what is filled where the user says nothing else."""

from analysis.presets.agc import AGC_V1, AGC_V2
from analysis.presets.cms import CHECKS, CMS
from analysis.presets.lesson import LESSON

PRESETS = {preset.name: preset for preset in (LESSON, CMS, CHECKS, AGC_V1, AGC_V2)}
"""Preset by name."""
