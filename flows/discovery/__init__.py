"""What a source holds and what a sync has to do: crawl, comparison with the ledger, plan."""
