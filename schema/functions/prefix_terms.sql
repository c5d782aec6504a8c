-- The first letters of the longer words, each with the star that no other lexeme has: in languages whose words run together
-- or have many endings, a word of more than five letters is found by its first five too (migrations/0013_beginnings.sql
-- has the measurements). Of folded, spaced, parted text. 16383 is the last place that a tsvector can name.
do $do$
declare
    configurations text := (
        select string_agg(format('%L::regconfig', 'pg_catalog.' || cfgname), ', ' order by cfgname)
        from pg_ts_config
        where cfgnamespace = 'pg_catalog'::regnamespace  -- not every version has all of them
          and cfgname in ('armenian', 'basque', 'danish', 'dutch', 'estonian', 'finnish', 'german', 'greek', 'hungarian',
                          'lithuanian', 'norwegian', 'russian', 'serbian', 'swedish', 'turkish'));
begin
    execute format($function$
        create or replace function prefix_terms(language regconfig, body text) returns tsvector
        language sql immutable strict parallel safe
        return case when language in (%s) then (
            select coalesce(string_agg(m[1] || '*:' || least(place, 16383), ' '), '')::tsvector
            from regexp_matches(lower(body), '([a-z\u00c0-\u1fff]{5})[a-z\u00c0-\u1fff]+', 'g')
                 with ordinality as r (m, place))
        else '' end
    $function$, configurations);
end
$do$;
