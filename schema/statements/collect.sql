-- name: is_collected
-- Whether no document of the source is in another collection: told by two looks into the index, however many there are.
select coalesce(min(collection_id) = :collection_id and max(collection_id) = :collection_id, true)
from documents
where source_id = :source_id;

-- name: collect_documents
-- Some documents of a source that are in another collection than it, moved there.
update documents d set collection_id = :collection_id
from (select id from documents where source_id = :source_id and collection_id <> :collection_id order by id limit :most) m
where d.id = m.id
returning d.id;
