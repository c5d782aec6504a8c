"""What an operator sees: metrics, the timings of requests, the request log."""
