-- name: segment_size
-- Vectors of one segment alone.
select count(*) from only {segment};

-- name: index_state
-- Whether the HNSW index is there and valid, and its size in bytes.
select i.indisvalid as valid, pg_relation_size(i.indexrelid) as bytes
from pg_index i join pg_class c on c.oid = i.indexrelid
where c.relname = :name and pg_table_is_visible(c.oid);

-- name: count_vectors
-- Vectors of the generation.
select count(*) from {vectors};

-- name: create_index!
-- The HNSW index, by cosine, or by the signs alone where the storage says so.
create index if not exists {index} on {segment} using hnsw ({indexed})
with (m = {{m}}, ef_construction = {{ef_construction}});

-- name: prepare_index_build
-- With workers however small the table is, and no more memory than the graph needs: a parallel build claims all of
-- it beforehand, 0.6 s for 1.5 GB.
select set_config('min_parallel_table_scan_size', '0', true),
       set_config('maintenance_work_mem',
                  least(pg_size_bytes(current_setting('maintenance_work_mem')) / 1024, :memory_kb)::text || 'kB', true);

-- name: build_workers
-- Processes that may take part in a build.
select current_setting('max_parallel_maintenance_workers')::integer;

-- name: build_progress
-- How much of the table a build has put into its index, as a part of 1.
select coalesce(blocks_done::float8 / nullif(blocks_total, 0), 0)
from pg_stat_progress_create_index
where pid = :pid;

-- name: build_index_serially
-- Where shared memory is too small for workers.
select set_config('max_parallel_maintenance_workers', '0', true);

-- name: drop_index!
-- Before it is built anew.
drop index if exists {index};
