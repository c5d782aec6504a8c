-- name: upsert_space
-- The space's id, made where it is new.
insert into spaces (provider, model, dimensions, shortened, query_prefix, document_prefix, storage)
values (:provider, :model, :dimensions, :shortened, :query_prefix, :document_prefix, :storage)
on conflict (provider, model, dimensions, shortened, query_prefix, document_prefix, storage)
    do update set provider = excluded.provider
returning id;

-- name: list_generations
-- Generations with their spaces, the newest first.
select g.id, g.state, s.provider, s.model, s.dimensions, s.shortened, s.query_prefix, s.document_prefix, s.storage
from generations g join spaces s on s.id = g.space_id
where g.state = any(:states)
order by g.id desc;

-- name: insert_generation
-- A new generation.
insert into generations (space_id, state, activated_at)
values (:space_id, :state, case when :state = 'active' then now() end)
returning id;

-- name: set_generation_state!
-- Building, ready, active, retired.
update generations
set state = :state,
    activated_at = case when :state = 'active' then now() else activated_at end,
    retired_at = case when :state = 'retired' then now() end
where id = :id;

-- name: lock_generation
-- Its state, which stays until the end of the transaction.
select state from generations where id = :id for update;

-- name: previous_generation
-- The one that was active before, which a rollback goes back to.
select id from generations
where state = 'retired' and activated_at is not null
order by retired_at desc, id desc
limit 1;

-- name: expired_generations
-- Retired ones whose way back is closed.
select id from generations where state = 'retired' and retired_at <= now() - make_interval(days => :days);

-- name: record_measured!
-- What was measured of a generation before it was to become active.
update generations set measured = :measured where id = :id;

-- name: create_vectors!
-- The generation's table: narrow, so that nothing but a vector's own change touches its index.
create table {vectors} (
    chunk_id bigint primary key references chunks on delete cascade,
    collection_id integer not null,
    embedding {type}({dimensions}) not null
);

-- name: store_vectors_plain!
-- In the row itself, where the row fits a page: out of line every comparison would fetch it.
alter table {vectors} alter column embedding set storage plain;

-- name: drop_vectors!
-- A generation that nobody reads any more.
drop table if exists {vectors} cascade;

-- name: delete_generation!
-- Forget a generation whose table is gone.
delete from generations where id = :id;

-- name: count_all_chunks
-- Chunks and their tokens.
select count(*), coalesce(sum(tokens), 0) from chunks;

-- name: any_vector
-- Whether the generation has any vector.
select exists (select from {vectors});

-- name: is_reembedding
-- Whether anybody moves the corpus to another space just now.
select exists (
    select from pg_locks l
    where l.locktype = 'advisory' and l.granted and l.objsubid = 2
      and l.classid = :lock_class::bigint and l.objid = :lock_id::bigint
      and l.database = (select oid from pg_database where datname = current_database()));
