-- name: defined_functions
-- The text that each function was defined from, by its digest, and by which version. Of one that a migration dropped
-- since there is none. Looked up one by one: joined, PostgreSQL read all of pg_proc, 2 ms instead of 0.3.
select f.name, f.digest, f.version
from functions f
where exists (select from pg_proc p where p.proname = f.name::name and pg_function_is_visible(p.oid) offset 0);

-- name: function_defined!
-- From now on it has this text.
insert into functions (name, digest, version)
values (:name, :digest, :version)
on conflict (name) do update
set digest = excluded.digest, version = excluded.version, defined_at = now();

-- name: tables_in_the_way
-- Those of these tables that are there already; other schemas may have the same.
select n from unnest(:names::text[]) with ordinality as t (n, place) where to_regclass(quote_ident(current_schema()) || '.' || quote_ident(n)) is not null order by place;

-- name: own_table
-- Whether the schema in use has this table.
select to_regclass(quote_ident(current_schema()) || '.' || quote_ident(:name)) is not null;

-- name: other_schema_with
-- Another schema of search_path that has a table of this name.
select n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relname = :name and n.nspname = any(current_schemas(false)) and n.nspname <> current_schema();
