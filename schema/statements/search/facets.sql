-- name: estimate_documents
-- How many documents there are, as the planner believes: no table is read, and nothing is told of it but whether to sample.
select greatest(reltuples, 0)::bigint from pg_class where oid = 'public.documents'::regclass;

-- name: get_facets
-- By what the documents that may be seen can be filtered, with how many have it: all of them, some of them from all over the
-- table, or as many as are read.
with seen as materialized (
    (select d.collection_id, d.source_id, d.mime, d.language::text as language, d.created_at, d.updated_at,
            case when pg_column_size(d.metadata) <= :max_metadata_bytes then d.metadata else jsonb_build_object() end as metadata
     from documents d tablesample system (:percent)
     where :from_sample and (:permitted::integer[] is null or d.collection_id = any(:permitted::integer[]))
     limit :limit)
    union all
    (select d.collection_id, d.source_id, d.mime, d.language::text, d.created_at, d.updated_at,
            case when pg_column_size(d.metadata) <= :max_metadata_bytes then d.metadata else jsonb_build_object() end
     from documents d
     where not :from_sample and (:permitted::integer[] is null or d.collection_id = any(:permitted::integer[]))
       and (:collection_id::integer is null or d.collection_id = :collection_id)
     limit :limit)
), pairs_of_documents as (
    select m.key, v.value, count(*) as documents
    from seen
    cross join lateral jsonb_each(
        case when jsonb_typeof(seen.metadata) = 'object' then seen.metadata else jsonb_build_object() end) m
    cross join lateral (
        select m.value where jsonb_typeof(m.value) in ('string', 'number', 'boolean')
        union
        select e.value from jsonb_array_elements(case when jsonb_typeof(m.value) = 'array' then m.value else jsonb_build_array() end) e
        where jsonb_typeof(e.value) in ('string', 'number', 'boolean')) v
    where length(v.value::text) <= :max_value_characters
    group by m.key, v.value
), keys as (
    select m.key, count(*) as documents
    from seen
    cross join lateral jsonb_each(
        case when jsonb_typeof(seen.metadata) = 'object' then seen.metadata else jsonb_build_object() end) m
    group by m.key order by documents desc, m.key limit :max_values
)
select jsonb_build_object(
    'read', (select count(*) from seen),
    'collections', (select coalesce(jsonb_agg(jsonb_build_object('name', name, 'documents', n) order by n desc, name), '[]')
                    from (select k.name, count(*) as n from seen join collections k on k.id = seen.collection_id
                          group by k.name order by n desc, k.name limit :max_names) f),
    'sources', (select coalesce(jsonb_agg(jsonb_build_object('name', name, 'documents', n) order by n desc, name), '[]')
                from (select s.name, count(*) as n from seen join sources s on s.id = seen.source_id
                      group by s.name order by n desc, s.name limit :max_names) f),
    'types', (select coalesce(jsonb_agg(jsonb_build_object('mime', mime, 'documents', n) order by n desc, mime), '[]')
              from (select mime, count(*) as n from seen group by mime order by n desc, mime limit :max_names) f),
    'languages', (select coalesce(jsonb_agg(jsonb_build_object('name', language, 'documents', n) order by n desc, language), '[]')
                  from (select language, count(*) as n from seen group by language order by n desc, language limit :max_names) f),
    'dates', (select case when count(*) > 0 then jsonb_build_object(
                         'first', min(coalesce(created_at, updated_at)), 'last', max(coalesce(created_at, updated_at))) end
              from seen),
    'metadata', (select coalesce(jsonb_agg(jsonb_build_object(
                            'key', k.key, 'documents', k.documents,
                            'values', (select coalesce(jsonb_agg(jsonb_build_object('value', v.value, 'documents', v.documents)
                                                                 order by v.documents desc, v.value), '[]')
                                       from (select p.value, p.documents from pairs_of_documents p where p.key = k.key
                                             order by p.documents desc, p.value limit :max_values) v))
                        order by k.documents desc, k.key), '[]') from keys k));
