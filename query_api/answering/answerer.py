"""Answers a question from what is retrieved: written by the chat model with checked citations, or, without one,
the best-matching sentences quoted. Used by the API and the terminal.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from pgfolio.config.errors import WrongUsageError
from pgfolio.config.models import wordllama
from pgfolio.config.models.protocols import Completion
from pgfolio.config.prompts import DEFAULT
from pgfolio.query_api.answering import prompt_context
from pgfolio.query_api.answering.background_task import background_task
from pgfolio.query_api.answering.catalog_answer import MAX_ABOUT, answer_from_catalog
from pgfolio.query_api.answering.catalog_question import catalog_question
from pgfolio.query_api.answering.citations import checked_citations, supporting_quotes
from pgfolio.query_api.answering.conversation import understood_before
from pgfolio.query_api.answering.ending import ending_notes, usage_of
from pgfolio.query_api.answering.follow_up import FOLLOW_UP, understand
from pgfolio.query_api.answering.quoting import read_evidence, select_quotes, written
from pgfolio.query_api.answering.records import Answer, AnswerRequest, AnswerSource, Citation
from pgfolio.query_api.answering.refusal import is_refusal, may_become_refusal
from pgfolio.query_api.observability.timings import stage
from pgfolio.query_api.retrieval.results import display_title
from pgfolio.query_api.retrieval.retriever import CROWDED
from pgfolio.schema.search import hits as stored
from pgfolio.schema.search.pool import in_snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from pgfolio.config.models.protocols import ChatModel
    from pgfolio.config.prompts import Prompt, Prompts
    from pgfolio.query_api.answering.catalog_question import CatalogQuestion
    from pgfolio.query_api.answering.conversation import Message
    from pgfolio.query_api.retrieval.query import Query
    from pgfolio.query_api.retrieval.retriever import Retriever
    from pgfolio.schema.search.access import Permitted
    from pgfolio.schema.search.vector import Hit

Result = TypeVar("Result")

NO_ANSWER = "Nothing in the documents answers this question."
CONTRADICTORY = "the documents contradict each other: each is quoted with its date"
QUOTED_CHUNKS = 12
"""Chunks that are looked at for an answer without a chat model: of 209 questions with an answer it stood in the first
five for 78%, in the first twelve for 86%."""

CHUNKS_BEFORE = 3
"""Of the question before a follow-up."""

MAX_THREADS = 8
"""Answers whose passages are compared at once: work of this process."""


class UnknownPromptError(WrongUsageError):
    """A prompt that prompts.yaml does not have; the message names those that it has."""


Event: TypeAlias = str | Citation | Answer
"""Of a streamed answer: pieces of its text, then its citations, the whole last."""


class Answerer:
    """Answers questions; safe to use by many requests at once."""

    def __init__(self, retriever: Retriever, chat: ChatModel | None, prompts: Prompts) -> None:
        self._retriever = retriever
        self._chat = chat
        self.prompts = prompts
        self._threads = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="answer")

    @property
    def generates(self) -> bool:
        """Whether a chat model writes the answers; else they are quoted."""
        return self._chat is not None

    async def close(self) -> None:
        """Ends without waiting for requests that are still under way."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._chat is not None:
            await self._chat.close()

    async def retrieve(
        self, query: Query, permitted: Permitted, prompt: str = DEFAULT, earlier: Sequence[Message] = ()
    ) -> AnswerRequest:
        """Retrieve for the question as it is understood after the `earlier` messages of its conversation. What was
        found for the question before stays a candidate. Raises UnknownPromptError, a ModelError and what retrieving
        raises."""
        prompts = self.prompts.current()
        names = sorted(set(prompts) - {FOLLOW_UP})
        if prompt not in names:
            raise UnknownPromptError(f"there is no prompt {prompt!r}: there are {', '.join(names)}")
        previous = understood_before(earlier)
        query = replace(query, text=await understand(self._chat, prompts, query.text, earlier))
        if about_documents := catalog_question(query.text):
            request = await self._from_catalog(about_documents, query, permitted, prompts[prompt])
            if request is not None:
                return request
        if not self.generates:
            query = replace(
                query,
                limit=max(query.limit, QUOTED_CHUNKS),
                max_per_document=query.max_per_document and max(query.max_per_document, QUOTED_CHUNKS // 2),
            )
        retrieved = await self._retriever.retrieve(query, permitted)
        hits = [result.hit for result in retrieved.results if result.near_duplicate_of is None]
        if previous and query.text != previous:
            hits += await self._hits_before(
                replace(query, text=previous, limit=CHUNKS_BEFORE), permitted, hits
            )
        return AnswerRequest(
            question=retrieved.question or query.text,
            prompt=prompts[prompt],
            permitted=permitted,
            retrieved=retrieved,
            hits=hits,
            sources=_sources(hits),
        )

    async def _from_catalog(
        self, question: CatalogQuestion, query: Query, permitted: Permitted, prompt: Prompt
    ) -> AnswerRequest | None:
        topic = replace(
            query, text=question.topic or question.kind or query.text, limit=MAX_ABOUT, max_per_document=1
        )
        retrieved = await self._retriever.retrieve(topic, permitted)
        notes = retrieved.trace.notes
        notes[:] = [
            note for note in notes if note != CROWDED.format(1)
        ]  # one chunk of each is what was wanted
        hits = [result.hit for result in retrieved.results]
        answer = await answer_from_catalog(self._retriever.pool, question, query, hits, permitted)
        if answer is None:
            return None
        return AnswerRequest(
            query.text, prompt, permitted, retrieved, hits, sources=answer.sources, from_catalog=answer
        )

    async def _hits_before(self, query: Query, permitted: Permitted, hits: Sequence[Hit]) -> list[Hit]:
        retrieved = await self._retriever.retrieve(query, permitted)
        known = {hit.chunk_id for hit in hits}
        return [result.hit for result in retrieved.results if result.hit.chunk_id not in known]

    async def answer(self, request: AnswerRequest) -> Answer:
        """The whole answer. Raises a ModelError, DatabaseError."""
        if request.from_catalog is not None:
            return self._record_answer(request, request.from_catalog)
        if self._chat is None:
            return self._record_answer(request, await self._extract(request))
        if not request.hits:
            return self._record_answer(request, self._unanswered(request, None))
        (system, user), context_hits = await self._in_thread(partial(self._rendered, request))
        with stage("model"):
            completion = await self._chat.complete(system, user)
        return self._record_answer(request, await self._generated(request, context_hits, completion))

    async def stream(self, request: AnswerRequest) -> AsyncGenerator[Event]:
        """The same in pieces. When the consumer leaves, the model's request is ended."""
        if self._chat is None or not request.hits or request.from_catalog is not None:
            answer = await self.answer(request)
            yield answer.text
        else:
            async with aclosing(self._streamed(request, self._chat)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Answer):
                        answer = piece
                    else:
                        yield piece
        for citation in answer.citations:
            yield citation
        yield answer

    async def _streamed(self, request: AnswerRequest, chat: ChatModel) -> AsyncGenerator[str | Answer]:
        """Pieces of a generated answer, the whole last. What may become a refusal is held back until it is one or
        none: a refusal is replaced as a whole, and what was streamed once stays."""
        (system, user), context_hits = await self._in_thread(partial(self._rendered, request))
        completion = Completion("", chat.model)
        buffered, started = "", False
        with stage("model"):
            async with aclosing(chat.stream(system, user)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Completion):
                        completion = piece
                        continue
                    buffered += piece
                    if not may_become_refusal(request.prompt, buffered):
                        yield buffered
                        buffered, started = "", True
        answer = self._record_answer(request, await self._generated(request, context_hits, completion))
        if started and not answer.answered:
            answer = replace(answer, text=completion.text.strip())
        if rest := buffered if started or answer.answered else answer.text:
            yield rest
        yield answer

    async def perform(self, task: str, instructions: str) -> Answer:
        """What a chat program wants for itself, without retrieval. Raises a ModelError."""
        return await background_task(self._chat, task, instructions)

    def _rendered(self, request: AnswerRequest) -> tuple[tuple[str, str], list[Hit]]:
        """The prompt, and the chunks that are its context."""
        tokens = wordllama.local_model().tokens([hit.content for hit in request.hits])
        documents, context_hits = prompt_context.pack(
            request.hits, tokens, self._retriever.settings.chat.context_tokens
        )
        return request.prompt.render(question=request.question, context=documents), context_hits

    def _record_answer(self, request: AnswerRequest, answer: Answer) -> Answer:
        """The trace of a question tells of its answer too."""
        request.retrieved.trace.answer = {
            "mode": answer.mode,
            "answered": answer.answered,
            "model": answer.model,
            "prompt": f"{request.prompt.name} {request.prompt.version}"
            if answer.mode == "generated"
            else None,
            "cited": [citation.chunk_id for citation in answer.citations],
            "unverified": sum(not citation.verified for citation in answer.citations),
        }
        return answer

    async def _generated(
        self, request: AnswerRequest, context_hits: Sequence[Hit], completion: Completion
    ) -> Answer:
        text = completion.text.strip()
        claims = list(prompt_context.claims(text, len(context_hits)))
        if not text or is_refusal(request.prompt, text, cites=bool(claims)):
            return self._unanswered(request, completion)
        pool = self._retriever.pool
        read = partial(stored.read_code_blocks, hits=context_hits, permitted=request.permitted)
        code = await in_snapshot(pool, read)
        quotes = await self._in_thread(partial(supporting_quotes, claims, context_hits, code))
        citations = await checked_citations(pool, context_hits, quotes, request.permitted)
        return Answer(
            text,
            answered=True,
            mode="generated",
            citations=citations,
            sources=request.sources,
            model=completion.model,
            usage=usage_of(completion),
            finish_reason=completion.finish_reason,
            notes=ending_notes(completion),
        )

    def _unanswered(self, request: AnswerRequest, completion: Completion | None) -> Answer:
        mode: Literal["generated", "extractive"] = "extractive" if self._chat is None else "generated"
        model = completion.model if completion else self._chat.model if self._chat else None
        return Answer(
            NO_ANSWER,
            answered=False,
            mode=mode,
            sources=request.sources,
            model=model,
            usage=usage_of(completion) if completion else None,
            finish_reason=completion.finish_reason if completion else None,
            notes=() if completion is None or completion.text else ("the model answered with no text",),
        )

    async def _extract(self, request: AnswerRequest) -> Answer:
        passages = await read_evidence(
            self._retriever.pool, request.question, request.hits, request.permitted
        )
        threshold = self._retriever.settings.search.answer_threshold
        select = partial(select_quotes, request.question, passages, threshold)
        quotes, contradictory = await self._in_thread(select)
        if not quotes:
            return self._unanswered(request, None)
        citations = await checked_citations(self._retriever.pool, request.hits, quotes, request.permitted)
        return Answer(
            written(request.question, quotes, dated=request.hits if contradictory else ()),
            answered=True,
            mode="extractive",
            citations=citations,
            sources=request.sources,
            notes=(CONTRADICTORY,) if contradictory else (),
        )

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _sources(hits: Sequence[Hit]) -> list[AnswerSource]:
    """The documents, in the order of their best chunks."""
    best: dict[int, Hit] = {}
    for hit in hits:
        if hit.document_id not in best or hit.similarity > best[hit.document_id].similarity:
            best[hit.document_id] = hit
    return [
        AnswerSource(hit.document_id, display_title(hit.title, hit.path), hit.path, round(hit.similarity, 6))
        for hit in best.values()
    ]
