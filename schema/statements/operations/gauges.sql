-- name: source_gauges
-- Per source: seconds since a sync last went through all of it, and since it is known; its files that could not be read;
-- removals that wait for an approval; pushes that are no documents yet, and for how long the oldest waits.
select s.name, s.kind, extract(epoch from clock_timestamp() - s.synced_at)::float as age,
       extract(epoch from clock_timestamp() - s.created_at)::float as known_seconds,
       (select count(*) from ledger l where l.source_id = s.id and l.state = 'failed') as failed,
       coalesce((s.held->>'count')::integer, 0) as held, w.pending,
       extract(epoch from clock_timestamp() - w.since)::float as pending_seconds
from sources s
cross join lateral (
    select count(*) as pending, min(p.pushed_at) as since from pushes p
    where p.source_id = s.id and not exists (
        select from ledger l where l.source_id = p.source_id and l.path = p.path)) w
where (:permitted::integer[] is null or s.collection_id = any(:permitted::integer[]))
order by s.name;

-- name: index_gauge
-- The recall that the index in use was last measured to have, at the ef_search in use, for who may see everything.
select s.provider || '/' || s.model || '/' || s.dimensions as space, m.recall
from generations g
join spaces s on s.id = g.space_id
join index_measurements m on m.generation_id = g.id
where g.state = 'active' and not m.sampled and m.ef_search = coalesce(g.ef_search, :ef_search)
  and :permitted::integer[] is null
order by m.id desc
limit 1;

-- name: run_gauges
-- By flow and how they ended: runs, what they cost, when the last one ended (seconds since 1970) and what it took.
select flow, status, count(*) as runs, coalesce(sum(tokens), 0)::bigint as tokens,
       coalesce(sum(cost_usd), 0)::float as cost_usd, extract(epoch from max(finished_at))::float as finished_at,
       (array_agg(extract(epoch from finished_at - started_at)::float order by id desc))[1] as seconds
from runs
where status <> 'running' and finished_at is not null and :permitted::integer[] is null
group by flow, status
order by flow, status;

-- name: last_sync_documents
-- What the last sync that came to an end did with how many documents.
select d.key as outcome, d.value::bigint as documents
from (select report from runs
      where flow = 'sync' and status in ('complete', 'partial') and :permitted::integer[] is null
      order by id desc limit 1) r
cross join jsonb_each_text(r.report->'documents') d
order by d.key;

-- name: waiting_requests
-- What was asked of the flows over HTTP and nobody has begun: how many, and for how long the oldest waits.
select count(*), extract(epoch from clock_timestamp() - min(asked_at))::float
from requests
where state = 'pending' and (:permitted::integer[] is null or collection_id = any(:permitted::integer[]));
