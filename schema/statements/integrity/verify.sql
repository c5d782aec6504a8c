-- name: verify_size
-- What there is to verify.
select (select count(*) from sources) as sources, (select count(*) from ledger) as ledger,
       (select count(*) from documents) as documents, (select count(*) from chunks) as chunks;

-- name: verify_syncing
-- Sources that a sync owns just now; their first load has no index yet.
select s.name
from sources s
join pg_locks l on l.locktype = 'advisory' and l.classid = :lock_class::bigint and l.objid = s.id and l.granted
join pg_database d on d.oid = l.database and d.datname = current_database()
order by s.name;

-- name: verify_ledger
-- Ledger and documents, each without the other or saying another thing. Of a file that failed the ledger has the
-- failed content's hash. The columns of this and of the next ones are those of Finding.
with compared as (
    select coalesce(l.source_id, d.source_id) as source_id, coalesce(l.path, d.path) as path, d.id,
           m.path as document_path,
           case
               when d.id is null and m.path is not null then 'ledger_path'
               when d.id is null and (l.state = 'ok' or l.document_id is not null) then 'document_missing'
               when l.path is null then 'ledger_missing'
               when l.document_id is distinct from d.id then 'ledger_document'
               when l.state = 'ok' and l.content_hash is distinct from d.content_hash then 'ledger_hash'
           end as kind,
           l.document_id
    from ledger l
    full join documents d on d.source_id = l.source_id and d.path = l.path
    left join documents m on d.id is null and m.id = l.document_id and m.source_id = l.source_id
        and not exists (select from ledger o where o.source_id = m.source_id and o.path = m.path)
)
select t.kind, s.id as source_id, s.name as source, t.path, coalesce(t.id, t.document_id) as document_id,
       coalesce(t.document_path, t.id::text) as expected, t.document_id::text as found
from compared t
join sources s on s.id = t.source_id
where t.kind is not null
  and not (t.kind = 'ledger_missing' and exists (
      select from compared o where o.kind = 'ledger_path' and o.source_id = t.source_id and o.document_path = t.path))
order by s.name, t.path;

-- name: verify_counts
-- Documents with another number of chunks than the ledger expects, or whose chunks are not numbered 0, 1, 2, ...
select case when l.chunk_count <> coalesce(c.stored, 0) then 'chunk_count' else 'chunk_order' end as kind,
       s.id as source_id, s.name as source, d.path, d.id as document_id,
       l.chunk_count::text as expected, coalesce(c.stored, 0)::text as found
from documents d
join sources s on s.id = d.source_id
left join ledger l on l.source_id = d.source_id and l.path = d.path
left join (select document_id, count(*) as stored, count(distinct ordinal) as ordinals,
                  min(ordinal) as lowest, max(ordinal) as highest
           from chunks group by document_id) c on c.document_id = d.id
where l.chunk_count <> coalesce(c.stored, 0)
   or (c.lowest, c.highest, c.ordinals) is distinct from (0, c.stored - 1, c.stored) and c.stored > 0
order by s.name, d.path;

-- name: verify_chunk_rows
-- Chunks without a document, or in another collection than their document.
select case when d.id is null then 'chunk_without_document' else 'chunk_collection' end as kind,
       s.id as source_id, s.name as source, d.path, c.document_id, c.id as chunk_id,
       d.collection_id::text as expected, c.collection_id::text as found
from chunks c
left join documents d on d.id = c.document_id
left join sources s on s.id = d.source_id
where d.id is null or d.collection_id <> c.collection_id
order by c.id;

-- name: verify_document_sizes
-- The next documents by id, with the bytes of their text, which is not read for that.
select id, octet_length(text) from documents where id > :after order by id limit :limit;

-- name: export_snapshot
-- What this transaction sees, by a name that others can use.
select pg_export_snapshot();

-- name: use_snapshot!
-- Before anything else of the transaction.
set transaction snapshot {snapshot};

-- name: verify_texts
-- Documents with their text, to compare their chunks with.
select d.id, d.source_id, s.name as source, d.path, d.title, d.text
from documents d join sources s on s.id = d.source_id
where d.id between :first and :last
order by d.id;

-- name: verify_chunks
-- The chunks of these documents.
select document_id, id, title, heading, content, start_at as start, end_at as end, hash
from chunks
where document_id between :first and :last
order by document_id, ordinal, id;

-- name: verify_vectors
-- Vectors that no search finds or that it finds wrongly.
select case
           when c.id is null then 'vector_without_chunk'
           when vector_dims(v.embedding) <> :dimensions then 'vector_dimensions'
           when {norm}(v.embedding) = 0 then 'vector_zero'
           else 'vector_collection'
       end as kind,
       s.id as source_id, s.name as source, d.path, c.document_id, v.chunk_id, :generation_id::integer as generation_id,
       case when vector_dims(v.embedding) <> :dimensions then :dimensions::text else d.collection_id::text end as expected,
       case when vector_dims(v.embedding) <> :dimensions then vector_dims(v.embedding)::text
            else v.collection_id::text end as found
from {vectors} v
left join chunks c on c.id = v.chunk_id
left join documents d on d.id = c.document_id
left join sources s on s.id = d.source_id
where c.id is null or vector_dims(v.embedding) <> :dimensions or {norm}(v.embedding) = 0
   or v.collection_id <> d.collection_id
order by v.chunk_id;

-- name: sample_with_texts
-- Vectors by chance, each with the text that it was made of.
select c.id as chunk_id, c.document_id, s.id as source_id, s.name as source, d.path, d.title, c.heading, c.content,
       c.hash, v.embedding as vector
from (select chunk_id, embedding from {vectors}
      where {norm}(embedding) > 0 and vector_dims(embedding) = :dimensions order by random() limit :count) v
join chunks c on c.id = v.chunk_id
join documents d on d.id = c.document_id
join sources s on s.id = d.source_id
order by c.id;

-- name: verify_missing_vectors
-- Chunks without a vector.
select 'vector_missing' as kind, s.id as source_id, s.name as source, d.path, d.id as document_id, c.id as chunk_id,
       :generation_id::integer as generation_id
from chunks c
join documents d on d.id = c.document_id
join sources s on s.id = d.source_id
where not exists (select from {vectors} v where v.chunk_id = c.id)
order by c.id;

-- name: verify_kept_vectors
-- Vectors kept for reuse that cannot be used.
select 'kept_vector' as kind, s.provider || '/' || s.model as path, s.dimensions::text as expected,
       coalesce(vector_dims(k.embedding), vector_dims(k.full_embedding))::text as found
from retained_vectors k join spaces s on s.id = k.space_id
where coalesce(vector_dims(k.embedding), vector_dims(k.full_embedding)) <> s.dimensions
   or coalesce(l2_norm(k.embedding), vector_norm(k.full_embedding)) = 0;

-- name: verify_tables
-- Every table of vectors by name.
select relname
from pg_class
where relkind = 'r' and relname ~ '^vectors_[0-9]+$' and pg_table_is_visible(oid)
order by relname;

-- name: verify_index
-- An index by name: its table, whether searches can use it, its access method, its first column or expression and
-- that one's operator class.
select t.relname, i.indisvalid and i.indisready and i.indislive, m.amname,
       coalesce(a.attname, pg_get_indexdef(i.indexrelid, 1, true)), o.opcname
from pg_index i
join pg_class c on c.oid = i.indexrelid
join pg_class t on t.oid = i.indrelid
join pg_am m on m.oid = c.relam
join pg_opclass o on o.oid = i.indclass[0]
left join pg_attribute a on a.attrelid = t.oid and a.attnum = i.indkey[0]
where c.relname = :name and pg_table_is_visible(c.oid);

-- name: index_on_its_way
-- Whether an index is there by now or is being built, seen past the transaction's snapshot.
select to_regclass(:name) is not null or exists (
    select from pg_stat_progress_create_index p join pg_class c on c.oid = p.relid
    where p.datname = current_database() and c.relname = :table);
