"""Figures: what is in the normalised histograms, as images."""

FORMATS = ("png", "pdf")
"""Formats of images; here, so that a command knows them without Matplotlib."""

PROCESSES = 2
"""Processes that draw, where nobody says otherwise."""
