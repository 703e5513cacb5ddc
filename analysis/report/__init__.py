"""The report: one HTML page of a results folder, and the summary in the terminal."""
