"""What a Prefect server is told and shown: deployments, automations, a run's log, progress and artifacts."""
