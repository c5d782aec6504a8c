-- Whether a source's documents are in its collection is looked up at every sync: its ends, and not each document.
create index documents_source_collection on documents (source_id, collection_id);
