"""What a sync writes: sources, ledger, documents with their chunks, pushes, and the statistics of their words."""
