"""File layout -> event model: the only package that knows branch names."""

from schemas.agc import AGCSchema
from schemas.missing import MissingBranchError
from schemas.muons import MuonTreeSchema

__all__ = ["AGCSchema", "MissingBranchError", "MuonTreeSchema"]
