"""Vectors at half the price: texts handed in to a model server's Batch API, and its answers, a day later at most."""
