"""Texts into vectors: batches, retries, a budget, the rate limit of a shared key."""
