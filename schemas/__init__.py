"""File layout -> event model: the only package that knows branch names."""

from schemas.agc import AGCSchema
from schemas.missing import MissingBranchError
from schemas.muons import MuonTreeSchema
from schemas.nanoaod import NanoDeepJetSchema, NanoPFMETSchema, NanoSchema

FORMATS = {
    "poet": AGCSchema,
    "nanoaod": NanoSchema,
    "nanoaod-deepjet": NanoDeepJetSchema,
    "nanoaod-pfmet": NanoPFMETSchema,
}
"""Format of files, as a catalogue names it -> their schema."""

__all__ = [
    "FORMATS", "AGCSchema", "MissingBranchError", "MuonTreeSchema", "NanoDeepJetSchema",
    "NanoPFMETSchema", "NanoSchema",
]  # fmt: skip
