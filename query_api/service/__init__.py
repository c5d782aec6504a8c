"""The HTTP API: its routes, its requests and answers, its errors, its server."""
