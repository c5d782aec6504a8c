"""The chunks that a question is about: embedding, candidates, fusion, reranking, deduplication, passages."""
