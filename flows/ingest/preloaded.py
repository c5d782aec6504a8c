"""What all local workers share: imported by the process that they are forked from, before they are."""

from __future__ import annotations

import gc

from pgfolio.config.models import wordllama
from pgfolio.flows.execution import worker_process
from pgfolio.flows.ingest import worker

__all__ = ["worker", "worker_process"]

wordllama.bundled_tokenizer()
wordllama.table()
gc.collect()
gc.freeze()  # the collector writes to what it counts: it would be copied into each
