"""Typed settings, each described once: what ships and the manual's table are made from these descriptions.

Order: environment, then the file named by PGFOLIO_CONFIG, then pgfolio.toml. Nothing here opens a connection or a
model.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 -- pydantic reads it
from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from pgfolio.config.paths import DEFAULTS, config_file, default_home
from pgfolio.config.section import Section
from pgfolio.config.source_rules import SourceRules  # noqa: TC001 -- pydantic reads it

PREFIX = "PGFOLIO_"

Count = Annotated[int, Field(ge=1)]
Size = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0)]
LogFormat = Literal["json", "text", "off"]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Embedding(Section):
    """How texts become vectors."""

    provider: Literal["auto", "local", "transformers", "openai"] = Field(
        description="auto, local, transformers (in the process: pip install 'pgfolio[transformers]') or openai (any "
        "compatible server); auto: local for its own models, transformers for a folder, else openai"
    )
    model: str = Field(
        description="empty: wordllama-256 (local), text-embedding-3-small (openai); transformers: a folder with "
        "model.onnx and tokenizer.json, or a name on the model hub; then run `pgfolio reembed`"
    )
    dimensions: Annotated[int, Field(ge=1, le=4000)] | None = Field(
        default=None, description="fewer than the model's own, where it offers that; unset: its own"
    )
    batch_inputs: Annotated[int, Field(ge=1, le=2048)] = Field(description="texts in one request")
    batch_tokens: Count = Field(description="tokens in one request")
    in_flight: Count = Field(description="requests at once")
    timeout: Seconds = Field(description="seconds for one request")
    deadline: Seconds = Field(description="seconds of retries for one request before it counts as failed")
    requests_per_minute: Size = Field(
        description="allowed to the key, shared by all flows that use it; 0: as the server's headers tell"
    )
    tokens_per_minute: Size = Field(description="the same for tokens")
    query_reserve: Annotated[float, Field(ge=0, le=0.9)] = Field(
        description="the part of both that flows leave to the questions of searches"
    )
    batch: bool = Field(
        description="true: syncs and reembed hand in what is much (1,000 texts) to the Batch API of openai, at half "
        "the price and within a day, and take what is ready; `--batch` waits for it"
    )
    base_url: str | None = Field(default=None, description="of this model's server, where it is another one")
    api_key: SecretStr | None = Field(default=None, description="of that server")
    query_prefix: str | None = Field(
        default=None, description='put before a question ("query: "); unset: what a transformer\'s files say'
    )
    document_prefix: str | None = Field(
        default=None, description='put before a chunk ("passage: "); unset: as above'
    )


class Upgrade(Section):
    """A better space, which `pgfolio up` fills in the background while searches go on in the one of `[embedding]`."""

    provider: Literal["auto", "local", "transformers", "openai"] = Field(description="as embedding.provider")
    model: str = Field(
        description="as embedding.model; empty, with no dimensions either: there is no such space"
    )
    dimensions: Annotated[int, Field(ge=1, le=4000)] | None = Field(
        default=None, description="as embedding.dimensions"
    )
    max_cost: Annotated[float, Field(ge=0, le=10_000)] | None = Field(
        default=None, description="US dollars that filling it may cost, all tries together; unset: no limit"
    )
    niceness: Annotated[int, Field(ge=0, le=19)] = Field(
        description="how far what fills it stands back behind what else wants the cores; 0: not at all, 19: wholly"
    )


class Chat(Section):
    """The model that answers `ask`; without one answers are sentences quoted from the documents."""

    provider: Literal["auto", "openai", "none"] = Field(
        description="auto, openai or none; auto: openai when a model is named, else extractive answers"
    )
    model: str = Field(description="the server's name of the chat model")
    timeout: Seconds = Field(description="seconds for one answer")
    base_url: str | None = Field(default=None, description="of this model's server, where it is another one")
    api_key: SecretStr | None = Field(default=None, description="of that server")
    max_output_tokens: Count = Field(description="of one answer, with what the model thinks aloud before it")
    output_limit: Literal["auto", "max_tokens", "max_completion_tokens"] = Field(
        description="what the server calls it; auto: max_tokens, and the other where that is refused"
    )
    temperature: Literal["auto", "default"] | Annotated[float, Field(ge=0, le=2)] = Field(
        description="auto: 0, and the model's own where that is refused; default: its own; or a number"
    )
    context_tokens: Annotated[int, Field(ge=200)] = Field(
        description="of the documents that the model is shown"
    )
    prompts: Path | None = Field(
        default=None,
        description="a file of your own in the place of the shipped prompts.yaml; read again when edited",
    )


class Crawl(Section):
    """What of a folder is read."""

    include: tuple[str, ...] = Field(description="globs; empty: every file")
    exclude: tuple[str, ...] = Field(description="globs, beside .gitignore and .pgfolioignore")
    hidden: bool = Field(description="whether files and folders with a dot in front are read")
    follow_symlinks: bool = Field(description="whether symbolic links are followed")
    max_file_mb: Annotated[float, Field(gt=0)] = Field(description="larger files are listed as problems")
    extract_timeout: Seconds = Field(description="seconds for the parser of one file")


class Chunking(Section):
    """How texts are cut; another size makes all chunks anew."""

    tokens: Annotated[int, Field(ge=96, le=8192)] = Field(
        description="of one chunk at most, and 96 at least: what stands above it takes up to 80 bytes"
    )
    overlap: Size = Field(description="tokens that a chunk may repeat of the one before it")


class Sync(Section):
    """Who does the work of a sync, what it may remove, and what it keeps of that."""

    workers: Annotated[int, Field(ge=0, le=1024)] = Field(
        description="processes that read, embed and store; 0: as many as the machine has cores"
    )
    executor: Literal["local", "dask"] = Field(
        description="local: processes of this machine; dask: a cluster (pip install 'pgfolio[distributed]')"
    )
    dask_address: str = Field(description='of its scheduler: "tcp://HOST:8786"')
    read: Literal["worker", "driver"] = Field(
        description="who opens files; driver: the sync, for a cluster that does not see the folders"
    )

    delete_max_documents: Size = Field(description="more removals than this, and")
    delete_max_fraction: Fraction = Field(description="than this part of the source, are held for approval")
    keep_vectors_days: Size = Field(
        description="of deleted and changed texts: what comes back within this time costs nothing"
    )


class Index(Section):
    """The HNSW index, until `pgfolio index --tune` has measured it."""

    storage: Literal["halfvec", "vector", "bit"] = Field(
        description="halfvec, vector or bit (`pgfolio reembed` moves to another one)"
    )
    m: Annotated[int, Field(ge=2, le=100)] = Field(description="links of a vector in each layer of the graph")
    ef_construction: Annotated[int, Field(ge=4, le=1000)] = Field(
        description="candidates looked at for each vector while the index is built"
    )
    ef_search: Annotated[int, Field(ge=1, le=1000)] = Field(
        description="candidates looked at for a question: more find more of what it is near to, and take longer"
    )
    target_recall: Fraction = Field(
        description="recall@10 that `pgfolio index --tune` aims at and `status` compares with"
    )
    gate_recall: Fraction = Field(
        description="recall@10 that a new generation's index must reach before reembed switches to it"
    )
    gate_ndcg_loss: Fraction = Field(
        description="nDCG@10 that it may lose against the old one, where reembed is given labelled queries"
    )
    keep_generations_days: Size = Field(
        description="the old generation stays so long for `reembed --rollback`; 0: it is dropped at once"
    )


class Search(Section):
    """How rankings by vectors and by words become one."""

    language: Annotated[str, Field(pattern=r"^[a-z_]+$")] = Field(
        description="of documents that do not tell theirs: a text search configuration of PostgreSQL"
    )
    fusion: Literal["scores", "rrf"] = Field(description="scores, or rrf (reciprocal rank fusion)")
    vector_weight: Literal["auto"] | Annotated[float, Field(ge=0, le=100)] = Field(
        description="vectors count so many times as much as the bundled model's; auto: as measured on the corpus, "
        "without labels; `pgfolio eval --vector-weight` measures it with them"
    )
    candidates: Annotated[int, Field(ge=10, le=1000)] = Field(description="taken from each arm before fusion")
    min_similarity: Fraction = Field(description="results that are less similar are left out")
    answer_threshold: Fraction = Field(
        description="probability of the best passage below which ask, without a chat model, says that nothing answers"
    )


class Rerank(Section):
    """A second pass over the best candidates, where a question asks for it (`rerank: true`)."""

    url: str = Field(
        description="of a server with the rerank API (Jina, Cohere, vLLM), or of text-embeddings-inference"
    )
    api: Literal["jina", "tei", "local"] = Field(
        description="jina, tei, or local: a cross-encoder in the process (pip install 'pgfolio[transformers]')"
    )
    model: str = Field(
        description="local: a folder with model.onnx and tokenizer.json, or a name on the model hub"
    )
    key: SecretStr | None = Field(
        default=None, description="of the server; a secret: better set by its variable"
    )
    timeout: Seconds = Field(description="seconds; what takes longer is left out, and the answer says so")
    candidates: Annotated[int, Field(ge=1, le=1000)] = Field(description="that are scored anew")


class Traces(Section):
    """How each answer was found: `GET /traces/{id}`."""

    keep_days: Size = Field(description="0: none is kept")
    keep_most: Count = Field(description="100,000 take about 440 MB; the oldest are forgotten first")
    keep_queries: bool = Field(description="false: without the texts of questions")


class Api(Section):
    """The HTTP service."""

    database_url: SecretStr | None = Field(
        default=None,
        description="of a read replica: what is read is read there, and from database_url where it is behind or gone",
    )
    host: str = Field(description="where it listens; beyond this machine only once there is a key")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(description="0: any that is free")
    workers: Count = Field(description="processes")
    pool_size: Size = Field(
        description="database connections of each process; 0: twice the machine's cores, at least 4"
    )
    max_waiting: Count = Field(
        description="requests of each process that may wait for one of them, as long as timeout allows; one more is "
        "answered 503 at once, with when to come again"
    )
    timeout: Seconds = Field(
        description="seconds for one request, its answer included; more than chat.timeout"
    )
    statement_timeout: Seconds = Field(description="seconds for one SQL statement")
    read_only: bool = Field(
        description="true: it writes nothing at all to the database: no traces, no pushes, no requests"
    )
    max_body_kb: Count = Field(description="of a request")
    max_push_mb: Annotated[float, Field(gt=0, le=200)] = Field(
        description="of a pushed document; the larger ones are stored one after the other"
    )
    max_uploads_mb: Count = Field(
        description="of all pushes together that are being sent to a process; they are in TMPDIR; beyond it 503"
    )
    max_wait: Annotated[float, Field(ge=0)] = Field(
        description="seconds that a push may wait for (`?wait=`); less than timeout"
    )
    requests_per_minute: Size | None = Field(
        default=None,
        description="of each key in each process; 0: no limit; unset: 600 where other machines can reach the API",
    )
    allowed_hosts: tuple[str, ...] = Field(
        description="names that the API answers to beside this machine's own; empty: with keys, any"
    )
    public_url: Annotated[str, Field(pattern=r"^(https?://\S+)?$")] = Field(
        description='of this server for its users, as in "https://docs.example.com": links to documents begin '
        "with it; empty: as the request's header Host says"
    )
    cors_origins: tuple[str, ...] = Field(
        description='web pages that may ask from a browser, as in ["https://docs.example.com"]'
    )
    log: LogFormat = Field(description="json, text or off: a line for each request on stderr")


class Monitoring(Section):
    """What `pgfolio status --check` finds fault with."""

    sync_age_minutes: Annotated[float, Field(ge=0)] = Field(
        description="a source that no sync went through for so long is a warning, for four times as long critical; "
        "0: never"
    )
    listener_age_seconds: Annotated[float, Field(ge=0)] = Field(
        description="what makes documents of pushes is critical when it was silent for so long; 0: there is none"
    )
    replica_lag_seconds: Annotated[float, Field(ge=0)] = Field(
        description="the replica of `api.database_url` is a warning when it is so far behind; 0: never"
    )


class Postgres(Section):
    """The bundled Postgres; 0 means sized to the machine."""

    shared_buffers_mb: Size = Field(description="its cache of pages")
    maintenance_work_mem_mb: Size = Field(description="what building an index may take")


class Settings(BaseSettings):
    """All settings of both programs. Frozen; secrets are masked when shown."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        env_ignore_empty=True,
        nested_model_default_partial_update=True,
    )

    home: Path = Field(
        default_factory=default_home, description="where the bundled Postgres and local state live"
    )
    database_url: SecretStr | None = Field(
        default=None, description="any PostgreSQL with pgvector 0.8.4 or newer; unset: the bundled one"
    )
    database_direct_url: SecretStr | None = Field(
        default=None,
        description="the same database without the pooler that database_url leads through: for migrations and the "
        "flows, which need sessions",
    )
    openai_api_key: SecretStr | None = Field(
        default=None, description="the key of the model server, as everywhere"
    )
    openai_base_url: str | None = Field(default=None, description="of any server that speaks the OpenAI API")
    openai_api_version: str | None = Field(
        default=None, description="of Azure's API; may stand in the base URL as ?api-version="
    )
    openai_key_header: Literal["auto", "authorization", "api-key"] = Field(
        default="auto", description="the header of the key; auto: api-key for Azure, else authorization"
    )
    embedding: Embedding
    upgrade: Upgrade
    chat: Chat
    crawl: Crawl
    chunking: Chunking
    sync: Sync
    index: Index
    search: Search
    rerank: Rerank
    traces: Traces
    api: Api
    monitoring: Monitoring
    postgres: Postgres
    prices: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict,
        description="US dollars for a million tokens, by model; unnamed models count as free",
    )
    sources: tuple[SourceRules, ...] = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del dotenv_settings, file_secret_settings
        named = config_file()
        files = [TomlConfigSettingsSource(settings_cls, path) for path in (named, DEFAULTS) if path]
        return init_settings, env_settings, *files
