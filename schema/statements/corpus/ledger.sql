-- name: move_documents!
-- New paths of files that were moved.
update documents d
set path = t.new_path, synced_at = now()
from unnest(:paths::text[], :new_paths::text[]) as t (path, new_path)
where d.source_id = :source_id and d.path = t.path;

-- name: delete_documents!
-- Documents that are gone, with their chunks and vectors.
delete from documents where source_id = :source_id and path = any(:paths);

-- name: load_ledger
-- All that is known of a source's files, in the order of LedgerEntry's fields.
select path, device, inode, size, mtime_ns, ctime_ns, content_hash, processing_fingerprint, state, document_id, chunk_count,
       stage, reason, attempts, retry_at
from ledger
where source_id = :source_id;

-- name: load_ledger_of_folders
-- What is known of the files of some folders, and of the files in quarantine wherever they are.
select path, device, inode, size, mtime_ns, ctime_ns, content_hash, processing_fingerprint, state, document_id, chunk_count,
       stage, reason, attempts, retry_at
from ledger
where source_id = :source_id
  and (folder = any(:folders) or state = 'failed' or (state = 'skipped' and retry_at <= now()));

-- name: count_skipped
-- How many files of each folder are none that we read.
select folder, count(*)::integer from ledger where source_id = :source_id and state = 'skipped' group by folder;

-- name: load_folders
-- Every folder that the ledger names, with the digest of its listing where it is settled.
select folder, digest from folders where source_id = :source_id;

-- name: mark_folders_settled!
-- The ledger is what a crawl lists in these folders.
insert into folders (source_id, folder, digest, files)
select :source_id, * from unnest(:folders::text[], :digests::bytea[], :files::integer[])
on conflict (source_id, folder) do update set digest = excluded.digest, files = excluded.files;

-- name: unsettle_folders!
-- Folders whose rows are about to be written to, by several at once: none of them waits for another over it then.
insert into folders (source_id, folder)
select :source_id, folder from unnest(:folders::text[]) f (folder) order by folder
on conflict (source_id, folder) do update set digest = null where folders.digest is not null;

-- name: forget_folders!
-- Folders of which the ledger has no file any more.
delete from folders f
where f.source_id = :source_id and f.digest is null
  and not exists (select from ledger l where l.source_id = f.source_id and l.folder = f.folder);

-- name: upsert_ledger!
-- The rows of one batch, written last in its transaction.
insert into ledger (source_id, path, document_id, device, inode, size, mtime_ns, ctime_ns, content_hash, processing_fingerprint,
                    chunk_count, state)
select :source_id, * , 'ok'
from unnest(:paths::text[], :document_ids::bigint[], :devices::bigint[], :inodes::bigint[], :sizes::bigint[],
            :mtimes::bigint[], :ctimes::bigint[], :hashes::bytea[], :processing_fingerprints::text[], :chunk_counts::integer[])
on conflict (source_id, path) do update
set document_id = excluded.document_id, device = excluded.device, inode = excluded.inode, size = excluded.size,
    mtime_ns = excluded.mtime_ns, ctime_ns = excluded.ctime_ns, content_hash = excluded.content_hash,
    processing_fingerprint = excluded.processing_fingerprint, chunk_count = excluded.chunk_count, state = 'ok', stage = '', reason = '',
    attempts = 0, retry_at = null, synced_at = now();

-- name: touch_ledger!
-- New stat signatures of files whose content is as it was; 1e9 nanoseconds are a second.
with dated as (
    update documents d
    set updated_at = to_timestamp(t.mtime_ns / 1e9)
    from unnest(:paths::text[], :mtimes::bigint[]) as t (path, mtime_ns)
    where d.source_id = :source_id and d.path = t.path and d.updated_at <> to_timestamp(t.mtime_ns / 1e9)
)
update ledger l
set device = t.device, inode = t.inode, size = t.size, mtime_ns = t.mtime_ns, ctime_ns = t.ctime_ns
from unnest(:paths::text[], :devices::bigint[], :inodes::bigint[], :sizes::bigint[], :mtimes::bigint[],
            :ctimes::bigint[]) as t (path, device, inode, size, mtime_ns, ctime_ns)
where l.source_id = :source_id and l.path = t.path;

-- name: fail_ledger!
-- A file that could not be done: what was stored of it before stays, and stays searchable. What is kept as the
-- content hash is the failed content's, so that it is tried again when it changes; its attempts are counted anew then.
insert into ledger (source_id, path, document_id, device, inode, size, mtime_ns, ctime_ns, content_hash, processing_fingerprint,
                    chunk_count, state, stage, reason, attempts, retry_at)
values (:source_id, :path, null, :device, :inode, :size, :mtime_ns, :ctime_ns, :content_hash, :processing_fingerprint,
        0, 'failed', :stage, :reason, 1,
        case when :transient then now() + make_interval(mins => :retry_minutes) end)
on conflict (source_id, path) do update
set device = excluded.device, inode = excluded.inode, size = excluded.size, mtime_ns = excluded.mtime_ns,
    ctime_ns = excluded.ctime_ns, content_hash = excluded.content_hash, processing_fingerprint = excluded.processing_fingerprint,
    state = 'failed', stage = excluded.stage, reason = excluded.reason,
    attempts = case when ledger.content_hash <> excluded.content_hash then 1 else ledger.attempts + 1 end,
    retry_at = case
        when not :transient then null
        when ledger.content_hash <> excluded.content_hash then now() + make_interval(mins => :retry_minutes)
        when ledger.attempts + 1 >= :tries then null
        else now() + make_interval(mins => :retry_minutes * (2 ^ least(ledger.attempts, :max_doublings))::integer)
    end;

-- name: skip_ledger!
-- A file that is none of ours, and of which nothing is stored.
insert into ledger (source_id, path, document_id, device, inode, size, mtime_ns, ctime_ns, content_hash, processing_fingerprint,
                    chunk_count, state, stage, reason, retry_at)
values (:source_id, :path, null, :device, :inode, :size, :mtime_ns, :ctime_ns, :content_hash, :processing_fingerprint,
        0, 'skipped', 'extract', :reason, case when :transient then now() + make_interval(mins => :retry_minutes) end)
on conflict (source_id, path) do update
set device = excluded.device, inode = excluded.inode, size = excluded.size, mtime_ns = excluded.mtime_ns,
    ctime_ns = excluded.ctime_ns, content_hash = excluded.content_hash, processing_fingerprint = excluded.processing_fingerprint,
    state = 'skipped', stage = excluded.stage, reason = excluded.reason, attempts = 0, retry_at = excluded.retry_at;

-- name: retry_embedding!
-- What one model refused another may take.
update ledger set retry_at = now() where state = 'failed' and stage = 'embed';

-- name: forget_ledger!
-- Rows of files that are gone.
delete from ledger where source_id = :source_id and path = any(:paths);

-- name: move_ledger!
-- New paths and signatures of files that were moved.
update ledger l
set path = t.new_path, device = t.device, inode = t.inode, size = t.size, mtime_ns = t.mtime_ns,
    ctime_ns = t.ctime_ns
from unnest(:paths::text[], :new_paths::text[], :devices::bigint[], :inodes::bigint[], :sizes::bigint[],
            :mtimes::bigint[], :ctimes::bigint[]) as t (path, new_path, device, inode, size, mtime_ns, ctime_ns)
where l.source_id = :source_id and l.path = t.path;

-- name: count_chunks
-- Documents and chunks of a source, as the ledger has them.
select count(*), coalesce(sum(chunk_count), 0) from ledger where source_id = :source_id and document_id is not null;

-- name: ledger_of_paths
-- What the ledger knows of these files.
select path, device, inode, size, mtime_ns, ctime_ns, content_hash, processing_fingerprint, state, document_id, chunk_count,
       stage, reason, attempts, retry_at
from ledger where source_id = :source_id and path = any(:paths);
