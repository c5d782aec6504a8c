-- name: start_run
-- A run's row, made when it begins, and a lock that ends with its session: where nobody holds it the run is dead.
with started as (
    insert into runs (flow, started_by, status) values (:flow, :started_by, 'running') returning id
)
select id, pg_advisory_lock(:lock_class::integer, id::integer) from started;

-- name: finish_run!
-- What came of it.
update runs
set status = :status, report = :report, error = :error, finished_at = clock_timestamp()
where id = :id;

-- name: are_synced_since
-- Whether a sync that began after a moment, and has ended, went over all of these sources.
select exists (
    select from runs
    where flow = 'sync' and status in ('complete', 'partial') and started_at >= :moment::timestamptz
      and report->'sources' @> :sources::jsonb);

-- name: record_progress!
-- How far a run is with the source that it is at.
update runs set source_id = :source_id, progress = :progress where id = :id and status = 'running';

-- name: bury_runs!
-- Runs whose process died: they say that they run, and nobody holds their lock.
update runs r
set status = 'failed', error = :dead, finished_at = clock_timestamp()
where r.status = 'running' and not exists (
    select from pg_locks l
    where l.locktype = 'advisory' and l.classid = :lock_class::bigint and l.objid = r.id
      and l.database = (select oid from pg_database where datname = current_database()));

-- name: tokens_per_second
-- How fast the last run that embedded much in a space went.
select (report->>'tokens')::float / (report->'seconds'->>'total')::float
from runs
where report->>'space' = :space and (report->>'tokens')::float >= :enough_tokens
  and (report->'seconds'->>'total')::float > 0
order by id desc
limit 1;

-- name: billed_per_counted
-- What a space's server billed for each token that we counted, in the last runs of which it is known.
with known as (
    select (report->'embedding'->>'counted')::float as counted, (report->'embedding'->>'billed')::float as billed
    from runs
    where report->>'space' = :space and (report->'embedding'->>'counted')::float >= :enough_tokens
      and report->'embedding' ? 'billed'
    order by id desc
    limit :limit
)
select sum(billed) / nullif(sum(counted), 0) from known;

-- name: tokens_per_byte
-- Tokens of a source's documents for each byte of their files, from some of them.
select sum(c.tokens)::float / nullif(sum(l.size), 0)::float
from (select document_id, size from ledger where source_id = :source_id and document_id is not null limit :sample_documents) l
cross join lateral (select sum(tokens) as tokens from chunks where document_id = l.document_id) c;

-- name: last_runs
-- The newest runs. A run goes over sources of any collection: who may not see all of them is told of none. One whose
-- process died, of which nobody holds the lock, has failed, although its row cannot say so; a replica sees no locks.
with newest as (select * from runs where :permitted::integer[] is null order by id desc limit :limit)
select id, flow, started_by, case when dead then 'failed' else status end as status, started_at, finished_at, report,
       case when dead then :dead else error end as error
from newest
cross join lateral (
    select status = 'running' and not pg_is_in_recovery() and not exists (
        select from pg_locks l
        where l.locktype = 'advisory' and l.classid = :lock_class::bigint and l.objid = newest.id
          and l.database = (select oid from pg_database where datname = current_database())) as dead) d
order by id desc;

-- name: billed_tokens
-- What runs that somebody started were billed for, and what those of them may have been that ended without a word.
select coalesce(sum(b.tokens), 0) + coalesce(sum(r.tokens), 0)
from runs
join budgets b on b.run_id = runs.id
left join (select run_id, sum(tokens) as tokens from budget_reservations group by run_id) r on r.run_id = runs.id
where runs.started_by = :started_by;

-- name: latest_syncs
-- The newest syncs that ended: of what was pushed, and of anything else. One that met another sync of its source did
-- nothing: that one counts.
with ended as (select * from runs
               where flow = 'sync' and status <> 'running' and error not like 'another sync of %')
select id, flow, started_by, status, started_at, finished_at, report, error from (
    (select * from ended where started_by = 'push' order by id desc limit 1)
    union all
    (select * from ended where started_by <> 'push' order by id desc limit 1)) latest
order by id desc;
