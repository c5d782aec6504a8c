-- name: collection_ids
-- The ids of collections by name. One that may not be seen is like one that is not there.
select name, id from collections
where name = any(:names) and (:permitted::integer[] is null or id = any(:permitted::integer[]));

-- name: read_generation
-- The active generation with its space.
select g.id, g.state, s.provider, s.model, s.dimensions, s.shortened, s.query_prefix, s.document_prefix, s.storage,
       g.ef_search, g.vector_weight
from generations g join spaces s on s.id = g.space_id
where g.state = 'active';

-- name: find_generation
-- A generation with its space, whatever its state.
select g.id, g.state, s.provider, s.model, s.dimensions, s.shortened, s.query_prefix, s.document_prefix, s.storage,
       g.ef_search, g.vector_weight
from generations g join spaces s on s.id = g.space_id
where g.id = :id;

-- name: begin_search
-- The same until the end of the transaction, and whether a statement is planned for its parameters or once for all.
-- Answers whether there are postings, and the active generation's id, to be compared with the one that the question was
-- embedded for.
select set_config('hnsw.ef_search', :ef_search, true), set_config('hnsw.iterative_scan', :iterative, true),
       set_config('plan_cache_mode', :planned, true), exists (select from posting_segments),
       (select id from generations where state = 'active');

-- name: search_vectors
-- The chunks nearest to a vector. The innermost query is the only form that HNSW serves: ascending, with a limit,
-- ordered by what the storage's index is over; of what it finds, the nearest by the vectors themselves. The limits are
-- part of the text, so that the plan that PostgreSQL keeps is made for them. Each row tells the active generation and
-- the settings that were in force. Only for those who may see every collection: others get nothing.
select c.id, c.document_id, k.name, s.name, d.path, d.title, c.content, c.heading, c.page, c.start_at, c.end_at,
       shown(d.metadata), 1 - n.distance as similarity, file_place(d.text, d.file_offset, d.crlf, c.start_at),
       file_place(d.text, d.file_offset, d.crlf, c.end_at), d.created_at, d.updated_at,
       (select id from generations where state = 'active'),
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
order by n.distance, d.path, s.name, c.ordinal;

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

-- name: rank_vectors_postfiltered
-- Of as many of the nearest chunks as the limit says, those in the collections that match.
select v.chunk_id, 1 - v.distance
from (select chunk_id, collection_id, embedding <=> :vector::{type} as distance
      from {vectors}
      order by {nearest}
      limit {{limit}}) v
where (:permitted::integer[] is null or v.collection_id = any(:permitted::integer[])) and {{matches}}
order by v.distance, v.chunk_id;

-- name: rank_vectors_filtered
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
