-- name: add_trace!
-- How an answer was found.
insert into traces (id, asked_at, kind, key_id, permitted, record)
values (:id, :asked_at, :kind, :key_id, :permitted, :record::jsonb)
on conflict (id) do nothing;

-- name: write_lazily
-- A crash of the server may cost the last moment's traces; no request waits for a disk because of them.
select set_config('synchronous_commit', 'off', false);

-- name: get_trace
-- For whoever may see all that could be seen by the one who asked.
select record
from traces
where id = :id and (:permitted::integer[] is null or permitted <@ :permitted::integer[]);

-- name: expire_traces!
-- The first of those that were kept long enough, or are more than are kept, as many as a moment is enough for.
delete from traces
where id in (select id from traces
             where asked_at < greatest(
                 now() - make_interval(days => :days),
                 (select asked_at from traces order by asked_at desc offset :kept - 1 limit 1))
             order by asked_at
             limit :most
             for update skip locked);

-- name: locate_chunks
-- Where chunks stand.
select c.id, c.document_id, s.name, d.path, c.heading
from chunks c
join documents d on d.id = c.document_id
join sources s on s.id = d.source_id
where c.id = any(:ids::bigint[])
  and (:permitted::integer[] is null or c.collection_id = any(:permitted::integer[]));

-- name: get_passages
-- Chunks widened by so many chunks before and after each, as slices of their documents' text.
select c.id, min(n.start_at), max(n.end_at), substr(d.text, min(n.start_at) + 1, max(n.end_at) - min(n.start_at))
from chunks c
join documents d on d.id = c.document_id
join chunks n on n.document_id = c.document_id and n.ordinal between c.ordinal - :around and c.ordinal + :around
where c.id = any(:ids::bigint[])
  and (:permitted::integer[] is null or c.collection_id = any(:permitted::integer[]))
group by c.id, d.id;
