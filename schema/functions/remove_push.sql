-- A push goes with its document, chunks and vectors; these are kept for a time: pushed again, it costs nothing. False: nobody
-- pushed this id, or it may not be seen. Waits for a flow that is storing it; one that comes later finds nothing to store.
--
-- It has its owner's rights, so that the API's role needs none to documents: it is for whom `pgfolio grants` lets call it.
-- What it names is looked up in its own schema, and in a caller's temporary tables last.
do $do$
begin
    execute format($function$
        create or replace function remove_push(push bigint, permitted integer[]) returns boolean
        language plpgsql security definer set search_path = %I, pg_temp as $body$
        declare
            pushed record;
            active record;
        begin
            delete from pushes p using sources s
            where p.id = push and s.id = p.source_id and (permitted is null or s.collection_id = any(permitted))
            returning p.source_id, p.path into pushed;
            if not found then
                return false;
            end if;
            select g.id, g.space_id, case s.storage when 'vector' then 'full_embedding' else 'embedding' end as retained
            into active
            from generations g join spaces s on s.id = g.space_id where g.state = 'active';
            if found then
                execute format(
                    'insert into retained_vectors (space_id, hash, %%I) select distinct on (c.hash) $1, c.hash, v.embedding '
                    'from chunks c join %%I v on v.chunk_id = c.id where c.document_id = $2 '
                    'on conflict (space_id, hash) do update set retained_at = now()',
                    active.retained, 'vectors_' || active.id) using active.space_id, push;
            end if;
            delete from documents where id = push;
            delete from ledger where source_id = pushed.source_id and path = pushed.path;
            return true;
        end
        $body$
    $function$, current_schema);
    revoke execute on function remove_push(bigint, integer[]) from public;
end
$do$;
