-- name: list_segments
-- Segments of a generation's table: which of them hold vectors besides the table itself.
select substring(c.relname from '_s([0-9]+)$')::integer
from pg_inherits i
join pg_class c on c.oid = i.inhrelid
where i.inhparent = to_regclass(:table)
order by 1;

-- name: list_leftovers
-- Tables of a generation that it does not have: a merge that was killed filled them.
select c.relname
from pg_class c
where c.relkind = 'r' and c.relname ~ (:pattern) and pg_table_is_visible(c.oid)
  and not exists (select from pg_inherits i where i.inhrelid = c.oid);

-- name: drop_leftover!
-- Such a table.
drop table if exists {{leftover}};

-- name: publish_counts
-- What this session changed, to be counted by others and by itself.
select pg_stat_force_next_flush();

-- name: dead_rows
-- Rows of one segment that were deleted and that its index still has.
select pg_stat_get_dead_tuples(to_regclass(:table));

-- name: reckoned_size
-- The same as the planner has it: exact after the index is built, negative before anything was counted.
select reltuples::bigint from pg_class where oid = to_regclass(:table);

-- name: segment_has_any
-- Whether a segment has any vector.
select exists (select from only {segment});

-- name: create_segment!
-- A table like the generation's, not yet part of it.
create table {segment} (
    like {vectors} including storage,
    primary key (chunk_id),
    foreign key (chunk_id) references chunks on delete cascade
);

-- name: attach_segment!
-- From now on whoever reads the generation's table reads it too.
alter table {segment} inherit {vectors};

-- name: drop_segment!
-- A segment whose vectors are elsewhere now.
drop table if exists {segment};

-- name: empty_segment!
-- The generation's own table, whose vectors are elsewhere now.
truncate only {segment};

-- name: copy_segment!
-- Vectors of a segment into the one that is to take its place.
insert into {{into}} select * from only {segment};

-- name: lack_of_segment
-- Vectors that one segment has and another has not.
select count(*) from only {segment} a where not exists (select from only {{into}} b where b.chunk_id = a.chunk_id);

-- name: lock_segment_writes!
-- Nobody writes it until the end of the transaction; readers go on.
lock table only {segment} in share row exclusive mode;

-- name: lock_segment!
-- Nobody reads or writes it until the end of the transaction.
lock table only {segment} in access exclusive mode;

-- name: record_index_cost!
-- What it took.
insert into index_costs (space_id, way, vectors, indexed, seconds)
select space_id, :way, :vectors, :indexed, :seconds from generations where id = :generation;

-- name: read_index_cost
-- Seconds for each vector, lately; those of larger tables count as they are.
select sum(seconds) / sum(vectors), (sum(indexed * vectors) / sum(vectors))::bigint
from (select seconds, vectors, indexed from index_costs
      where space_id = (select space_id from generations where id = :generation) and way = :way and vectors >= :min_vectors
      order by id desc limit :measurements) lately;
