"""Named analyses: what is filled where the user says nothing else."""
