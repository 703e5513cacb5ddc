"""Figures: what is in the normalised histograms, as images."""

FORMATS = ("png", "pdf")
"""Formats of images; here, so that a command knows them without Matplotlib."""
