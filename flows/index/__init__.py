"""Looks after the HNSW index: builds, merges, measures, tunes."""
