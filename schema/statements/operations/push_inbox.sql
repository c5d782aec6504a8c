-- name: permitted_collections
-- Those that a limited key may see; two are enough to know whether there is but one.
select id, name from collections where id = any(:permitted::integer[]) order by name limit 2;

-- name: make_collection!
-- A collection that is new, for who may see all; none for anybody else.
insert into collections (name)
select :name where :permitted::integer[] is null
on conflict (name) do nothing;

-- name: find_pushed_source
-- The source of what is pushed into a collection.
select id from sources
where kind = 'pushed' and collection_id = :collection_id
  and (:permitted::integer[] is null or collection_id = any(:permitted::integer[]));

-- name: make_pushed_source!
-- That source, where it is new. No folder's name has a slash; a folder may be called "pushed" already.
insert into sources (name, root, collection_id, kind)
select case when c.name = 'pushed' and not exists (select from sources where name = 'pushed') then 'pushed'
            else 'pushed/' || c.name end,
       'pushed:' || c.name, c.id, 'pushed'
from collections c
where c.id = :collection_id and (:permitted::integer[] is null or c.id = any(:permitted::integer[]))
on conflict do nothing;

-- name: insert_push
-- What was pushed, under a path that is made of its id: nothing of the client's name is in it but a plain suffix.
with reserved as (select nextval('documents_id_seq') as id)
insert into pushes (id, source_id, path, title, name, metadata, content, content_hash)
select r.id, s.id, r.id::text || :suffix, :title, :name, :metadata::jsonb, :content, sha256(:content)
from reserved r, sources s
where s.id = :source_id and (:permitted::integer[] is null or s.collection_id = any(:permitted::integer[]))
returning id;

-- name: notify_pushed
-- Wakes who listens, when the transaction ends.
select pg_notify('pgfolio_pushed', '');

-- name: get_push
-- A push that is no document yet, and why not.
select p.id, s.name as source, p.path, coalesce(nullif(p.title, ''), p.name) as title, k.name as collection,
       encode(p.content_hash, 'hex') as content_hash, coalesce(l.state, 'pending') as state, p.metadata, p.pushed_at,
       coalesce(l.reason, '') as reason
from pushes p
join sources s on s.id = p.source_id
join collections k on k.id = s.collection_id
left join ledger l on l.source_id = p.source_id and l.path = p.path
where p.id = :id and (:permitted::integer[] is null or s.collection_id = any(:permitted::integer[]));

-- name: push_state
-- What became of a push: "pending", "ok" or "failed", and why.
select case when l.state = 'ok' and d.id is null then 'pending' else coalesce(l.state, 'pending') end,
       coalesce(l.reason, '')
from pushes p
join sources s on s.id = p.source_id
left join ledger l on l.source_id = p.source_id and l.path = p.path
left join documents d on d.id = p.id
where p.id = :id and (:permitted::integer[] is null or s.collection_id = any(:permitted::integer[]));

-- name: remove_push
-- A push with its document, at once. False: nobody pushed this id.
select remove_push(:id, :permitted::integer[]);

-- name: origin_of_document
-- The source and path of a document that nobody pushed.
select s.name, d.path
from documents d join sources s on s.id = d.source_id
where d.id = :id and (:permitted::integer[] is null or d.collection_id = any(:permitted::integer[]));
