"""Checkpoints of chunks: where they are stored, and by which code and configuration."""
