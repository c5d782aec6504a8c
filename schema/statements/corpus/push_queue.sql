-- name: listen_pushed!
-- To be woken.
listen pgfolio_pushed;

-- name: commit_at_ease
-- A commit of this connection is not waited for.
select set_config('synchronous_commit', 'off', false);

-- name: outdated_pushes
-- Those that are no document yet, or one that was made otherwise; of those that failed the ones whose time has come. All,
-- when all are to be made anew. Times in nanoseconds, as a file's.
select octet_length(p.content), (extract(epoch from p.pushed_at) * 1e9)::bigint, p.id, p.path, l.path is not null, a.push_id is not null
from pushes p
left join ledger l on l.source_id = p.source_id and l.path = p.path
left join push_attempts a on a.push_id = p.id
where p.source_id = :source_id
  and (:full or l.path is null or l.processing_fingerprint <> :processing_fingerprint or (l.state = 'failed' and l.retry_at <= now()))
order by p.id;

-- name: begin_push
-- How many times the reading of a push was begun and did not come to an end, with this one.
insert into push_attempts (push_id)
select id from pushes where source_id = :source_id and path = :path for key share
on conflict (push_id) do update set attempts = push_attempts.attempts + 1
returning attempts;

-- name: end_pushes!
-- The reading of these came to an end, whatever it was.
delete from push_attempts a using pushes p where a.push_id = p.id and p.source_id = :source_id and p.path = any(:paths);

-- name: oldest_pushes_due
-- By source the oldest push that was never looked at, or is to be tried again.
select p.source_id, min(p.id)
from pushes p
left join ledger l on l.source_id = p.source_id and l.path = p.path
where l.path is null or (l.state = 'failed' and l.retry_at <= now())
group by p.source_id;

-- name: read_push
-- What was pushed, as the flow reads it; its time in nanoseconds, as a file's.
select octet_length(content), (extract(epoch from pushed_at) * 1e9)::bigint, id, content, title, name, metadata
from pushes
where source_id = :source_id and path = :path;

-- name: lock_pushes
-- Those that nobody deleted; nobody can until the transaction ends.
select path, id from pushes where source_id = :source_id and path = any(:paths) order by id for key share;

-- name: push_is_there
-- Whether its bytes are there to make the document of.
select exists (select from pushes where source_id = :source_id and path = :path);
