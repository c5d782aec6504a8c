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
-- By flow and how they ended: runs, what they cost, when the last one ended (seconds since 1970) and what it took. Those
-- that never were count as 0, or the first one would be no increase.
select f.flow, e.status, count(r.id) as runs, coalesce(sum(r.tokens), 0)::bigint as tokens,
       coalesce(sum(r.cost_usd), 0)::float as cost_usd, extract(epoch from max(r.finished_at))::float as finished_at,
       (array_agg(extract(epoch from r.finished_at - r.started_at)::float order by r.id desc))[1] as seconds
from (values ('sync'), ('reembed'), ('index')) f (flow)
cross join (values ('complete'), ('partial'), ('failed')) e (status)
left join runs r on r.flow = f.flow and r.status = e.status and r.finished_at is not null
where :permitted::integer[] is null
group by f.flow, e.status
order by f.flow, e.status;

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

-- name: quota_gauges
-- By model, of requests and tokens, what its server last said remains of the key's limits, and how long ago.
select distinct on (model, kind) left(r.name, -17) as model, q.key as kind, (q.value->>'remaining')::float as remaining,
       (q.value->>'limit')::float as quota, extract(epoch from clock_timestamp() - r.quota_at)::float as age
from rate_limits r
cross join jsonb_each(r.quota) q
where :permitted::integer[] is null
order by model, kind, age;

-- name: is_indexed
-- Of the active space: whether each of its segments that has vectors has an index that searches can use.
select s.provider || '/' || s.model || '/' || s.dimensions as space, not exists (
    select from (select to_regclass('vectors_' || g.id) as segment
                 union all
                 select inhrelid from pg_inherits where inhparent = to_regclass('vectors_' || g.id)) t
    where pg_relation_size(t.segment) > 0 and not exists (
        select from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
        where i.indrelid = t.segment and i.indisvalid and a.amname = 'hnsw')) as is_indexed
from generations g
join spaces s on s.id = g.space_id
where g.state = 'active' and :permitted::integer[] is null;
