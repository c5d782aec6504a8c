-- name: schema_of_search_path
-- The schema where tables are made, and pgvector: a role may create what is trusted in a database where it may create.
select current_schema()::text as schema, current_setting('search_path') as search_path, e.extversion as installed,
       a.default_version as offered, n.nspname::text as extension_schema,
       coalesce(n.nspname = any(current_schemas(true)), false) as is_visible,
       (r.rolsuper or coalesce(v.trusted, false) and has_database_privilege(current_database(), 'create')) as may_create_extension
from pg_roles r
left join pg_available_extensions a on a.name = 'vector'
left join pg_available_extension_versions v on v.name = a.name and v.version = a.default_version
left join pg_extension e on e.extname = 'vector'
left join pg_namespace n on n.oid = e.extnamespace
where r.rolname = current_user;
