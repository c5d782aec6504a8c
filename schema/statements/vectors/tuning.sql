-- name: index_parameters
-- With what a segment's index was built; 16 and 64 are pgvector's own, which it does not note.
select coalesce((select split_part(o, '=', 2)::integer from unnest(c.reloptions) o where o like 'm=%%'), 16) as m,
       coalesce((select split_part(o, '=', 2)::integer from unnest(c.reloptions) o where o like 'ef_construction=%%'), 64) as ef_construction
from pg_class c
where c.relname = :name and pg_table_is_visible(c.oid);

-- name: read_tuning
-- What the generation was tuned to.
select m, ef_construction, ef_search from generations where id = :generation;

-- name: save_tuning!
-- What it is tuned to from now on.
update generations set m = :m, ef_construction = :ef_construction, ef_search = :ef_search where id = :generation;

-- name: record_measurement!
-- What was measured.
insert into index_measurements (generation_id, m, ef_construction, ef_search, recall, p50_ms, vectors, sampled)
values (:generation, :m, :ef_construction, :ef_search, :recall, :p50_ms, :vectors, :sampled);

-- name: last_measurement
-- The last one of the index in use, at the ef_search in use.
select ef_search, recall, p50_ms, vectors, measured_at
from index_measurements
where generation_id = :generation and not sampled and ef_search = coalesce(:ef_search::integer, ef_search)
order by id desc
limit 1;

-- name: logged_queries
-- Questions that were asked, each once, the latest first; of the latest traces only, for there may be millions.
select q.query
from (select record ->> 'query' as query, max(asked_at) as asked_at
      from (select record, asked_at from traces order by asked_at desc limit :recent_traces) t
      where record ->> 'query' <> ''
      group by 1) q
order by q.asked_at desc
limit :limit;

-- name: sample_texts
-- Chunks by chance, to make questions of.
select c.heading, c.content
from (select chunk_id from {vectors} order by random() limit :count) v
join chunks c on c.id = v.chunk_id;

-- name: sample_into!
-- Some of the generation's vectors, in a table of their own, to try other parameters on.
create table tuning_sample as select chunk_id, embedding from {vectors} order by random() limit {{limit}};

-- name: drop_sample!
-- When they are tried.
drop table if exists tuning_sample;

-- name: index_sample!
-- An index over the sample.
create index tuning_sample_hnsw on tuning_sample using hnsw ({indexed})
with (m = {{m}}, ef_construction = {{ef_construction}});

-- name: drop_sample_index!
-- Before the next one.
drop index if exists tuning_sample_hnsw;
