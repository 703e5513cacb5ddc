"""The invariant mass of muon pairs, as a second processor."""
