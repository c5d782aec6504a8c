"""A sync at work: batches of files from reading to storing, and what it reports."""
