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
                 (select asked_at from traces order by asked_at desc offset :max_traces - 1 limit 1))
             order by asked_at
             limit :limit
             for update skip locked);
