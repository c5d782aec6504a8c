-- name: upsert_collection
-- The collection's id, made where it is new.
insert into collections (name) values (:name)
on conflict (name) do update set name = excluded.name
returning id;

-- name: find_source_by_root
-- The source of a folder.
select s.id, s.name, s.root, s.collection_id, c.name, s.include, s.exclude, s.kind
from sources s join collections c on c.id = s.collection_id
where s.root = :root;

-- name: list_sources
-- Every source by name.
select s.id, s.name, s.root, s.collection_id, c.name, s.include, s.exclude, s.kind
from sources s join collections c on c.id = s.collection_id
order by s.name;

-- name: insert_source
-- A new source; its name must be free.
insert into sources (name, root, collection_id, include, exclude)
values (:name, :root, :collection_id, :include, :exclude)
returning id;

-- name: update_source!
-- The rules of a source that stands in the configuration.
update sources
set root = :root, collection_id = :collection_id, include = :include, exclude = :exclude
where id = :id;

-- name: source_synced!
-- All of a source was gone through, and nothing of it is missing.
update sources set synced_at = now() where id = :id;

-- name: has_documents
-- Whether anything is stored at all.
select exists (select from documents);

-- name: raise_fence
-- Of a source that has a new owner: what earlier ones are storing is waited for, and nothing comes after it.
update sources set fence = fence + 1 where id = :id returning fence;

-- name: hold_fence
-- A row if the source's owner is still the one that was given this fence, who stays it until the transaction ends.
select from sources where id = :id and fence = :fence for share;

-- name: any_source_owned
-- Whether a sync runs, of any source.
select exists (
    select from pg_locks l
    where l.locktype = 'advisory' and l.granted and l.objsubid = 2 and l.classid = :lock_class::bigint
      and l.database = (select oid from pg_database where datname = current_database()));

-- name: delete_source!
-- A source with all that is stored of it.
with gone as (delete from documents where source_id = :id), pushed as (delete from pushes where source_id = :id),
     known as (delete from ledger where source_id = :id), seen as (delete from folders where source_id = :id)
delete from sources where id = :id;

-- name: set_blocked_deletions!
-- Removals that wait for an approval; written only where it changes.
update sources set held = :held where id = :id and held is distinct from :held::jsonb;
