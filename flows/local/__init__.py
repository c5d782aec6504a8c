"""What `up` starts on one machine: processes, a Prefect server, their addresses."""
