-- name: source_gauges
-- Per source: seconds since a sync last went through all of it, and its files that could not be read.
select s.name, extract(epoch from clock_timestamp() - s.synced_at)::float as age,
       (select count(*) from ledger l where l.source_id = s.id and l.state = 'failed') as failed
from sources s
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
