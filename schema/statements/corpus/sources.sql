-- name: upsert_collection
-- The collection's id, made where it is new.
insert into collections (name) values (:name)
on conflict (name) do update set name = excluded.name
returning id;

-- name: find_source_by_root
-- The source of a folder.
select s.id, s.name, s.root, s.collection_id, c.name, s.include, s.exclude, s.kind, s.configured, s.unreachable_since,
       s.processing, s.processed_by
from sources s join collections c on c.id = s.collection_id
where s.root = :root;

-- name: list_sources
-- Every source by name.
select s.id, s.name, s.root, s.collection_id, c.name, s.include, s.exclude, s.kind, s.configured, s.unreachable_since,
       s.processing, s.processed_by
from sources s join collections c on c.id = s.collection_id
order by s.name;

-- name: insert_source
-- A new source; its name must be free.
insert into sources (name, root, collection_id, include, exclude, kind)
values (:name, :root, :collection_id, :include, :exclude, :kind)
returning id;

-- name: update_source!
-- The rules of a source that stands in the configuration.
update sources
set root = :root, collection_id = :collection_id, include = :include, exclude = :exclude
where id = :id;

-- name: rename_source!
-- Its documents stay as they are.
update sources set name = :name where id = :id;

-- name: move_source!
-- The same files are elsewhere.
update sources set root = :root, kind = :kind, unreachable_since = null where id = :id;

-- name: set_configured!
-- Whether the settings name it.
update sources set configured = :configured where id = :id;

-- name: source_unreachable!
-- It cannot be reached, now and perhaps before.
update sources set unreachable_since = coalesce(unreachable_since, now()) where id = :id;

-- name: source_reached!
-- It can be reached.
update sources set unreachable_since = null where id = :id and unreachable_since is not null;

-- name: set_processing!
-- By which settings its chunks are made from now on, and on which machine.
update sources set processing = :processing, processed_by = :processed_by
where id = :id and (processing, processed_by) is distinct from (:processing, :processed_by);

-- name: drop_empty_collections!
-- Collections of no source, no document and no key.
delete from collections c
where not exists (select from sources s where s.collection_id = c.id)
  and not exists (select from documents d where d.collection_id = c.id)
  and not exists (select from api_keys k where k.revoked_at is null and c.id = any(k.collections));

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

-- name: list_blocked_deletions
-- Removals that wait for an approval, of these sources.
select name, (held->>'count')::integer, array(select jsonb_array_elements_text(held->'paths')), held->>'reason'
from sources
where id = any(:ids::integer[]) and held is not null
order by name;
