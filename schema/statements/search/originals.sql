-- name: get_original
-- Where the file of a document is, or, of what was pushed, its bytes, also while it is no document yet.
select coalesce(d.path, p.path) as path, s.kind, s.root, coalesce(nullif(p.name, ''), '') as name,
       coalesce(d.mime, '') as mime, coalesce(p.content_hash, d.content_hash) as content_hash, p.content
from (select :id::bigint as id) asked
left join documents d on d.id = asked.id
left join pushes p on p.id = asked.id
join sources s on s.id = coalesce(d.source_id, p.source_id)
where (:permitted::integer[] is null or coalesce(d.collection_id, s.collection_id) = any(:permitted::integer[]));

-- name: get_page
-- Of a document a passage, and its text from the beginning of the page that the passage stands on; what is its file.
select d.mime, d.content_hash,
       substr(d.text, :start_at::integer + 1, :length::integer) as passage,
       case when d.pages is null then '' else
           substr(d.text, before.page_at + 1, greatest(:start_at::integer - before.page_at, 0)) end as text_before
from documents d
cross join lateral (
    select coalesce(max(p.page_at), 0) as page_at from unnest(d.pages) p (page_at) where p.page_at <= :start_at::integer
) before
where d.id = :id and (:permitted::integer[] is null or d.collection_id = any(:permitted::integer[]));
