"""Decides: which field is meant by one that a request does not have. Pure."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final

from pgfolio.schema.search.conditions import DATES, TEXTS

if TYPE_CHECKING:
    from collections.abc import Sequence

MEANT: Final = {
    "content": "text body markdown document data",
    "title": "name filename file_name subject",
    "query": "question q text input prompt search search_query search_text keywords message messages content",
    "question": "query q text input search keywords message messages content",
    "limit": "top_k topk k n top size count max_results num_results n_results results page_size per_page limits",
    "collections": "collection collection_name collection_names index indexes namespace",
    "collection": "collections collection_name index namespace",
    "filter": "filters where metadata_filter conditions metadata",
    "metadata": "meta attributes properties tags",
    "min_similarity": "threshold score_threshold similarity_threshold min_score similarity score_cutoff",
    "mode": "search_mode search_type type method",
    "rerank": "reranker reranking",
    "neighbors": "neighbours context window",
    "ef_search": "ef hnsw_ef",
    "explain": "debug explanation",
    "prompt": "prompt_name template system system_prompt",
    "stream": "streaming",
}
"""What other search APIs call it."""

ELSEWHERE: Final = {
    "stream": "only POST /ask streams",
    "question": "POST /ask takes questions",
    "offset": "there are no further pages, raise `limit`",
    "page": "there are no further pages, raise `limit`",
    "cursor": "there are no further pages, raise `limit`",
    "model": "the server's settings say which models are used",
    "temperature": "the server's settings say which models are used",
    "max_tokens": "the server's settings say which models are used",
}


def unknown_field(name: str, fields: Sequence[str]) -> str:
    """A sentence about a field that is none of these."""
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).replace("-", "_").casefold()
    says = f"there is no field `{name[:60]}`"
    meant = next((field for field in fields if plain in (field, *MEANT.get(field, "").split())), None)
    if meant is None and plain in ELSEWHERE:
        return f"{says}: {ELSEWHERE[plain]}"
    if meant is None and "filter" in fields and plain in {*TEXTS, *DATES}:
        return f'{says}: `"filter": {{"{plain}": ...}}` asks for it'
    close = [] if meant else difflib.get_close_matches(plain, fields, 1, 0.75)
    if meant or close:
        return f"{says}: it is called `{meant or close[0]}`"
    return f"{says}: there are {', '.join(fields)}"
