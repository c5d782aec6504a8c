"""Where the work of a run is done: in its own process, in processes of this machine, on a Dask cluster."""
