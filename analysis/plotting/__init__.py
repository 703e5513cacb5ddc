"""Figures: what is in the normalised histograms, as images."""
