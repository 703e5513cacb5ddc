"""Background from four regions of two variables (ABCD)."""
