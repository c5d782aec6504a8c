"""The move of a corpus to another embedding space: backfill, gate, switch, rollback."""
