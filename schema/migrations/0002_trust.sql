-- What a sync needs to be quick at doing nothing, to pay for a vector once, and to keep within a key's limits.

alter table ledger add column folder text not null generated always as (regexp_replace(path, '[^/]*$', '')) stored;
create index ledger_folder on ledger (source_id, folder);
create index ledger_failed on ledger (source_id) where state = 'failed';

-- Every folder that the ledger names, with the digest of what a crawl lists there while that is exactly what the
-- ledger has: such a folder's rows need not be read. Whatever writes to the ledger takes the digest away.
create table folders (
    source_id integer not null references sources,
    folder text not null,
    digest bytea,
    files integer not null default 0,
    primary key (source_id, folder)
);
insert into folders (source_id, folder) select distinct source_id, folder from ledger;

create function unsettle_folders() returns trigger language plpgsql as $$
begin
    if not exists (select from changed) then
        return null;
    end if;
    insert into folders (source_id, folder)
    select distinct c.source_id, c.folder from changed c
    where not exists (select from folders f
                      where f.source_id = c.source_id and f.folder = c.folder and f.digest is null)
    on conflict (source_id, folder) do update set digest = null;
    return null;
end
$$;
create trigger ledger_inserted after insert on ledger referencing new table as changed
    for each statement execute function unsettle_folders();
create trigger ledger_updated after update on ledger referencing new table as changed
    for each statement execute function unsettle_folders();
create trigger ledger_moved after update on ledger referencing old table as changed
    for each statement execute function unsettle_folders();
create trigger ledger_deleted after delete on ledger referencing old table as changed
    for each statement execute function unsettle_folders();

-- Vectors that are paid for and that no chunk has now: of documents that went, of texts that changed, of documents
-- that could not be finished. By the hash of the text as embedded, each in its own space, for a limited time.
create table kept_vectors (
    space_id integer not null references spaces on delete cascade,
    hash bytea not null,
    embedding halfvec not null,
    kept_at timestamptz not null default now(),
    primary key (space_id, hash)
);
create index kept_vectors_age on kept_vectors (kept_at);

-- What workers that share a key and a model have used of its limits: the limiter's own numbers.
create table rate_limits (
    name text primary key,
    state double precision[] not null,
    updated_at timestamptz not null default now()
);
