-- Documents that were pushed: each collection that has any has a source of its own for them, whose root is no folder.
alter table sources add column kind text not null default 'folder' check (kind in ('folder', 'pushed'));
create unique index sources_pushed on sources (collection_id) where kind = 'pushed';

-- What was pushed, as it came: the flow makes the document of it, and makes it anew when another recipe wants that. The
-- id is the document's from the beginning. What became of it stands in the ledger and nowhere else: no row there,
-- it waits.
create table pushes (
    id bigint primary key,
    source_id integer not null references sources,
    path text not null,
    title text not null,
    name text not null,
    metadata jsonb not null,
    content bytea not null,
    content_hash bytea not null,
    pushed_at timestamptz not null default clock_timestamp(),
    unique (source_id, path)
);
