"""How an answer was found: explanations, the reason why a document is no result, the log of traces."""
