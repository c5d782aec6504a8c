-- Text in a language that PostgreSQL has no stemmer for, but whose words have endings: a word is what its first five
-- letters are (migrations/0012_endings.sql has the measurements). Of parted text. What is a letter must not depend on the
-- locale, in some of which no letter beyond ASCII is one.
--
-- The languages are those whose configurations 0012_endings.sql made, and not one that was there before it: a database's
-- own, and named nowhere else than in the function as it is, which depends on them.
do $do$
declare
    made text := (
        select string_agg(format('%L::regconfig', c.cfgname), ', ' order by c.cfgname)
        from pg_depend d
        join pg_ts_config c on c.oid = d.refobjid
        where d.refclassid = 'pg_ts_config'::regclass
          and d.classid = 'pg_proc'::regclass and d.objid = 'prefix_stems(regconfig, text)'::regprocedure);
begin
    execute format($function$
        create or replace function prefix_stems(language regconfig, body text) returns text
        language sql immutable strict parallel safe
        return case when language in (%s)
                    then regexp_replace(body, '([a-zA-Z\u00c0-\u1fff]{5})[a-zA-Z\u00c0-\u1fff]+', '\1', 'g')
                    else body end
    $function$, concat_ws(', ', made, 'null'));
end
$do$;
