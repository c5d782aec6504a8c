"""The OpenAI-compatible API below /v1: what clients of OpenAI speak, answered by the same retrieval."""
