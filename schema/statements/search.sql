-- name: search_vectors
-- The chunks nearest to a vector. The inner query is the only form that HNSW serves: ascending, with a limit.
select c.id, c.document_id, k.name, s.name, d.path, d.title, c.content, c.heading, c.page, c.start_at, c.end_at,
       d.metadata, 1 - n.distance as similarity
from (select chunk_id, embedding <=> :query::halfvec as distance
      from {vectors}
      order by embedding <=> :query::halfvec
      limit :limit) n
join chunks c on c.id = n.chunk_id
join documents d on d.id = c.document_id
join sources s on s.id = d.source_id
join collections k on k.id = d.collection_id
order by n.distance, c.id;

-- name: search_vectors_filtered
-- The same within collections.
select c.id, c.document_id, k.name, s.name, d.path, d.title, c.content, c.heading, c.page, c.start_at, c.end_at,
       d.metadata, 1 - n.distance as similarity
from (select chunk_id, embedding <=> :query::halfvec as distance
      from {vectors}
      where collection_id = any(:collections)
      order by embedding <=> :query::halfvec
      limit :limit) n
join chunks c on c.id = n.chunk_id
join documents d on d.id = c.document_id
join sources s on s.id = d.source_id
join collections k on k.id = d.collection_id
order by n.distance, c.id;

-- name: search_vectors_exact
-- The same with every vector compared. A statement of its own: a prepared one keeps its plan when the settings
-- change, and the added zero keeps the index out of this one.
select c.id, c.document_id, k.name, s.name, d.path, d.title, c.content, c.heading, c.page, c.start_at, c.end_at,
       d.metadata, 1 - n.distance as similarity
from (select chunk_id, embedding <=> :query::halfvec as distance
      from {vectors}
      where :collections::integer[] is null or collection_id = any(:collections)
      order by (embedding <=> :query::halfvec) + 0
      limit :limit) n
join chunks c on c.id = n.chunk_id
join documents d on d.id = c.document_id
join sources s on s.id = d.source_id
join collections k on k.id = d.collection_id
order by n.distance, c.id;

-- name: search_lexemes
-- Chunks that have words of the question. Its words are alternatives, each worth its rank in the chunk (1: divided
-- by 1 + log of the length) times its rarity, idf = ln(1 + (N - n + 0.5) / (n + 0.5)) (Robertson, Sparck Jones).
-- N is the planner's count of chunks; words in more than a fifth of a large corpus add time and no order.
with words as (
    select distinct quote_literal(lexeme)::tsquery as word
    from unnest(to_tsvector(:language::regconfig, :query))
), matches as (
    select w.word, c.id, ts_rank(c.lexemes, w.word, 1) as rank
    from words w join chunks c on c.lexemes @@ w.word
    where :collections::integer[] is null or c.collection_id = any(:collections)
), weights as (
    select word, ln(1 + ((select greatest(reltuples, 1) from pg_class where oid = 'chunks'::regclass)
                         + 0.5) / (count(*) + 0.5)) as idf
    from matches group by word
), best as (
    select m.id, sum(m.rank * w.idf) as rank
    from matches m join weights w using (word)
    group by m.id
    order by rank desc, m.id
    limit :limit
)
select c.id, c.document_id, k.name, s.name, d.path, d.title, c.content, c.heading, c.page, c.start_at, c.end_at,
       d.metadata, 1 - (v.embedding <=> :vector::halfvec) as similarity, b.rank
from best b
join chunks c on c.id = b.id
join documents d on d.id = c.document_id
join sources s on s.id = d.source_id
join collections k on k.id = d.collection_id
left join {vectors} v on v.chunk_id = c.id
order by b.rank desc, c.id;
