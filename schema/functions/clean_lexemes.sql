-- Lexemes that wait beside their index go into it; how many pages they were. With its owner's rights, without which nobody
-- may: of a writer that owns no table, too.
do $do$
begin
    execute format($function$
        create or replace function clean_lexemes() returns bigint
        language plpgsql security definer set search_path = %I, pg_temp as $body$
        begin
            return gin_clean_pending_list('chunks_lexemes');  -- looked up each time: a repair makes the index anew
        end
        $body$
    $function$, current_schema);
end
$do$;
