"""Retrieval quality on labelled queries."""
