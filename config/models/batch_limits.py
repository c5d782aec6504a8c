"""What OpenAI's Batch API takes and asks, as it documents it."""

from __future__ import annotations

from typing import Final

MAX_LINES: Final = 50_000
MAX_BYTES: Final = 200 * 1000 * 1000
WINDOW_SECONDS: Final = 24 * 3600
"""What one batch may hold, and how long it may take. A line has one input, so that the limit of inputs is that of
lines."""

PRICE_FRACTION: Final = 0.5
"""Of the price of a request that is answered at once."""

EXPIRED: Final = "batch_expired"
"""Of a line that the server did not come to."""

QUEUE_FULL: Final = "token_limit_exceeded"
"""Of a batch that failed as a whole, after it was made, since too many tokens wait already."""
