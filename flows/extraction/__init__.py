"""Bytes into text, title, dates and metadata, in processes that may crash."""
