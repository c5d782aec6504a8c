-- name: copied_tables
-- Tables of the schema in use, each after those that it refers to, with the columns that are stored and not generated.
-- `portable`: whether every type of them is the same bytes in another database, where a configuration has another number.
with recursive tables as (
    select c.oid, c.relname from pg_class c
    where c.relkind = 'r' and c.relnamespace = (select relnamespace from pg_class where oid = to_regclass('chunks'))
      and c.relname = any(:names)
), refers as (
    select distinct k.conrelid, k.confrelid from pg_constraint k
    join tables a on a.oid = k.conrelid join tables b on b.oid = k.confrelid
    where k.contype = 'f' and k.conrelid <> k.confrelid
), placed (oid, place) as (
    select oid, 0 from tables
    union
    select r.conrelid, p.place + 1 from placed p join refers r on r.confrelid = p.oid
)
select t.relname, array_agg(a.attname order by a.attnum), bool_and(left(a.atttypid::regtype::text, 3) <> 'reg')
from tables t
join (select oid, max(place) as place from placed group by oid) p on p.oid = t.oid
join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
group by t.relname, p.place
order by p.place, t.relname;

-- name: foreign_relations
-- What else the schema in use has.
select c.relname from pg_class c
where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f') and c.relname <> all(:names)
  and not exists (select from pg_depend d where d.objid = c.oid and d.classid = 'pg_class'::regclass and d.deptype = 'e')
order by c.relname;

-- name: sequence_positions
-- How far the numbers of each sequence are; null where none was given.
select sequencename, last_value from pg_sequences where schemaname = current_schema();

-- name: set_sequence
-- The next number is the one after this.
select setval(to_regclass(quote_ident(:name)), :last);

-- name: tuned_build
-- What a generation's index was tuned to; null where it was not.
select m, ef_construction from generations where id = :id;

-- name: nearest_to_first
-- The chunk whose vector is the nearest to that of the first one: itself, or one with the same vector.
select v.embedding <=> f.embedding from {vectors} v, (select embedding from {vectors} order by chunk_id limit 1) f
order by v.embedding <=> f.embedding limit 1;
