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

-- name: generation_notes
-- What was measured of each generation, and since and until when a retired one is kept.
select id, measured, retired_at, retired_at + make_interval(days => :days) from generations;

-- name: lock_reembed
-- True when no other session moves the corpus: 6776174 is "gen".
select pg_try_advisory_lock(6776174, 1);

-- name: unlock_reembed
-- Another may now.
select pg_advisory_unlock(6776174, 1);

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

-- name: copy_vectors!
-- New vectors.
copy {segment} (chunk_id, collection_id, embedding) from stdin (format binary);

-- name: place_vectors
-- New vectors by the hash of the text as embedded: every chunk that has the text and lacks its vector gets it. A
-- chunk that a sync deletes just now is passed over, for two that wait for each other's rows could deadlock. What no
-- chunk could take is kept: it is paid for.
with given as (
    select * from unnest(:hashes::bytea[], :embeddings::{type}[]) as t (hash, embedding)
), chosen as (
    select c.id, c.collection_id, c.hash, g.embedding
    from given g join chunks c on c.hash = g.hash
    where not exists (select from {vectors} v where v.chunk_id = c.id)
    for key share of c skip locked
), placed as (
    insert into {segment} (chunk_id, collection_id, embedding)
    select id, collection_id, embedding from chosen
    on conflict (chunk_id) do nothing
    returning chunk_id
), kept as (
    insert into kept_vectors (space_id, hash, {kept})
    select (select space_id from generations where id = :generation), g.hash, g.embedding
    from given g
    where not exists (select from chosen where chosen.hash = g.hash)
    on conflict (space_id, hash) do update set kept_at = now()
)
select count(*) from placed;

-- name: place_stored_vectors
-- Chunks of one page that lack a vector and whose text has one, stored or kept, in this generation's space: they get
-- it. Answers the page's last id, or null after the last page, and how many got one. The page is taken before its
-- vectors are looked up: in one, PostgreSQL read all vectors for each page, 40 s instead of 2 s for 300,000 chunks.
with page as materialized (
    select id from chunks where id > :after order by id limit :limit
), lacking as (
    select c.id, c.collection_id, c.hash
    from page p join chunks c on c.id = p.id
    where not exists (select from {vectors} v where v.chunk_id = c.id)
    for key share of c skip locked
), known as (
    select t.hash, coalesce(
        (select v.embedding from chunks o join {vectors} v on v.chunk_id = o.id where o.hash = t.hash limit 1),
        (select k.{kept} from kept_vectors k
         where k.hash = t.hash and k.space_id = (select space_id from generations where id = :generation))
    ) as embedding
    from (select distinct hash from lacking) t
), placed as (
    insert into {segment} (chunk_id, collection_id, embedding)
    select l.id, l.collection_id, k.embedding
    from lacking l join known k on k.hash = l.hash
    where k.embedding is not null
    on conflict (chunk_id) do nothing
    returning chunk_id
), released as (
    delete from kept_vectors k using known f
    where k.hash = f.hash and f.embedding is not null
      and k.space_id = (select space_id from generations where id = :generation)
)
select (select max(id) from page), (select count(*) from placed);

-- name: take_vectors
-- As place_stored_vectors, with the vectors that the same chunks have in another generation.
with page as materialized (
    select id from chunks where id > :after order by id limit :limit
), lacking as (
    select c.id, c.collection_id
    from page p join chunks c on c.id = p.id
    where not exists (select from {vectors} v where v.chunk_id = c.id)
    for key share of c skip locked
), placed as (
    insert into {segment} (chunk_id, collection_id, embedding)
    select l.id, l.collection_id, o.embedding::{type}
    from lacking l join {{other}} o on o.chunk_id = l.id
    on conflict (chunk_id) do nothing
    returning chunk_id
)
select (select max(id) from page), (select count(*) from placed);

-- name: find_space
-- The space's id, if it was ever used.
select id from spaces
where provider = :provider and model = :model and dimensions = :dimensions and shortened = :shortened
  and query_prefix = :query_prefix and document_prefix = :document_prefix and storage = :storage;

-- name: forecast_all_texts
-- Texts that no vector is kept for in a space, each once, and their tokens.
select count(*), coalesce(sum(t.tokens), 0)
from (select distinct on (hash) hash, tokens from chunks) t
where not exists (select from kept_vectors k where k.hash = t.hash and k.space_id = :space_id::integer);

-- name: forecast_lacking_texts
-- The same of a generation that has vectors already.
select count(*), coalesce(sum(t.tokens), 0)
from (select c.hash, min(c.tokens) as tokens
      from chunks c left join {vectors} v on v.chunk_id = c.id
      group by c.hash
      having count(v.chunk_id) = 0) t
where not exists (select from kept_vectors k where k.hash = t.hash and k.space_id = :space_id::integer);

-- name: reuse_vectors
-- Vectors of texts by the hash of the text as embedded, in this generation's space only: those of stored chunks, and
-- those that are kept.
select distinct on (hash) hash, embedding
from (select c.hash, v.embedding, 0 as rank
      from chunks c join {vectors} v on v.chunk_id = c.id
      where c.hash = any(:hashes)
      union all
      select k.hash, k.{kept}, 1
      from kept_vectors k
      where k.hash = any(:hashes) and k.space_id = (select space_id from generations where id = :generation)) found
order by hash, rank;

-- name: keep_vectors_of_chunks!
-- Vectors of chunks that are about to go.
insert into kept_vectors (space_id, hash, {kept})
select distinct on (c.hash) g.space_id, c.hash, v.embedding
from chunks c
join {vectors} v on v.chunk_id = c.id
join generations g on g.id = :generation
where c.id = any(:ids)
on conflict (space_id, hash) do update set kept_at = now();

-- name: keep_vectors_of_documents!
-- Vectors of documents that are about to go.
insert into kept_vectors (space_id, hash, {kept})
select distinct on (c.hash) g.space_id, c.hash, v.embedding
from documents d
join chunks c on c.document_id = d.id
join {vectors} v on v.chunk_id = c.id
join generations g on g.id = :generation
where d.source_id = :source_id and d.path = any(:paths)
on conflict (space_id, hash) do update set kept_at = now();

-- name: keep_vector!
-- A vector that is paid for and whose document is not stored yet.
insert into kept_vectors (space_id, hash, {kept})
select space_id, :hash, :embedding from generations where id = :generation
on conflict (space_id, hash) do update set kept_at = now();

-- name: release_vectors!
-- Kept vectors whose chunks are stored now.
delete from kept_vectors
where hash = any(:hashes) and space_id = (select space_id from generations where id = :generation);

-- name: expire_vectors!
-- Vectors that were kept long enough.
delete from kept_vectors where kept_at < now() - make_interval(days => :days);

-- name: count_missing_vectors
-- How many chunks this generation lacks, and how many tokens they are.
select count(*), coalesce(sum(c.tokens), 0)
from chunks c
where not exists (select from {vectors} v where v.chunk_id = c.id);

-- name: count_all_chunks
-- Chunks and their tokens.
select count(*), coalesce(sum(tokens), 0) from chunks;

-- name: index_state
-- Whether the HNSW index is there and valid, and its size in bytes.
select i.indisvalid, pg_relation_size(i.indexrelid)
from pg_index i join pg_class c on c.oid = i.indexrelid
where c.relname = :name and pg_table_is_visible(c.oid);

-- name: any_vector
-- Whether the generation has any vector.
select exists (select from {vectors});

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

-- name: clean_lexemes
-- Lexemes that wait for their index go into it.
select gin_clean_pending_list('chunks_lexemes');

-- name: analyze_tables!
-- Statistics for the planner, and of how common words are.
analyze documents, chunks, ledger, {vectors};
