"""Answers a question from what is retrieved: written by the chat model with checked citations, or, without one,
the best-matching sentences quoted. Used by the API and the terminal.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from pgfolio.config.models import wordllama
from pgfolio.config.models.protocols import Completion
from pgfolio.config.prompts import DEFAULT
from pgfolio.query_api.answering import extractive, prompt_context
from pgfolio.query_api.answering.records import AnswerSource, Citation, Usage
from pgfolio.query_api.answering.sentences import Passage, excerpt, lines, passages
from pgfolio.query_api.observability.timings import stage
from pgfolio.query_api.retrieval.results import shown_title
from pgfolio.schema.search import hits as stored
from pgfolio.schema.search import lexical
from pgfolio.schema.search.pool import reading

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence

    from pgfolio.config.models import ChatModel
    from pgfolio.config.prompts import Prompt, Prompts
    from pgfolio.query_api.retrieval.query import Query
    from pgfolio.query_api.retrieval.results import Retrieved
    from pgfolio.query_api.retrieval.retriever import Retriever
    from pgfolio.schema.database.connect import AsyncConnection
    from pgfolio.schema.search.access import Permitted
    from pgfolio.schema.search.vector import Hit

Result = TypeVar("Result")

NOTHING = "Nothing in the documents answers this question."
THREADS = 32
"""Answers that may wait for a chat model at once."""


class UnknownPromptError(Exception):
    """A prompt that prompts.yaml does not have; the message names those that it has."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`answered` is false when the documents do not hold the answer; `mode` says who wrote it."""

    text: str
    answered: bool
    mode: Literal["generated", "extractive"]
    citations: Sequence[Citation] = ()
    sources: Sequence[AnswerSource] = ()
    model: str | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with what was retrieved for it, of the permitted collections only."""

    question: str
    prompt: Prompt
    permitted: Permitted
    retrieved: Retrieved
    hits: Sequence[Hit]
    """What says the same twice is shown once."""
    sources: Sequence[AnswerSource] = field(default_factory=list)


Event: TypeAlias = str | Citation | Answer
"""Of a streamed answer: pieces of its text, then its citations, the whole last."""


class Answerer:
    """Answers questions; safe to use by many requests at once."""

    def __init__(self, retriever: Retriever, chat: ChatModel | None, prompts: Prompts) -> None:
        self._retriever = retriever
        self._chat = chat
        self.prompts = prompts
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="answer")

    def close(self) -> None:
        """Ends without waiting for requests that are still under way."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def ask(self, query: Query, permitted: Permitted, prompt: str = DEFAULT) -> Asked:
        """Retrieve. Raises UnknownPromptError and what retrieving raises."""
        prompts = self.prompts.current()
        if prompt not in prompts:
            raise UnknownPromptError(f"there is no prompt {prompt!r}: there are {', '.join(sorted(prompts))}")
        retrieved = await self._retriever.retrieve(query, permitted)
        hits = [found.hit for found in retrieved.found if found.repeats is None]
        return Asked(query.text, prompts[prompt], permitted, retrieved, hits, _sources(hits))

    async def answer(self, asked: Asked) -> Answer:
        """The whole answer. Raises a ModelError, DatabaseError."""
        if self._chat is None:
            return self._traced(asked, await self._extract(asked))
        if not asked.hits:
            return self._traced(asked, self._refused(asked, None))
        (system, user), shown = await self._in_thread(partial(self._rendered, asked))
        with stage("model"):
            completion = await self._in_thread(partial(self._chat.complete, system, user))
        return self._traced(asked, await self._generated(asked, shown, completion))

    async def stream(self, asked: Asked) -> AsyncGenerator[Event]:
        """The same in pieces. When the consumer leaves, the model's request is ended."""
        if self._chat is None or not asked.hits:
            answer = await self.answer(asked)
            yield answer.text
        else:
            (system, user), shown = await self._in_thread(partial(self._rendered, asked))
            completion = Completion("", self._chat.model, 0, 0)
            held, told = "", False
            with stage("model"):
                async for piece in _pulled(partial(self._chat.stream, system, user)):
                    if isinstance(piece, Completion):
                        completion = piece
                        continue
                    held += piece
                    if not _may_refuse(asked.prompt, held):
                        yield held
                        held, told = "", True
            answer = self._traced(asked, await self._generated(asked, shown, completion))
            if told and not answer.answered:
                answer = replace(answer, text=completion.text.strip())
            if rest := held if told or answer.answered else answer.text:
                yield rest
        for citation in answer.citations:
            yield citation
        yield answer

    def _rendered(self, asked: Asked) -> tuple[tuple[str, str], list[Hit]]:
        """What the model is asked, and the chunks that it is shown."""
        tokens = wordllama.local_model().tokens([hit.content for hit in asked.hits])
        documents, shown = prompt_context.pack(
            asked.hits, tokens, self._retriever.settings.chat.context_tokens
        )
        return asked.prompt.render(question=asked.question, context=documents), shown

    def _traced(self, asked: Asked, answer: Answer) -> Answer:
        """The trace of a question tells of its answer too."""
        asked.retrieved.trace.answer = {
            "mode": answer.mode,
            "answered": answer.answered,
            "model": answer.model,
            "prompt": f"{asked.prompt.name} {asked.prompt.version}" if answer.mode == "generated" else None,
            "cited": [citation.chunk_id for citation in answer.citations],
            "unverified": sum(not citation.verified for citation in answer.citations),
        }
        return answer

    async def _generated(self, asked: Asked, shown: Sequence[Hit], completion: Completion) -> Answer:
        text = completion.text.strip()
        claims = list(prompt_context.claims(text, len(shown)))
        if not text or _refuses(asked.prompt, text, cites=bool(claims)):
            return self._refused(asked, completion)
        in_code = await self._in_code(shown, asked.permitted)
        find = partial(_supports, claims, shown, in_code)
        citations = await self._checked(shown, await self._in_thread(find), asked.permitted)
        usage = Usage(completion.input_tokens, completion.output_tokens)
        return Answer(text, answered=True, mode="generated", citations=citations, sources=asked.sources,
                      model=completion.model, usage=usage)  # fmt: skip

    def _refused(self, asked: Asked, completion: Completion | None) -> Answer:
        usage = Usage(completion.input_tokens, completion.output_tokens) if completion else None
        mode: Literal["generated", "extractive"] = "extractive" if self._chat is None else "generated"
        model = completion.model if completion else self._chat.model if self._chat else None
        return Answer(NOTHING, answered=False, mode=mode, sources=asked.sources, model=model, usage=usage)

    async def _extract(self, asked: Asked) -> Answer:
        settings = self._retriever.settings.search
        read = partial(_read, asked=asked)
        rarities, candidates, chunks = await reading(self._retriever.pool, read)
        work = partial(_extracted, asked, rarities, candidates, chunks, settings.answer_threshold)
        chosen = await self._in_thread(work)
        if not chosen:
            return self._refused(asked, None)
        markers = {chunk: n for n, chunk in enumerate(dict.fromkeys(c.chunk for c in chosen), 1)}
        quotes = [(markers[c.chunk], c.chunk, c.passage) for c in chosen]
        citations = await self._checked(asked.hits, quotes, asked.permitted)
        text = "\n\n".join(f"{c.quote} [{c.marker}]" for c in citations)
        return Answer(text, answered=True, mode="extractive", citations=citations, sources=asked.sources)

    async def _in_code(self, hits: Sequence[Hit], permitted: Permitted) -> list[bool]:
        read = partial(stored.in_code, places=_places(hits), permitted=permitted)
        return await reading(self._retriever.pool, read)

    async def _checked(
        self, hits: Sequence[Hit], quotes: Sequence[tuple[int, int, Passage]], permitted: Permitted
    ) -> list[Citation]:
        """Citations of (marker, chunk's place, passage), each compared with the stored text."""
        places = [(hits[i], hits[i].start + p.start, hits[i].start + p.end, p.text) for _, i, p in quotes]
        rows = [(hit.document_id, start, end, text) for hit, start, end, text in places]
        check = partial(stored.stored_quotes, quotes=rows, permitted=permitted)
        verified = await reading(self._retriever.pool, check) if rows else []
        return [
            Citation(
                marker,
                hit.chunk_id,
                hit.document_id,
                hit.path,
                shown_title(hit.title, hit.path),
                text,
                start,
                end,
                ok,
            )
            for (marker, _, _), (hit, start, end, text), ok in zip(quotes, places, verified, strict=True)
        ]

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


async def _read(
    connection: AsyncConnection, *, asked: Asked
) -> tuple[extractive.Rarities, list[extractive.Candidate], list[tuple[str, extractive.Words]]]:
    """The question's words, the passages and the chunks with theirs, in one snapshot."""
    rarities = await lexical.rarities(connection, asked.question, asked.permitted)
    in_code = await stored.in_code(connection, _places(asked.hits), asked.permitted)
    found = await asyncio.to_thread(_passages, asked.hits, in_code)
    chunks = [f"{shown_title(hit.title, hit.path)}\n{hit.heading}\n{hit.content}" for hit in asked.hits]
    ids = [hit.chunk_id for hit in asked.hits]
    texts = [(ids[i], p.text) for i, p in found] + list(zip(ids, chunks, strict=True))
    having = await lexical.lexemes(connection, texts, asked.permitted)
    candidates = [extractive.Candidate(i, p, w) for (i, p), w in zip(found, having, strict=False)]
    return rarities, candidates, list(zip(chunks, having[len(found) :], strict=True))


def _passages(hits: Sequence[Hit], in_code: Sequence[bool]) -> list[tuple[int, Passage]]:
    return [
        (place, passage)
        for place, hit in enumerate(hits)
        for passage in passages(hit.content, in_code=in_code[place])
    ]


def _extracted(
    asked: Asked,
    rarities: extractive.Rarities,
    candidates: list[extractive.Candidate],
    chunks: list[tuple[str, extractive.Words]],
    threshold: float,
) -> list[extractive.Candidate]:
    """Passages of the relevant chunks; where these have none, as a table has, the line of the best one."""
    relevant = extractive.relevance(asked.question, rarities, chunks)
    best = max(range(len(relevant)), key=relevant.__getitem__, default=0)
    if not relevant or relevant[best] < threshold:
        return []
    telling = [c for c in candidates if relevant[c.chunk] >= threshold]
    if telling:
        return extractive.choose(asked.question, rarities, relevant, telling)
    line = extractive.support(asked.question, lines(asked.hits[best].content))
    return [extractive.Candidate(best, line, frozenset())] if line else []


def _supports(
    claims: Sequence[prompt_context.Claim], shown: Sequence[Hit], in_code: Sequence[bool]
) -> list[tuple[int, int, Passage]]:
    """For each claim the passage of its chunk that it rests on; the same passage once for a marker."""
    found: dict[tuple[int, int], tuple[int, int, Passage]] = {}
    for claim in claims:
        hit = shown[claim.marker - 1]
        choices = passages(hit.content, in_code=in_code[claim.marker - 1])
        passage = extractive.support(claim.text, choices) or excerpt(hit.content)
        found.setdefault((claim.marker, passage.start), (claim.marker, claim.marker - 1, passage))
    return list(found.values())


def _places(hits: Sequence[Hit]) -> list[tuple[int, int]]:
    return [(hit.document_id, hit.start) for hit in hits]


def _sources(hits: Sequence[Hit]) -> list[AnswerSource]:
    """The documents, in the order of their best chunks."""
    best: dict[int, Hit] = {}
    for hit in hits:
        if hit.document_id not in best or hit.similarity > best[hit.document_id].similarity:
            best[hit.document_id] = hit
    return [
        AnswerSource(hit.document_id, shown_title(hit.title, hit.path), hit.path, round(hit.similarity, 6))
        for hit in best.values()
    ]


def _may_refuse(prompt: Prompt, text: str) -> bool:
    """Whether what the model has said so far may become its refusal: then it is not shown yet."""
    said = _begun(text)
    return prompt.refusal.casefold().startswith(said) or said.startswith(prompt.refusal.casefold())


def _refuses(prompt: Prompt, text: str, *, cites: bool) -> bool:
    """It begins with the refusal, or says so somewhere and cites nothing: a part of the question that the documents
    do not answer does not take the rest with it."""
    refusal = prompt.refusal.casefold()
    return _begun(text).startswith(refusal) or (refusal in text.casefold() and not cites)


def _begun(text: str) -> str:
    return text.lstrip(" \n\"'*`").casefold()


async def _pulled(make: Callable[[], Iterator[str | Completion]]) -> AsyncIterator[str | Completion]:
    """A blocking iterator's items, drawn in a thread of its own, which closes it when the consumer is gone."""
    loop = asyncio.get_running_loop()
    items: asyncio.Queue[str | Completion | BaseException | None] = asyncio.Queue()
    gone = threading.Event()

    def put(item: str | Completion | BaseException | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(items.put_nowait, item)

    def draw() -> None:
        try:
            with closing(make()) as iterator:  # type: ignore[type-var]
                for item in iterator:
                    if gone.is_set():
                        return
                    put(item)
            put(None)
        except BaseException as error:  # noqa: BLE001 -- raised again where it is awaited
            put(error)

    threading.Thread(target=draw, name="chat-stream", daemon=True).start()
    try:
        while (item := await items.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        gone.set()
