"""Cuts a document's text into chunks: an outline, boundaries between blocks, the text that is embedded."""
