"""What one search goes by: the question with its embedding, what may be seen, the settings that the query leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pgfolio.query_api.retrieval.phrases import is_number

if TYPE_CHECKING:
    import numpy as np

    from pgfolio.config.settings import Settings
    from pgfolio.query_api.retrieval.fusion import Fusion
    from pgfolio.query_api.retrieval.query import Query
    from pgfolio.query_api.retrieval.query_embedding import QueryEmbedding
    from pgfolio.query_api.retrieval.trace import Trace
    from pgfolio.schema.records import Generation
    from pgfolio.schema.search.access import Permitted

WeightOrigin = Literal["query", "settings", "measured", "default"]


@dataclass(frozen=True, slots=True)
class SearchParameters:
    """One question to one generation; `candidate_count` candidates are read."""

    settings: Settings
    generation: Generation
    embedding: QueryEmbedding
    query: Query
    permitted: Permitted
    candidate_count: int
    trace: Trace

    @property
    def vector(self) -> np.ndarray:
        return self.embedding.vector

    @property
    def is_unfiltered_vector(self) -> bool:
        """The common question: the nearest of all chunks."""
        query = self.query
        everywhere = query.collections is None and query.condition is None and self.permitted is None
        return query.mode == "vector" and everywhere and not query.exact and bool(self.vector.any())

    @property
    def arm_candidate_count(self) -> int:
        """Candidates of each arm that are ranked before they are read."""
        return max(self.candidate_count, self.settings.search.candidates)

    @property
    def min_similarity(self) -> float | None:
        """The settings' 0 means no bound: a word's chunk may well have a similarity below 0."""
        if self.query.min_similarity is not None:
            return self.query.min_similarity
        return self.settings.search.min_similarity or None

    @property
    def fusion(self) -> Fusion:
        return self.query.fusion or self.settings.search.fusion

    @property
    def vector_weight(self) -> float:
        """What similarities count, times how much of the question's vocabulary the model knows: of numbers without a
        word nothing."""
        if is_number(self.query.text):
            return 0.0
        return self.model_weight[0] * self.embedding.vocabulary_coverage

    @property
    def model_weight(self) -> tuple[float, WeightOrigin]:
        """What the model's similarities count, and who says so: the query, else the settings, else what was measured
        of the generation, else the bundled model's weight."""
        configured = self.settings.search.vector_weight
        if self.query.vector_weight is not None:
            return self.query.vector_weight, "query"
        if configured != "auto":
            return configured, "settings"
        if self.generation.vector_weight is not None:
            return self.generation.vector_weight, "measured"
        return 1.0, "default"

    @property
    def ef_search(self) -> int:
        return self.query.ef_search or self.generation.ef_search or self.settings.index.ef_search
