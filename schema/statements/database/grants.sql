-- name: schema_in_use
-- Where our tables are, whose they are, the database, and the server's version.
select n.nspname, pg_get_userbyid(c.relowner), current_database(), current_setting('server_version_num')::integer
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.oid = to_regclass('chunks');

-- name: relations_of_schema
-- Tables and sequences in the schema of our tables, by name; of a sequence the table that it belongs to.
select c.relname, c.relkind = 'S',
       (select t.relname from pg_depend d join pg_class t on t.oid = d.refobjid
        where d.objid = c.oid and d.classid = 'pg_class'::regclass and d.deptype in ('a', 'i') and d.refobjsubid > 0)
from pg_class c
where c.relnamespace = (select relnamespace from pg_class where oid = to_regclass('chunks')) and c.relkind in ('r', 'S')
order by c.relname;

-- name: functions_of_schema
-- Ours, by their signatures.
select p.proname, quote_ident(p.proname) || '(' || pg_get_function_identity_arguments(p.oid) || ')'
from pg_proc p
where p.pronamespace = (select relnamespace from pg_class where oid = to_regclass('chunks')) and p.proname = any(:names)
order by p.proname;

-- name: owns_schema
-- Whether this role has the rights of whoever owns our tables, as it takes to change them; null where there are none.
select pg_has_role(relowner, 'usage') from pg_class where oid = to_regclass(quote_ident(current_schema()) || '.' || quote_ident('_yoyo_migration'));
