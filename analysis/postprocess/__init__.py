"""Post-processing: pure functions of histograms and of the ledger."""
