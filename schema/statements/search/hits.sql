-- name: get_hits
-- What an answer shows of chunks, with their similarity to a vector; a chunk without a vector has none.
select c.id, c.document_id, k.name, s.name, d.path, d.title, c.content, c.heading, c.page, c.start_at, c.end_at,
       shown(d.metadata), coalesce(nullif(1 - (v.embedding <=> :vector::{type}), 'NaN'), 0) as similarity,
       file_place(d.text, d.file_offset, d.crlf, c.start_at), file_place(d.text, d.file_offset, d.crlf, c.end_at),
       d.created_at, d.updated_at
from chunks c
join documents d on d.id = c.document_id
join sources s on s.id = d.source_id
join collections k on k.id = d.collection_id
left join {vectors} v on v.chunk_id = c.id
where c.id = any(:ids::bigint[])
  and (:permitted::integer[] is null or c.collection_id = any(:permitted::integer[]));

-- name: check_quotes
-- Whether each quote stands in its document's stored text at the offsets given, where that is in the file, and on
-- which page, in the quotes' order.
select coalesce(substr(d.text, q.start_at + 1, q.end_at - q.start_at) = q.quote, false),
       file_place(d.text, d.file_offset, d.crlf, q.start_at), file_place(d.text, d.file_offset, d.crlf, q.end_at),
       case when d.pages is not null then greatest(width_bucket(q.start_at, d.pages), 1) end
from unnest(:document_ids::bigint[], :starts::integer[], :ends::integer[], :quotes::text[]) with ordinality
     as q (document_id, start_at, end_at, quote, place)
left join documents d
       on d.id = q.document_id
      and (:permitted::integer[] is null or d.collection_id = any(:permitted::integer[]))
order by q.place;

-- name: get_code_blocks
-- What of each slice of a document's text is in its code blocks, in the slices' order.
select d.code_blocks * int4multirange(int4range(p.start_at, p.end_at))
from unnest(:document_ids::bigint[], :starts::integer[], :ends::integer[]) with ordinality
     as p (document_id, start_at, end_at, place)
left join documents d
       on d.id = p.document_id
      and (:permitted::integer[] is null or d.collection_id = any(:permitted::integer[]))
order by p.place;

-- name: locate_chunks
-- Where chunks stand.
select c.id, c.document_id, s.name, d.path, c.heading
from chunks c
join documents d on d.id = c.document_id
join sources s on s.id = d.source_id
where c.id = any(:ids::bigint[])
  and (:permitted::integer[] is null or c.collection_id = any(:permitted::integer[]));

-- name: get_passages
-- Chunks widened by so many chunks before and after each, as slices of their documents' text, with the first one's
-- header of a table.
select c.id, min(n.start_at), max(n.end_at),
       (array_agg(left(n.content, length(n.content) - (n.end_at - n.start_at)) order by n.ordinal))[1]
           || substr(d.text, min(n.start_at) + 1, max(n.end_at) - min(n.start_at)),
       file_place(d.text, d.file_offset, d.crlf, min(n.start_at)), file_place(d.text, d.file_offset, d.crlf, max(n.end_at))
from chunks c
join documents d on d.id = c.document_id
join chunks n on n.document_id = c.document_id and n.ordinal between c.ordinal - :around and c.ordinal + :around
where c.id = any(:ids::bigint[])
  and (:permitted::integer[] is null or c.collection_id = any(:permitted::integer[]))
group by c.id, d.id;
