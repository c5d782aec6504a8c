"""Breaks the code as a hasty colleague would, and tells whether the tests notice.

`python -m tests.faults.mutants` takes some minutes. Each mutant does one thing that goes wrong elsewhere to a copy of
the work tree; `caught` means that each of its tests fails there as expected, and not by a slip of the mutant's own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDERS: Final = (".src", "config", "flows", "query_api", "schema", "tests")
TEST_TIMEOUT: Final = 120
RUN_TIMEOUT: Final = 900

BEGIN: Final = """
import pathlib, sys, pytest
import pgfolio.config, pgfolio.flows, pgfolio.query_api, pgfolio.schema
strangers = [m.__file__ for m in (pgfolio.config, pgfolio.flows, pgfolio.query_api, pgfolio.schema)
             if pathlib.Path.cwd() not in pathlib.Path(m.__file__).resolve().parents]
sys.exit(f"not of the copy: {strangers}" if strangers else pytest.main(sys.argv[1:]))
"""
"""The project may be installed in editable form: the copy must win."""

ASSERTION: Final = "assert"
SYNC = "tests/flows/ingest/test_sync.py::test_"
DELETION = "tests/flows/ingest/test_deletion.py::test_"
MODELS = "tests/flows/ingest/test_model_servers.py::test_"
FAULT_SCENARIO = "tests/flows/ingest/test_fault_scenarios.py::test_a_fault_scenario_has_its_outcome"
SEARCH = "tests/query_api/retrieval/test_search.py::test_"
ELSEWHERE = "tests/faults/test_elsewhere.py::test_"

LINES: Final = {
    "unseen": "A file that cannot be read just now, or a folder that is not mounted, is treated as deleted.",
    "touched": "A rename or a touched mtime re-embeds everything.",
    "cache": "An embedding cache keyed by text alone gives the old model's vectors after a switch.",
    "swallowed": "A failed batch is swallowed and the document marked done; a 3% complete index, and success.",
    "unparsable": "One document that cannot be parsed blocks all others, for ever.",
    "transaction": "A transaction stays open across the embedding call.",
    "429": "429 counted as failure, retried items no longer batched. A spent quota retried for ever.",
    "outside": "A file named by a client writes outside its folder.",
    "unused": "ef_search never used; a GIN index that no query uses; a wrong operator class.",
    "too early": "Old vectors deleted before the new ones are safely in; hash recorded before success.",
    "nul": "NUL characters in extracted text break the insert.",
    "too few": "One vector too few, and chunks are missing. Two texts refused, and 505 documents never get done.",
    "filter": "A filter returns one row where fifty match.",
    "identical": "Identical files in two places: one of them lost because documents were keyed by hash.",
}
"""What goes wrong elsewhere."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """`old` stands exactly once in `file`. Each of `tests` must fail, in one of its cases at least, by an assertion
    or by the exception `fails_by`."""

    name: str
    line: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    fails_by: str = ASSERTION


MUTANTS: Final = (
    Mutant(
        "a folder that cannot be listed is empty",
        "unseen",
        "flows/discovery/walk.py",
        'self.unknown_folder(prefix, f"folder cannot be listed: {explanation(error)}")',
        "continue",
        ("tests/flows/discovery/test_crawl.py::test_a_folder_that_may_not_be_listed_is_unknown_not_empty",),
    ),
    Mutant(
        "a path that cannot be looked at is gone",
        "unseen",
        "flows/discovery/crawl.py",
        'except OSError:\n        return "unknown"',
        'except OSError:\n        return "gone"',
        (DELETION + "a_folder_without_permission_keeps_its_documents",),
    ),
    Mutant(
        "what was on a disk that is gone is gone",
        "unseen",
        "flows/discovery/plan.py",
        "unmounted=_unmounted(crawl, ledger, missing),",
        "unmounted=frozenset(),",
        (ELSEWHERE + "documents_on_a_filesystem_that_is_nowhere_to_be_seen_are_kept",),
    ),
    Mutant(
        "an empty folder is believed",
        "unseen",
        "flows/discovery/plan.py",
        "emptied=not crawl.files and bool(ledger),",
        "emptied=False,",
        (SYNC + "a_source_that_is_suddenly_empty_loses_nothing_until_approved",),
    ),
    Mutant(
        "a document goes when its file cannot be read",
        "unseen",
        "flows/ingest/store.py",
        "        for item in (*ready.batch.failed, *ready.failed):\n",
        "        for item in (*ready.batch.failed, *ready.failed):\n"
        "            ledger.remove(connection, source, [item.work_item.entry.path])\n",
        (
            ELSEWHERE + "what_may_not_be_read_just_now_keeps_its_last_version[file]",
            ELSEWHERE + "a_document_that_can_no_longer_be_parsed_keeps_its_last_version",
        ),
    ),
    Mutant(
        "a file is what it was only if its stat is",
        "touched",
        "flows/ingest/prepare.py",
        "        and known.content_hash == content_hash\n",
        "        and known.signature == signature\n",
        (SYNC + "touching_every_file_embeds_nothing",),
    ),
    Mutant(
        "a rename is a removal and an addition",
        "touched",
        "flows/discovery/plan.py",
        "moved = _moves(comparison, hashes)",
        "moved: tuple[KnownFile, ...] = ()",
        (
            SYNC + "a_renamed_file_is_moved_and_embeds_nothing",
            SYNC + "a_moved_folder_embeds_nothing_and_keeps_the_ids",
        ),
    ),
    Mutant(
        "nothing that is stored is used again",
        "touched",
        "flows/ingest/vectors.py",
        "dict(self._stored(connection, texts))",
        "{}",
        (SYNC + "files_that_swap_their_names_keep_their_texts_apart",),
    ),
    Mutant(
        "kept vectors are looked up by text alone",
        "cache",
        "schema/statements/vectors/reuse.sql",
        "k.hash = any(:hashes) and k.space_id = (select space_id from generations where id = :generation)) supply",
        "k.hash = any(:hashes)) supply",
        (ELSEWHERE + "after_a_switch_of_models_a_text_gets_the_new_models_vector",),
    ),
    Mutant(
        "a batch that fails is passed over",
        "swallowed",
        "flows/ingest/vectors.py",
        "            return self._ready(connection, batch, texts)\n",
        "            try:\n"
        "                return self._ready(connection, batch, texts)\n"
        "            except Exception:\n"
        "                return store.Ready(type(batch)())\n",
        (
            MODELS + "a_server_that_stays_down_fails_the_run_and_the_next_one_goes_on",
            ELSEWHERE + "a_change_that_cannot_be_embedded_leaves_the_last_version_and_is_taken_later",
        ),
    ),
    Mutant(
        "a document is stored without the chunks that failed",
        "swallowed",
        "flows/ingest/vectors.py",
        "            ready.failed.append(_rejected(item, rejected))\n",
        "            kept = [chunk for chunk in item.chunks if not isinstance(answers[chunk.hash], RejectedInput)]\n"
        "            item = type(item)(item.work_item, item.document, kept)\n"
        "            ready.storables.append(store.storable(item, [answers[chunk.hash] for chunk in kept]))\n",
        (
            MODELS + "one_rejected_text_fails_its_document_alone",
            ELSEWHERE + "of_thirty_documents_one_is_stored_and_the_run_does_not_say_complete",
        ),
    ),
    Mutant(
        "documents that failed are counted and not told",
        "swallowed",
        "flows/ingest/accounting.py",
        "        report.problem(Problem(item.work_item.entry.path, item.stage, item.reason))\n",
        "",
        (ELSEWHERE + "of_thirty_documents_one_is_stored_and_the_run_does_not_say_complete",),
    ),
    Mutant(
        "a document that cannot be parsed ends the run",
        "unparsable",
        "flows/ingest/prepare.py",
        '        return _failed(work_item, content.signature, content_hash, "extract", error)\n',
        '        raise RuntimeError(f"{work_item.entry.path}: {error}") from error\n',
        (SYNC + "a_file_that_cannot_be_read_is_listed_and_stops_no_other",),
        fails_by="FailedError",
    ),
    Mutant(
        "a parser that crashes ends the run",
        "unparsable",
        "flows/extraction/worker.py",
        "raise Fatality(limits.cause_of_death(error.exitcode, memory)) from error\n",
        "raise\n",
        ("tests/flows/extraction/test_worker.py::test_a_parser_that_crashes_fails_its_file_alone",),
        fails_by="FailedError",
    ),
    Mutant(
        "a first sync asks for the model's dimensions in a transaction",
        "transaction",
        "flows/run/context.py",
        "generation = generations.active_generation(connection)\n        connection.commit()\n"
        "        if generation is",
        "generation = generations.active_generation(connection)\n        if generation is",
        (
            ELSEWHERE
            + "no_transaction_is_open_while_the_model_server_is_waited_for[first_sync_with_an_unknown_model]",
        ),
    ),
    Mutant(
        "a sync embeds in the transaction that it read in",
        "transaction",
        "flows/index/maintenance.py",
        "    connection.commit()\n    return load\n",
        "    return load\n",
        (ELSEWHERE + "no_transaction_is_open_while_the_model_server_is_waited_for[sync_of_a_change]",),
    ),
    Mutant(
        "the lookup of stored vectors leaves its transaction open",
        "transaction",
        "schema/database/per_thread.py",
        "connect(self._conninfo, autocommit=True)",
        "connect(self._conninfo)",
        (ELSEWHERE + "no_transaction_is_open_while_the_model_server_is_waited_for[sync_of_a_change]",),
    ),
    Mutant(
        "a move to another space embeds in the transaction that it read in",
        "transaction",
        "flows/reembedding/backfill.py",
        "texts = missing.count_texts_without_vector(connection, self._generation)\n        connection.commit()\n",
        "texts = missing.count_texts_without_vector(connection, self._generation)\n",
        (ELSEWHERE + "no_transaction_is_open_while_the_model_server_is_waited_for[move_to_another_space]",),
    ),
    Mutant(
        "a repair embeds in the transaction that it read in",
        "transaction",
        "flows/reembedding/backfill.py",
        "texts = missing.count_texts_without_vector(connection, self._generation)\n        connection.commit()\n",
        "texts = missing.count_texts_without_vector(connection, self._generation)\n",
        (ELSEWHERE + "no_transaction_is_open_while_the_model_server_is_waited_for[repair_of_a_lost_vector]",),
    ),
    Mutant(
        "a question is embedded in the snapshot that it is answered from",
        "transaction",
        "query_api/retrieval/retriever.py",
        '            with timings.stage("embed"):\n'
        "                embedding = await self._embed_query(active, meant, trace)\n"
        "            trace.generation = generation = active.generation\n"
        "            search = CandidateSearch(\n"
        "                settings=self.settings,\n"
        "                generation=generation,\n"
        "                embedding=embedding,\n"
        "                query=meant,\n"
        "                permitted=permitted,\n"
        "                candidate_count=self._candidate_count(query),\n"
        "                trace=trace,\n"
        "            )\n",
        "            trace.generation = generation = active.generation\n"
        "            make = partial(CandidateSearch, settings=self.settings, generation=generation, query=meant,\n"
        "                           permitted=permitted, candidate_count=self._candidate_count(query), trace=trace)\n"
        "            embed = partial(self._embed_query, active, meant, trace)\n\n"
        "            async def run(connection: AsyncConnection, make: Any = make, embed: Any = embed) -> Ranking:\n"
        '                await connection.execute("select 1")\n'
        "                return await make(embedding=await embed()).run(connection)\n\n"
        '            search = type("Late", (), {"run": staticmethod(run), "query": meant, "trace": trace,\n'
        '                                       "generation": generation, "permitted": permitted})()\n',
        (ELSEWHERE + "no_transaction_is_open_while_the_model_server_is_waited_for[question]",),
    ),
    Mutant(
        "a 429 is a refusal, and its batch is taken apart",
        "429",
        "config/models/failures.py",
        "    limits = rate_limits(error.response.headers, rejected=True)\n",
        '    return RejectedInputError(f"{what}: rate limit (429): {said}")\n',
        (
            FAULT_SCENARIO + "[429 with Retry-After, three times]",
            FAULT_SCENARIO + "[429 without headers, three times]",
        ),
    ),
    Mutant(
        "a 429 uses up the deadline",
        "429",
        "flows/embedding/retry.py",
        "            waited = now - max(self._limited_since, self._health.succeeded_at)\n",
        "            waited = now - self._limited_since\n",
        (
            "tests/flows/embedding/test_embedder.py::test_a_rate_limit_does_not_use_up_the_deadline_while_others_succeed",
        ),
    ),
    Mutant(
        "a spent quota is a limit that passes",
        "429",
        "config/models/failures.py",
        "    if error.code in QUOTA_CODES or error.type in QUOTA_CODES:\n",
        "    if error.status_code == 402:\n",
        (FAULT_SCENARIO + "[quota spent]",),
    ),
    Mutant(
        "a client names the path of its document",
        "outside",
        "schema/statements/operations/push_inbox.sql",
        "select r.id, s.id, r.id::text || :suffix, :title",
        "select r.id, s.id, r.id::text || '/' || :name || :suffix, :title",
        (ELSEWHERE + "a_name_that_a_client_gives_is_a_label_and_never_a_path[../../outside.md]",),
    ),
    Mutant(
        "what is pushed is read from a file of its name",
        "outside",
        "flows/discovery/reader.py",
        "return Content(push.content, push.signature",
        "from pathlib import Path\n\n"
        "    file = Path('../..', push.name)\n"
        "    data = file.read_bytes() if file.is_file() else push.content\n"
        "    return Content(data, push.signature",
        (ELSEWHERE + "a_name_that_a_client_gives_is_a_label_and_never_a_path[../../outside.md]",),
    ),
    Mutant(
        "what is pushed is kept as a file of its name as well",
        "outside",
        "query_api/service/uploads.py",
        "    push = push_inbox.Push(\n",
        "    from pathlib import Path\n\n    Path(name).write_bytes(content)\n    push = push_inbox.Push(\n",
        (ELSEWHERE + "a_name_that_a_client_gives_is_a_label_and_never_a_path[../../outside.md]",),
    ),
    Mutant(
        "a request's ef_search is not passed on",
        "unused",
        "query_api/retrieval/parameters.py",
        "return self.query.ef_search or self.generation.ef_search",
        "return self.generation.ef_search",
        (
            ELSEWHERE + "a_higher_ef_search_finds_more_of_the_nearest[None]",
            ELSEWHERE + "a_higher_ef_search_finds_more_of_the_nearest[collections1]",
        ),
    ),
    Mutant(
        "a connection keeps the ef_search that it began with",
        "unused",
        "schema/search/vector.py",
        'if not rows or rows[0][-1] != f"{effective} {ITERATIVE}":',
        "if not rows:",
        (SEARCH + "a_session_that_was_set_by_another_is_noticed",),
    ),
    Mutant(
        "each question walks the index twice where it looks farther than the settings say",
        "unused",
        "schema/search/vector.py",
        "if SESSION_EF_SEARCH.get(connection) == effective:",
        "if effective:",
        (SEARCH + "whatever_ef_search_is_a_question_walks_the_index_once",),
    ),
    Mutant(
        "a filtered search looks no farther than its limit",
        "unused",
        "query_api/retrieval/vector_search.py",
        "scan_limit = stored.effective_ef_search(k, ef_search)",
        "ef_search = scan_limit = k",
        (ELSEWHERE + "a_higher_ef_search_finds_more_of_the_nearest[collections1]",),
    ),
    Mutant(
        "the index of words is built on another expression",
        "unused",
        "schema/migrations/0007_words.sql",
        "create index chunks_lexemes on chunks using gin (lexemes);",
        "create index chunks_lexemes on chunks using gin (to_tsvector('english', content));",
        (ELSEWHERE + "the_search_by_words_goes_through_the_index_of_lexemes",),
    ),
    Mutant(
        "the words are looked for in an expression without index",
        "unused",
        "schema/statements/search/lexical.sql",
        "cross join terms t join chunks c on c.lexemes @@ t.word",
        "cross join terms t join chunks c on to_tsvector(c.language, c.content) @@ t.word",
        (ELSEWHERE + "the_search_by_words_goes_through_the_index_of_lexemes[rank_words-3]",),
    ),
    Mutant(
        "the index is built for another distance",
        "unused",
        "schema/vectors/storage.py",
        '"halfvec_cosine_ops",',
        '"halfvec_l2_ops",',
        (ELSEWHERE + "the_search_by_vectors_goes_through_the_half_precision_index",),
    ),
    Mutant(
        "the index is built for full precision",
        "unused",
        "schema/statements/vectors/hnsw.sql",
        "using hnsw ({indexed})",
        "using hnsw ((embedding::vector({dimensions})) vector_cosine_ops)",
        (ELSEWHERE + "the_search_by_vectors_goes_through_the_half_precision_index",),
    ),
    Mutant(
        "the nearest are sorted by similarity",
        "unused",
        "schema/vectors/storage.py",
        '"embedding <=> %(vector)s::halfvec",',
        '"1 - (embedding <=> %(vector)s::halfvec) desc",',
        (ELSEWHERE + "the_search_by_vectors_goes_through_the_half_precision_index[search_vectors]",),
    ),
    Mutant(
        "each statement of a document's change is committed by itself",
        "too early",
        "flows/ingest/store.py",
        "    with connection.transaction():\n        sources.prove_owner(connection, source)\n        if source.kind",
        "    if True:\n        sources.prove_owner(connection, source)\n        if source.kind",
        (ELSEWHERE + "a_change_that_cannot_be_stored_leaves_the_last_version_whole",),
    ),
    Mutant(
        "the old chunks make room before the new ones are embedded",
        "too early",
        "flows/ingest/pipeline.py",
        "            for together in _apart(work_items, survey.unfinished):\n",
        "            changed = [item.known.document_id for item in work_items if item.known]\n"
        '            connection.execute("delete from chunks where document_id = any(%s)", [changed])\n'
        "            connection.commit()\n"
        "            for together in _apart(work_items, survey.unfinished):\n",
        (ELSEWHERE + "a_change_that_cannot_be_embedded_leaves_the_last_version_and_is_taken_later",),
    ),
    Mutant(
        "the ledger learns of a change before it is embedded",
        "too early",
        "flows/ingest/pipeline.py",
        "            for together in _apart(work_items, survey.unfinished):\n",
        "            seen = [(file.entry.path, file.entry.signature) for file in survey.plan.changed]\n"
        "            ledger.touch(connection, source, seen)\n"
        "            connection.commit()\n"
        "            for together in _apart(work_items, survey.unfinished):\n",
        (ELSEWHERE + "a_change_that_cannot_be_embedded_leaves_the_last_version_and_is_taken_later",),
    ),
    Mutant(
        "a space is switched to that lacks vectors",
        "too early",
        "flows/reembedding/run.py",
        "        if missing and not self._force:\n",
        "        if not missing and not self._force and missing:\n",
        (ELSEWHERE + "a_space_that_lacks_one_vector_does_not_take_the_old_ones_place",),
    ),
    Mutant(
        "NUL stays in a text",
        "nul",
        "flows/extraction/decode.py",
        r'_UNWANTED = re.compile(r"[\x00\ud800-\udfff]")',
        r'_UNWANTED = re.compile(r"[\ud800-\udfff]")',
        (ELSEWHERE + "nul_characters_in_any_kind_of_file_do_no_harm",),
    ),
    Mutant(
        "NUL stays in metadata",
        "nul",
        "flows/extraction/metadata.py",
        "case str():\n            return clean(value)",
        "case str():\n            return value",
        (ELSEWHERE + "nul_characters_in_any_kind_of_file_do_no_harm",),
    ),
    Mutant(
        "nobody counts the vectors of an answer",
        "too few",
        "config/models/embedding_answer.py",
        "    if len(rows) != inputs or not isinstance(data, list) or len(data) != inputs:\n",
        "    inputs = len(rows)\n    if not isinstance(data, list):\n",
        (FAULT_SCENARIO + "[one vector too few, twice]",),
    ),
    Mutant(
        "a missing vector is made up for by the last one",
        "too few",
        "config/models/embedding_answer.py",
        "    if len(rows) != inputs or not isinstance(data, list) or len(data) != inputs:\n"
        '        count = len(data) if isinstance(data, list) else "no"\n'
        '        raise BadAnswerError(f"{model!r} answered {count} vectors to {inputs} inputs", tokens)\n'
        '    places = [row.get("index") for row in rows]\n',
        "    rows += rows[-1:] * (inputs - len(rows))\n    places: list[Any] = [None] * inputs\n",
        (ELSEWHERE + "no_text_is_given_the_vector_of_another_one_when_one_is_missing",),
    ),
    Mutant(
        "a batch is refused with the one text that is",
        "too few",
        "flows/embedding/embedder.py",
        "        if len(batch.positions) > 1:\n",
        "        if not batch.positions:\n",
        (
            ELSEWHERE + "of_505_documents_two_texts_that_are_refused_cost_their_own_documents_only",
            FAULT_SCENARIO + "[one poisonous text in a batch of 256 (400)]",
        ),
    ),
    Mutant(
        "a filtered search ends where the index gives up",
        "filter",
        "query_api/retrieval/vector_search.py",
        "    if len(candidates) < k:\n"
        "        exact = await stored.rank_exact(connection, generation, vector, k, scope)\n"
        '        return exact, f"{EXACT}: {how} only"\n',
        "",
        (ELSEWHERE + "fifty_of_a_small_collection_are_found_where_the_index_gives_up_early",),
    ),
    Mutant(
        "documents are keyed by their hash",
        "identical",
        "flows/ingest/store.py",
        "documents.store(connection, source, generation, ready.storables, processing_fingerprint)",
        "documents.store(connection, source, generation,\n"
        "                            list({s.document.content_hash: s for s in ready.storables}.values()),\n"
        "                            processing_fingerprint)",
        (ELSEWHERE + "identical_files_of_one_first_sync_are_documents_of_their_own",),
    ),
    Mutant(
        "a moved document is found by its hash alone",
        "identical",
        "schema/statements/corpus/ledger.sql",
        "where d.source_id = :source_id and d.path = t.path;",
        "where d.content_hash = (select o.content_hash from documents o\n"
        "                        where o.source_id = :source_id and o.path = t.path);",
        (ELSEWHERE + "a_copy_that_moves_takes_the_place_of_itself_only",),
    ),
)


class StaleError(Exception):
    """The code was changed since the mutant was written."""


@contextmanager
def copied(mutant: Mutant | None = None) -> Iterator[Path]:
    """The packages in a temporary folder, with the mutant's change. Users other than root can read it, as some tests
    need."""
    with tempfile.TemporaryDirectory(prefix="pgfolio-mutant-") as folder:
        copy = Path(folder)
        copy.chmod(0o755)
        for name in FOLDERS:
            ignored = shutil.ignore_patterns("__pycache__", ".*")
            shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignored)
        shutil.copy(ROOT / "pyproject.toml", copy)
        if mutant:
            file = copy / mutant.file
            text = file.read_text()
            if text.count(mutant.old) != 1:
                raise StaleError(f"what it breaks stands {text.count(mutant.old)} times in {mutant.file}")
            file.write_text(text.replace(mutant.old, mutant.new))
        yield copy


def outcomes(copy: Path, tests: Sequence[str]) -> dict[str, str]:
    """The tests' cases, each with the first line of how it failed ("error: ..." where that was outside of the test
    itself, "skipped: ..."), or an empty text where it passed."""
    result = copy / "result.xml"
    options = ["-q", "-p", "no:cacheprovider", f"--timeout={TEST_TIMEOUT}", f"--junitxml={result}"]
    done = subprocess.run(
        [sys.executable, "-c", BEGIN, *options, *dict.fromkeys(tests)],
        cwd=copy,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(copy), str(copy / ".src"))),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT,
        check=False,
    )
    if not result.exists() or done.returncode not in (0, 1):
        raise RuntimeError(f"the tests did not run: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    found: dict[str, str] = {}
    for case in ET.parse(result).iter("testcase"):  # noqa: S314 -- written by our own run
        name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
        found[name] = ""
        for child in case:
            said = (child.get("message") or "").strip().splitlines() or [""]
            if child.tag == "failure":
                found[name] = said[0] or "failed"
            elif child.tag in ("error", "skipped"):
                found[name] = f"{child.tag}: {said[0]}"
    return found


def verdict(mutant: Mutant, found: dict[str, str]) -> str:
    """`caught`, or what is wrong. Some of a test's cases may pass."""
    for test in mutant.tests:
        said = [message for case, message in found.items() if case == test or case.startswith(f"{test}[")]
        if not said:
            return f"NOT RUN: {test}"
        if not any(said):
            return f"SURVIVED: {test} passes"
        strange = [message for message in said if message and not as_expected(mutant, message)]
        if strange:
            return f"FAILED OTHERWISE: {strange[0]}"
    return "caught"


def as_expected(mutant: Mutant, message: str) -> bool:
    if mutant.fails_by == ASSERTION:
        return message.startswith(("assert ", "AssertionError", "Failed: DID NOT RAISE"))
    return message.split(":", maxsplit=1)[0].rpartition(".")[2] == mutant.fails_by


def run(chosen: Sequence[Mutant]) -> bool:
    """Print a line for each; True when all are caught. The tests must pass as the code is."""
    with copied() as copy:
        tests = sorted({test for mutant in chosen for test in mutant.tests})
        broken = {case: said for case, said in outcomes(copy, tests).items() if said}
    for case, said in broken.items():
        print(f"does not pass as the code is: {case}: {said}")
    if broken:
        return False
    print(f"{len(tests)} tests pass as the code is\n", flush=True)
    caught = 0
    for mutant in chosen:
        began = time.monotonic()
        try:
            with copied(mutant) as copy:
                said = verdict(mutant, outcomes(copy, mutant.tests))
        except StaleError as error:
            said = f"STALE: {error}"
        caught += said == "caught"
        print(f"{time.monotonic() - began:6.1f} s  {mutant.line:<12}{mutant.name:<70} {said}", flush=True)
    print(f"\n{caught} of {len(chosen)} caught")
    return caught == len(chosen)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="NAME", help="mutants of this line, or with this in their name")
    parser.add_argument("--list", action="store_true", help="show them and do nothing")
    arguments = parser.parse_args()
    wanted = arguments.only or ""
    chosen = [mutant for mutant in MUTANTS if wanted in mutant.name or wanted == mutant.line]
    if arguments.list:
        for mutant in chosen:
            print(
                f"{LINES[mutant.line]}\n  {mutant.name} ({mutant.file})\n    " + "\n    ".join(mutant.tests)
            )
        return 0
    if not chosen:
        parser.error(f"no mutant is called {wanted!r}")
    return 0 if run(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
