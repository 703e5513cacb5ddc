"""Workers: local processes, Dask, clusters."""
