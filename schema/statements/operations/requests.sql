-- name: add_request
-- A request for a source that may be seen; the one that waits already where it is the same. No row: no such source.
insert into requests (kind, source_id, source, collection_id, count, requested_by)
select :kind, s.id, s.name, s.collection_id, :count::integer, :requested_by::integer
from sources s
where s.name = :source and (:permitted::integer[] is null or s.collection_id = any(:permitted::integer[]))
on conflict (source_id, kind, coalesce(count, 0)) where state = 'pending' do update set kind = excluded.kind
returning id;

-- name: notify_requested
-- Wakes who listens, when the transaction ends.
select pg_notify('pgfolio_requested', '');

-- name: kind_of_source
-- Whether a source is a folder or what is pushed.
select kind from sources
where name = :source and (:permitted::integer[] is null or collection_id = any(:permitted::integer[]));

-- name: list_requests
-- The newest requests, or one. One whose process died, of which nobody holds the lock, waits again; a replica sees no locks.
select q.id, q.kind, q.source, q.count, case when d.dead then 'pending' else q.state end as state, q.asked_at,
       q.started_at, q.ended_at, q.outcome, q.reason,
       (select r.progress from runs r
        where q.state = 'running' and not d.dead and r.status = 'running' and r.source_id = q.source_id
        order by r.id desc limit 1) as progress
from requests q
cross join lateral (
    select q.state = 'running' and not pg_is_in_recovery() and not exists (
        select from pg_locks l
        where l.locktype = 'advisory' and l.objsubid = 2 and l.classid = :lock_class::bigint and l.objid = q.id
          and l.database = (select oid from pg_database where datname = current_database())) as dead) d
where (:permitted::integer[] is null or q.collection_id = any(:permitted::integer[]))
  and (:id::bigint is null or q.id = :id)
order by q.id desc
limit :limit;

-- name: listen_requested!
-- From now on this connection is told of requests.
listen pgfolio_requested;

-- name: open_requests
-- Requests that wait, and those that somebody does or did until he was killed; the oldest first. Whether a sync of its
-- source runs, which would turn it away.
select q.id, exists (
    select from pg_locks l
    where l.locktype = 'advisory' and l.granted and l.objsubid = 2 and l.classid = :lock_class::bigint
      and l.objid = q.source_id and l.database = (select oid from pg_database where datname = current_database()))
from requests q
where q.state in ('pending', 'running') order by q.id;

-- name: take_request
-- Whoever has its lock does it.
update requests set state = 'running', attempts = attempts + 1, started_at = clock_timestamp(), reason = ''
where id = :id and state in ('pending', 'running')
  and (:source_ids::integer[] is null or source_id = any(:source_ids::integer[]))
returning id, kind, source_id, source, count, attempts;

-- name: return_request!
-- It could not be done now: it waits on, as if it had not been tried.
update requests set state = 'pending', attempts = attempts - 1, started_at = null, reason = :reason
where id = :id and not exists (
    select from requests other
    where other.state = 'pending' and other.id <> requests.id and other.source_id = requests.source_id
      and other.kind = requests.kind and coalesce(other.count, 0) = coalesce(requests.count, 0));

-- name: end_request!
-- What came of it.
update requests set state = :state, outcome = :outcome, reason = :reason, ended_at = clock_timestamp() where id = :id;

-- name: forget_requests!
-- Those that ended long ago.
delete from requests where ended_at < now() - make_interval(days => :days);
