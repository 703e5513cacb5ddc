"""Run a processor over a catalogue somewhere, and account for every event.

`analysis.execution.runner.run` is the way in.
"""
