-- name: reserve_ids
-- Ids for rows that are about to be copied in, so that their children can be copied in the same breath.
select nextval(:sequence::regclass) from generate_series(1, :count);

-- name: copy_documents!
-- New documents.
copy documents (id, source_id, collection_id, path, title, mime, language, owner, content_hash, text, metadata,
                created_at, updated_at, code_blocks, incomplete, file_offset, crlf, pages)
from stdin (format binary);

-- name: copy_chunks!
-- New chunks; PostgreSQL makes their lexemes.
copy chunks (id, document_id, collection_id, ordinal, content, title, heading, page, start_at, end_at, tokens, hash,
             language)
from stdin (format binary);

-- name: update_document!
-- A document whose content changed.
update documents
set title = :title, mime = :mime, language = :language::oid::regconfig, owner = :owner, content_hash = :content_hash,
    text = :text, metadata = :metadata, created_at = :created_at, updated_at = :updated_at,
    code_blocks = :code_blocks, incomplete = :incomplete, file_offset = :file_offset, crlf = :crlf,
    pages = :pages, synced_at = now()
where id = :id;

-- name: reposition_chunks!
-- Chunks whose text is as it was, but stands elsewhere now.
update chunks c
set ordinal = t.ordinal, page = t.page, start_at = t.start_at, end_at = t.end_at
from unnest(:ids::bigint[], :ordinals::integer[], :pages::integer[], :starts::integer[], :ends::integer[])
     as t (id, ordinal, page, start_at, end_at)
where c.id = t.id;

-- name: delete_chunks!
-- Chunks that are no longer in their document; their vectors go with them.
delete from chunks where id = any(:ids);

-- name: text_search_configuration
-- The oid of a text search configuration, as a binary COPY wants it.
select oid from pg_ts_config where cfgname = :language and pg_ts_config_is_visible(oid);
