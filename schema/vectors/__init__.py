"""Embedding spaces: generations with their tables, segments and HNSW indexes, and vectors that are used again."""
