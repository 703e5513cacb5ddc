"""Background under a peak: counts and fits of its sidebands."""
