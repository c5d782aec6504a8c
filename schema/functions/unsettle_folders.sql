-- The trigger on `ledger`: whatever writes to a folder's rows takes its digest away in `folders`, so that the next sync
-- reads them again. Once a statement, with the rows that it wrote as `changed`.
create or replace function unsettle_folders() returns trigger language plpgsql as $$
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
