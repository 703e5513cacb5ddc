"""Named analyses: what is filled where the user says nothing else."""

from analysis.presets.lesson import LESSON

PRESETS = {preset.name: preset for preset in (LESSON,)}
"""Preset by name."""
