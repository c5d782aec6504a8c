-- name: copy_vectors!
-- New vectors.
copy {segment} (chunk_id, collection_id, embedding) from stdin (format binary);

-- name: place_vectors
-- New vectors by the hash of the text as embedded: every chunk that has the text and lacks its vector gets it. A
-- chunk that a sync deletes just now is passed over, for two that wait for each other's rows could deadlock. What no
-- chunk could take is kept: it is paid for.
with embedded as (
    select * from unnest(:hashes::bytea[], :embeddings::{type}[]) as t (hash, embedding)
), taking as (
    select c.id, c.collection_id, c.hash, g.embedding
    from embedded g join chunks c on c.hash = g.hash
    where not exists (select from {vectors} v where v.chunk_id = c.id)
    for key share of c skip locked
), placed as (
    insert into {segment} (chunk_id, collection_id, embedding)
    select id, collection_id, embedding from taking
    on conflict (chunk_id) do nothing
    returning chunk_id
), retained as (
    insert into retained_vectors (space_id, hash, {retained})
    select (select space_id from generations where id = :generation), g.hash, g.embedding
    from embedded g
    where not exists (select from taking where taking.hash = g.hash)
    on conflict (space_id, hash) do update set retained_at = now()
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
        (select k.{retained} from retained_vectors k
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
    delete from retained_vectors k using known f
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
where not exists (select from retained_vectors k where k.hash = t.hash and k.space_id = :space_id::integer)
  and not exists (select from embedding_batch_texts w
                  where w.hash = t.hash and w.space_id = :space_id::integer and w.state = 'open');

-- name: forecast_lacking_texts
-- The same of a generation that has vectors already.
select count(*), coalesce(sum(t.tokens), 0)
from (select c.hash, min(c.tokens) as tokens
      from chunks c left join {vectors} v on v.chunk_id = c.id
      group by c.hash
      having count(v.chunk_id) = 0) t
where not exists (select from retained_vectors k where k.hash = t.hash and k.space_id = :space_id::integer)
  and not exists (select from embedding_batch_texts w
                  where w.hash = t.hash and w.space_id = :space_id::integer and w.state = 'open');

-- name: reuse_vectors
-- Vectors of texts by the hash of the text as embedded, in this generation's space only: those of stored chunks, and
-- those that are kept.
select distinct on (hash) hash, embedding
from (select c.hash, v.embedding, 0 as rank
      from chunks c join {vectors} v on v.chunk_id = c.id
      where c.hash = any(:hashes)
      union all
      select k.hash, k.{retained}, 1
      from retained_vectors k
      where k.hash = any(:hashes) and k.space_id = (select space_id from generations where id = :generation)) supply
order by hash, rank;

-- name: retain_vectors_of_chunks!
-- Vectors of chunks that are about to go.
insert into retained_vectors (space_id, hash, {retained})
select distinct on (c.hash) g.space_id, c.hash, v.embedding
from chunks c
join {vectors} v on v.chunk_id = c.id
join generations g on g.id = :generation
where c.id = any(:ids)
on conflict (space_id, hash) do update set retained_at = now();

-- name: retain_vectors_of_documents!
-- Vectors of documents that are about to go.
insert into retained_vectors (space_id, hash, {retained})
select distinct on (c.hash) g.space_id, c.hash, v.embedding
from documents d
join chunks c on c.document_id = d.id
join {vectors} v on v.chunk_id = c.id
join generations g on g.id = :generation
where d.source_id = :source_id and d.path = any(:paths)
on conflict (space_id, hash) do update set retained_at = now();

-- name: retain_vector!
-- A vector that is paid for and whose document is not stored yet.
insert into retained_vectors (space_id, hash, {retained})
select space_id, :hash, :embedding from generations where id = :generation
on conflict (space_id, hash) do update set retained_at = now();

-- name: release_vectors!
-- Kept vectors whose chunks are stored now, in the order of hashes: no two that delete wait for each other in a circle.
with released as materialized (
    select space_id, hash from retained_vectors
    where hash = any(:hashes) and space_id = (select space_id from generations where id = :generation)
    order by hash
    for update
)
delete from retained_vectors k using released r where k.space_id = r.space_id and k.hash = r.hash;

-- name: expire_vectors!
-- Vectors that were kept long enough; none as long as a batch is at work, whose other texts a document may wait for.
delete from retained_vectors
where retained_at < now() - make_interval(days => :days)
  and not exists (select from embedding_batches where state in ('preparing', 'uploaded', 'handed_in'));

-- name: count_missing_vectors
-- How many chunks this generation lacks, and how many tokens they are.
select count(*), coalesce(sum(c.tokens), 0)
from chunks c
where not exists (select from {vectors} v where v.chunk_id = c.id);
