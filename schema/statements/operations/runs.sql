-- name: start_run
-- A run's row, made when it begins.
insert into runs (flow, started_by, status) values (:flow, :started_by, 'running') returning id;

-- name: finish_run!
-- What came of it.
update runs
set status = :status, report = :report, error = :error, finished_at = clock_timestamp()
where id = :id;

-- name: bury_runs!
-- Runs whose process died: nobody holds a source any more, yet they say that they run. A run's row is there a moment
-- before it holds its source.
update runs
set status = 'failed', error = 'the process ended without a word', finished_at = clock_timestamp()
where status = 'running' and flow = :flow and started_at < now() - interval '1 second' and not exists (
    select from pg_locks where locktype = 'advisory' and classid = :lock_class::bigint);

-- name: tokens_per_second
-- How fast the last run that embedded much in a space went.
select (report->>'tokens')::float / (report->'seconds'->>'total')::float
from runs
where report->>'space' = :space and (report->>'tokens')::float >= :enough_tokens
  and (report->'seconds'->>'total')::float > 0
order by id desc
limit 1;

-- name: tokens_per_byte
-- Tokens of a source's documents for each byte of their files, from some of them.
select sum(c.tokens)::float / nullif(sum(l.size), 0)::float
from (select document_id, size from ledger where source_id = :source_id and document_id is not null limit :sample_documents) l
cross join lateral (select sum(tokens) as tokens from chunks where document_id = l.document_id) c;

-- name: last_runs
-- The newest runs. A run goes over sources of any collection: who may not see all of them is told of none.
select id, flow, started_by, status, started_at, finished_at, report, error
from runs where :permitted::integer[] is null order by id desc limit :limit;
