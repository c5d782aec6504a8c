-- How many line ends before a place of a text are two characters in its file: those in the parts that are given.
create or replace function crlf_before(stored text, crlf int4multirange, place integer) returns integer
language sql immutable strict parallel safe
return (select coalesce(sum(length(part) - length(replace(part, E'\n', ''))), 0)::integer
        from unnest(crlf * int4multirange(int4range(0, place))) as lines,
             substr(stored, lower(lines) + 1, upper(lines) - lower(lines)) as part);
