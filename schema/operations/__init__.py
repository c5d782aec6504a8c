"""Running it: runs, traces, API keys, rate limits, what was pushed, and what `status` and the metrics show."""
