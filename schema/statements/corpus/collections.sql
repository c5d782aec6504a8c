-- name: is_collected
-- Whether no document of the source is in another collection: seen by two looks into the index, however many there are.
select coalesce(min(collection_id) = :collection_id and max(collection_id) = :collection_id, true)
from documents
where source_id = :source_id;

-- name: collect_documents
-- Some documents of a source that are in another collection than it, moved there.
update documents d set collection_id = :collection_id
from (select id from documents where source_id = :source_id and collection_id <> :collection_id order by id limit :limit) m
where d.id = m.id
returning d.id;

-- name: chunks_of_documents
-- The stored chunks of documents that changed, to keep what is still true of them.
select id, document_id, hash, language::oid, ordinal, page, start_at, end_at
from chunks
where document_id = any(:document_ids)
order by document_id, ordinal;

-- name: repair_chunk_collections!
-- Chunks in their document's collection.
update chunks c set collection_id = d.collection_id
from documents d
where c.id = any(:ids) and d.id = c.document_id;

-- name: repair_vector_collections!
-- Vectors in their document's collection.
update {vectors} v set collection_id = d.collection_id
from chunks c join documents d on d.id = c.document_id
where v.chunk_id = any(:ids) and c.id = v.chunk_id;
