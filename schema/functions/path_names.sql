-- What a document can be called by: its path, each shorter end of it, and its file's name without what follows the dot.
-- documents.names is made by it. The first 400 letters of each: a lexeme has room for 2,046 bytes, and a letter
-- may take four.
create or replace function path_names(path text) returns tsvector language sql immutable strict parallel safe
return array_to_tsvector(array(
    select left(name, 400)
    from (select array_to_string(parts[n:], '/') as name
          from (select string_to_array(lower(normalize(path, NFKC)), '/') as parts) p,
               generate_series(1, cardinality(parts)) n
          union all
          select regexp_replace(lower(normalize(path, NFKC)), '^.*/|\.[^./]*$', '', 'g')) names
    where name <> ''));
