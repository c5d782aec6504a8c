-- name: repair_ledger_path!
-- The ledger gets its document's path.
update ledger l
set path = d.path, processing_fingerprint = '',
    content_hash = case when l.state = 'ok' then d.content_hash else l.content_hash end
from documents d
where l.source_id = :source_id and l.path = :path and d.id = :document_id
  and not exists (select from ledger o where o.source_id = d.source_id and o.path = d.path);

-- name: repair_ledger!
-- What the ledger must say of these documents; the next sync makes them anew, for none has this fingerprint. Rows that
-- are not there are made. That of a file that failed keeps what it says of the failed content.
insert into ledger (source_id, path, document_id, device, inode, size, mtime_ns, ctime_ns, content_hash, processing_fingerprint,
                    chunk_count, state)
select d.source_id, d.path, d.id, 0, 0, 0, 0, 0, d.content_hash, '',
       (select count(*) from chunks c where c.document_id = d.id), 'ok'
from documents d
where d.id = any(:ids)
on conflict (source_id, path) do update
set document_id = excluded.document_id, processing_fingerprint = '',
    content_hash = case when ledger.state = 'ok' then excluded.content_hash else ledger.content_hash end;

-- name: forget_missing!
-- Rows whose document is not there: to the next sync the file is new.
delete from ledger l
using unnest(:source_ids::integer[], :paths::text[]) as t (source_id, path)
where l.source_id = t.source_id and l.path = t.path;

-- name: repair_chunk_contents!
-- Chunks whose text is the document's again.
update chunks c set content = t.content
from unnest(:ids::bigint[], :contents::text[]) as t (id, content)
where c.id = t.id;

-- name: delete_vectors!
-- Vectors that are of no use.
delete from {vectors} where chunk_id = any(:ids);

-- name: delete_all_vectors!
-- Of a model that makes others by now.
delete from {vectors};

-- name: forget_vectors_of_model!
-- Kept ones of the same.
delete from retained_vectors k using spaces s
where s.id = k.space_id and s.provider = :provider and s.model = :model;

-- name: read_chunks_without_document
-- Chunks whose document is gone, to tell whether their vectors can be kept.
select document_id, id, title, heading, content, start_at as start, end_at as end, hash
from chunks where id = any(:ids);

-- name: forget_retained_vectors!
-- Kept vectors that cannot be used.
delete from retained_vectors k using spaces s
where s.id = k.space_id
  and (coalesce(vector_dims(k.embedding), vector_dims(k.full_embedding)) <> s.dimensions
       or coalesce(l2_norm(k.embedding), vector_norm(k.full_embedding)) = 0);

-- name: repair_dimensions!
-- The column as the generation's table is made, once no vector of other dimensions is left in it.
alter table {vectors} alter column embedding type {type}({dimensions});

-- name: drop_index_aside!
-- Without holding up searches: outside of any transaction.
drop index concurrently if exists {index};

-- name: drop_lexemes_index!
-- Before it is built anew.
drop index if exists chunks_lexemes;

-- name: create_lexemes_index!
-- As the first migration makes it.
create index if not exists chunks_lexemes on chunks using gin (lexemes);
