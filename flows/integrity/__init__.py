"""Does what is stored match the ledger, and the repair of what does not."""
