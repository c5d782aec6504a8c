-- name: read_generation
-- The active generation with its space.
select g.id, g.state, s.provider, s.model, s.dimensions, s.shortened, s.query_prefix, s.document_prefix, s.storage,
       g.ef_search
from generations g join spaces s on s.id = g.space_id
where g.state = 'active';

-- name: find_generation
-- A generation with its space, whatever its state.
select g.id, g.state, s.provider, s.model, s.dimensions, s.shortened, s.query_prefix, s.document_prefix, s.storage,
       g.ef_search
from generations g join spaces s on s.id = g.space_id
where g.id = :id;

-- name: begin_session
-- How far HNSW looks, for the whole session.
select set_config('hnsw.ef_search', :ef_search, false), set_config('hnsw.iterative_scan', :iterative, false);

-- name: limit_session
-- No statement of this session runs for longer; 0 is no limit.
select set_config('statement_timeout', :timeout, false);

-- name: begin_search
-- The same until the end of the transaction. Answers the active generation's id, to be compared with the one that
-- the question was embedded for.
select set_config('hnsw.ef_search', :ef_search, true), set_config('hnsw.iterative_scan', :iterative, true),
       (select id from generations where state = 'active');

-- name: search_vectors
-- The chunks nearest to a vector. The innermost query is the only form that HNSW serves: ascending, with a limit,
-- ordered by what the storage's index is over; of what it finds, the nearest by the vectors themselves. The limits are
-- part of the text, so that the plan that PostgreSQL keeps is made for them. Each row tells the active generation and
-- the settings that were in force. Only for those who may see every collection: others get nothing.
select c.id, c.document_id, k.name, s.name, d.path, d.title, c.content, c.heading, c.page, c.start_at, c.end_at,
       d.metadata, 1 - n.distance as similarity, (select id from generations where state = 'active'),
       current_setting('hnsw.ef_search', true) || ' ' || current_setting('hnsw.iterative_scan', true)
from (select chunk_id, distance
      from (select chunk_id, embedding <=> :vector::{type} as distance
            from {vectors}
            order by {nearest}
            limit {{scan}}) s
      order by distance, chunk_id
      limit {{limit}}) n
join chunks c on c.id = n.chunk_id
join documents d on d.id = c.document_id
join sources s on s.id = d.source_id
join collections k on k.id = d.collection_id
where :permitted::integer[] is null
order by n.distance, c.id;

-- name: rank_vectors
-- Chunk ids by their similarity, the nearest first. Only for those who may see every collection.
select chunk_id, 1 - distance
from (select chunk_id, embedding <=> :vector::{type} as distance
      from {vectors}
      order by {nearest}
      limit {{scan}}) n
where :permitted::integer[] is null
order by distance, chunk_id
limit {{limit}};

-- name: rank_vectors_near
-- Of as many of the nearest chunks as the limit says, those in the collections that match.
select v.chunk_id, 1 - v.distance
from (select chunk_id, collection_id, embedding <=> :vector::{type} as distance
      from {vectors}
      order by {nearest}
      limit {{limit}}) v
where (:permitted::integer[] is null or v.collection_id = any(:permitted::integer[])) and {{matches}}
order by v.distance, v.chunk_id;

-- name: rank_vectors_within
-- The nearest of those that match, the index being scanned on until there are enough. May be short, and the farther
-- the scan has to go, the more it misses.
select chunk_id, 1 - distance
from (select v.chunk_id, v.embedding <=> :vector::{type} as distance
      from {vectors} v
      where (:permitted::integer[] is null or v.collection_id = any(:permitted::integer[])) and {{matches}}
      order by {nearest}
      limit {{scan}}) n
order by distance, chunk_id
limit {{limit}};

-- name: rank_vectors_exact
-- The same with every vector compared. A statement of its own: a prepared one keeps its plan when the
-- settings change, and the added zero keeps the index out of this one.
select v.chunk_id, 1 - (v.embedding <=> :vector::{type})
from {vectors} v
where :permitted::integer[] is null or v.collection_id = any(:permitted::integer[])
order by (v.embedding <=> :vector::{type}) + 0, v.chunk_id
limit {{limit}};

-- name: rank_vectors_exact_matching
-- The same of documents that match. Joins: with the documents in a subquery of their own PostgreSQL took 248 ms over
-- 50,000 of 100,000 chunks instead of 141.
select v.chunk_id, 1 - (v.embedding <=> :vector::{type})
from documents d
left join sources s on s.id = d.source_id
join chunks c on c.document_id = d.id
join {vectors} v on v.chunk_id = c.id
where (:permitted::integer[] is null or v.collection_id = any(:permitted::integer[])) and {{matches}}
order by (v.embedding <=> :vector::{type}) + 0, v.chunk_id
limit {{limit}};

-- name: rank_words
-- Chunk ids by the words of the question. Its words are alternatives, each worth its rank in the chunk (1: divided
-- by 1 + log of the length) times its rarity, idf = ln(1 + (N - n + 0.5) / (n + 0.5)) (Robertson, Sparck Jones).
-- Only chunks with its rarest words are ranked, as many words as make up to 5,000 chunks together: over 91,000 chunks
-- p50 29 ms instead of 176 ms, with 94% of the same first ten. While they make less than the limit, more are taken.
-- Words are counted over all documents: where a filter then leaves too few chunks, it is asked again with all words.
with words as materialized (
    select lexeme, quote_literal(lexeme)::tsquery as word,
           (select count(*) from chunks c
            where c.lexemes @@ quote_literal(lexeme)::tsquery
              and (:permitted::integer[] is null or c.collection_id = any(:permitted::integer[]))) as n
    from unnest(to_tsvector(:language::regconfig, :query))
), corpus as (
    select case when reltuples < 0 then (select count(*) from chunks) else reltuples end as size
    from pg_class where oid = 'chunks'::regclass
), weights as (
    select word, n, ln(1 + (greatest((select size from corpus), max(n) over ()) - n + 0.5) / (n + 0.5)) as idf,
           sum(n) over (order by n, lexeme) - n as before
    from words where n > 0
), candidates as (
    select distinct c.id
    from weights w join chunks c on c.lexemes @@ w.word
    where (w.before < {{limit}} or w.before + w.n <= 5000 or :all_words)
      and (:permitted::integer[] is null or c.collection_id = any(:permitted::integer[])) and {{matches}}
)
select c.id, sum(ts_rank(c.lexemes, w.word, 1) * w.idf) as score
from candidates
join chunks c using (id)
cross join weights w
group by c.id
order by score desc, c.id
limit {{limit}};

-- name: get_hits
-- What an answer shows of chunks, with their similarity to a vector; a chunk without a vector has none.
select c.id, c.document_id, k.name, s.name, d.path, d.title, c.content, c.heading, c.page, c.start_at, c.end_at,
       d.metadata, coalesce(nullif(1 - (v.embedding <=> :vector::{type}), 'NaN'), 0) as similarity
from chunks c
join documents d on d.id = c.document_id
join sources s on s.id = d.source_id
join collections k on k.id = d.collection_id
left join {vectors} v on v.chunk_id = c.id
where c.id = any(:ids::bigint[])
  and (:permitted::integer[] is null or c.collection_id = any(:permitted::integer[]));

-- name: read_lexemes
-- The words of texts, stemmed and without stop words, in the texts' order.
select tsvector_to_array(to_tsvector(:language::regconfig, t.body))
from unnest(:texts::text[]) with ordinality as t (body, place)
order by t.place;

-- name: word_rarities
-- Each word of a question with its idf = ln(1 + (N - n + 0.5) / (n + 0.5)).
with words as materialized (
    select lexeme,
           (select count(*) from chunks c
            where c.lexemes @@ quote_literal(lexeme)::tsquery
              and (:permitted::integer[] is null or c.collection_id = any(:permitted::integer[]))) as n
    from unnest(to_tsvector(:language::regconfig, :query))
)
select lexeme, ln(1 + (greatest(size, max(n) over ()) - n + 0.5) / (n + 0.5))
from words,
     (select case when reltuples < 0 then (select count(*) from chunks) else reltuples end as size
      from pg_class where oid = 'chunks'::regclass) corpus;

-- name: check_quotes
-- Whether each quote stands in its document's stored text at the offsets given, in the quotes' order.
select coalesce(substr(d.text, q.start_at + 1, q.end_at - q.start_at) = q.quote, false)
from unnest(:document_ids::bigint[], :starts::integer[], :ends::integer[], :quotes::text[]) with ordinality
     as q (document_id, start_at, end_at, quote, place)
left join documents d
       on d.id = q.document_id
      and (:permitted::integer[] is null or d.collection_id = any(:permitted::integer[]))
order by q.place;

-- name: chunks_in_code
-- Chunks before which a Markdown code fence stands open.
select c.id
from chunks c join documents d on d.id = c.document_id
where c.id = any(:ids::bigint[])
  and (:permitted::integer[] is null or c.collection_id = any(:permitted::integer[]))
  and mod((select count(*) from regexp_matches(left(d.text, c.start_at), '^[ \t]*(```|~~~)', 'gn')), 2) = 1;
