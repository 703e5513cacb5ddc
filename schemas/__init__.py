"""File layout -> event model: the only package that knows branch names."""

from schemas.agc import AGCSchema, MissingBranchError

__all__ = ["AGCSchema", "MissingBranchError"]
