-- name: list_documents
-- One page of documents after a given id, in the order of their ids; of each whether those before it have as much metadata as
-- a page may, and the page ends before it.
select d.id, d.source, d.path, d.title, d.collection, d.mime, encode(d.content_hash, 'hex'),
       (select count(*) from chunks c where c.document_id = d.id), d.state,
       case when d.before <= :max_metadata_bytes then shown(d.metadata) end, d.owner, d.language, d.created_at, d.updated_at,
       d.synced_at, d.before > :max_metadata_bytes
from (select d.id, s.name as source, d.path, d.title, k.name as collection, d.mime, d.content_hash,
             coalesce(l.state, 'ok') as state, d.metadata, d.owner, d.language::text as language, d.created_at,
             d.updated_at, d.synced_at,
             coalesce(sum(octet_length(shown(d.metadata)::text))
                          over (order by d.id rows between unbounded preceding and 1 preceding), 0) as before
      from (select d.*
            from documents d
            join sources s on s.id = d.source_id
            join collections k on k.id = d.collection_id
            where d.id > :after
              and (:permitted::integer[] is null or d.collection_id = any(:permitted::integer[]))
              and (:collection::text is null or k.name = :collection)
              and (:source::text is null or s.name = :source)
              and (:path::text is null or d.path = :path)
              and {{matches}}
            order by d.id
            limit :limit) d
      join sources s on s.id = d.source_id
      join collections k on k.id = d.collection_id
      left join ledger l on l.source_id = d.source_id and l.path = d.path) d
order by d.id;

-- name: get_document
-- One document with its text.
select d.id, s.name as source, d.path, d.title, k.name as collection, d.mime,
       encode(d.content_hash, 'hex') as content_hash,
       (select count(*) from chunks c where c.document_id = d.id) as chunk_count, coalesce(l.state, 'ok') as state,
       d.metadata, d.owner, d.language::text as language, d.created_at, d.updated_at, d.synced_at,
       coalesce(l.reason, '') as reason, d.incomplete, d.text
from documents d
join sources s on s.id = d.source_id
join collections k on k.id = d.collection_id
left join ledger l on l.source_id = d.source_id and l.path = d.path
where d.id = :id and (:permitted::integer[] is null or d.collection_id = any(:permitted::integer[]));

-- name: find_document
-- A document by its path, its source and path, or its id; of several one of those that are meant, of the collections that
-- are named, the one that was synced last.
select d.id, s.name as source, d.path, d.title, k.name as collection, d.mime,
       encode(d.content_hash, 'hex') as content_hash,
       (select count(*) from chunks c where c.document_id = d.id) as chunk_count, coalesce(l.state, 'ok') as state,
       d.metadata, d.owner, d.language::text as language, d.created_at, d.updated_at, d.synced_at
from documents d
join sources s on s.id = d.source_id
join collections k on k.id = d.collection_id
left join ledger l on l.source_id = d.source_id and l.path = d.path
where (d.path = :reference or d.id::text = :reference or s.name || '/' || d.path = :reference)
  and (:permitted::integer[] is null or d.collection_id = any(:permitted::integer[]))
order by d.id = any(:meant::bigint[]) desc, coalesce(k.name = any(:collections::text[]), true) desc, d.synced_at desc
limit 1;

-- name: unknown_paths
-- Paths that no document has, of those that may be seen.
select p.path
from unnest(:paths::text[]) with ordinality p (path, place)
where not exists (
    select from documents d
    where d.path = p.path and (:permitted::integer[] is null or d.collection_id = any(:permitted::integer[])))
order by p.place;

-- name: get_chunks
-- A document's chunks in their order.
select c.id, c.ordinal, c.content, c.heading, c.page, c.start_at as start, c.end_at as end, c.tokens,
       file_place(d.text, d.file_offset, d.crlf, c.start_at) as file_start,
       file_place(d.text, d.file_offset, d.crlf, c.end_at) as file_end
from chunks c
join documents d on d.id = c.document_id
where c.document_id = :document_id and (:permitted::integer[] is null or c.collection_id = any(:permitted::integer[]))
order by c.ordinal;

-- name: list_collections
-- Collections with their counts.
select k.id, k.name,
       (select count(*) from documents d where d.collection_id = k.id) as documents,
       (select count(*) from chunks c where c.collection_id = k.id) as chunks,
       (select max(d.synced_at) from documents d where d.collection_id = k.id) as synced_at
from collections k
where (:permitted::integer[] is null or k.id = any(:permitted::integer[]))
order by k.name;

-- name: count_documents
-- Documents of each collection that match.
select k.name, count(*)
from documents d
join collections k on k.id = d.collection_id
where (:permitted::integer[] is null or d.collection_id = any(:permitted::integer[]))
  and (:collections::text[] is null or k.name = any(:collections::text[]))
  and {{matches}}
group by k.name
order by k.name;

-- name: dated_documents
-- The latest or the oldest of the documents that match, by their own date, or their file's.
select d.id, d.title, d.path, d.created_at, d.updated_at
from documents d
join collections k on k.id = d.collection_id
where (:permitted::integer[] is null or d.collection_id = any(:permitted::integer[]))
  and (:collections::text[] is null or k.name = any(:collections::text[]))
  and {{matches}}
order by extract(epoch from coalesce(d.created_at, d.updated_at)) * case when :oldest then 1 else -1 end, d.path
limit :limit;

-- name: sample_documents
-- Documents in an order that goes by a seed, each with the number of those of the same title and one of its chunks.
select d.path, d.title, d.titled, c.heading, c.content
from (select d.id, d.path, d.title, count(*) over (partition by d.title) as titled
      from documents d
      where :permitted::integer[] is null or d.collection_id = any(:permitted::integer[])
      order by md5(d.id::text || :seed::text)
      limit :limit) d
cross join lateral (
    select c.heading, c.content from chunks c
    where c.document_id = d.id and (:permitted::integer[] is null or c.collection_id = any(:permitted::integer[]))
    order by md5(c.id::text || :seed::text)
    limit 1) c;
