-- name: list_problems
-- Files in quarantine, with why.
select s.name, l.path, l.stage, l.reason, l.attempts, l.retry_at
from ledger l join sources s on s.id = l.source_id
where l.state = 'failed' and (:permitted::integer[] is null or s.collection_id = any(:permitted::integer[]))
order by s.name, l.path
limit :limit;

-- name: list_incomplete
-- Documents of which not all could be read, with what lacks.
select s.name, d.path, d.incomplete
from documents d join sources s on s.id = d.source_id
where d.incomplete <> '' and (:permitted::integer[] is null or d.collection_id = any(:permitted::integer[]))
order by s.name, d.path
limit :limit;

-- name: list_skipped
-- Files that are none we read, with why.
select s.name, l.path, l.reason
from ledger l join sources s on s.id = l.source_id
where l.state = 'skipped' and (:permitted::integer[] is null or s.collection_id = any(:permitted::integer[]))
order by s.name, l.path
limit :limit;

-- name: source_counts
-- Per source: documents, chunks, files in quarantine, pushes that wait, freshness; whether a sync of it runs, how far that
-- is, and which removals wait for an approval.
with locked as (
    select l.classid, l.objid from pg_locks l
    where l.locktype = 'advisory' and l.granted
      and l.database = (select oid from pg_database where datname = current_database()))
select s.name, s.root, k.name, count(l.path) filter (where l.document_id is not null),
       coalesce(sum(l.chunk_count) filter (where l.document_id is not null), 0)::bigint,
       count(l.path) filter (where l.state = 'failed'),
       (select count(*) from pushes p where p.source_id = s.id and not exists (
            select from ledger w where w.source_id = p.source_id and w.path = p.path)),
       max(l.synced_at), s.kind, count(l.path) filter (where l.state = 'skipped'), s.synced_at, s.held,
       exists (select from locked where classid = :source_locks::bigint and objid = s.id),
       (select r.progress from runs r
        where r.status = 'running' and r.source_id = s.id
          and exists (select from locked where classid = :run_locks::bigint and objid = r.id)
        order by r.id desc limit 1)
from sources s
join collections k on k.id = s.collection_id
left join ledger l on l.source_id = s.id
where (:permitted::integer[] is null or s.collection_id = any(:permitted::integer[]))
group by s.id, k.name
order by s.name;

-- name: list_quarantined
-- Of each source some files that could not be read, with why, and since when nothing of theirs was taken.
select s.name, l.path, l.reason, l.synced_at
from sources s
cross join lateral (
    select * from ledger where source_id = s.id and state = 'failed' order by path limit :limit) l
where (:permitted::integer[] is null or s.collection_id = any(:permitted::integer[]))
order by s.name, l.path;

-- name: generation_notes
-- What was measured of each generation, what its similarities count, and since and until when a retired one is kept.
select id, measured, vector_weight, retired_at, retired_at + make_interval(days => :days) from generations;
