-- What an ampersand joins is found as a name: of "AT&T" both halves are stop words. The functions are
-- those of functions/; the lexemes of what holds such a name are made anew.

create or replace function names(body text) returns text[] language sql immutable strict parallel safe
return array(select lower(m[1]) from regexp_matches(body, '\w+(?:[-.]+\w+)+|[[:alnum:]]*_\w+', 'g') m
             where length(m[1]) between 4 and 200)
    || case when body ~ '\w[/:@#]' then array(
           select lower(m[1]) from regexp_matches(body, '\w+(?:[-./:@#]+\w+)*[/:@#]+\w+(?:[-./:@#]+\w+)*', 'g') m
           where length(m[1]) between 4 and 200) end
    || case when body ~ '[[:alpha:]]&[[:alpha:]]' then array(
           select lower(m[1]) from regexp_matches(body, '[[:alpha:]]+(?:&[[:alpha:]]+)+', 'g') m
           where length(m[1]) between 3 and 200) end;

create or replace function lexemes_of(language regconfig, body text) returns tsvector language plpgsql immutable strict parallel safe
set search_path from current as $$
declare
    plain text;
    words text;
    lexemes tsvector;
begin
    body := folded(body);
    plain := spaced(body);
    words := parted(plain);
    lexemes := to_tsvector(language, prefix_stems(language, words)) || prefix_terms(language, words) || array_to_tsvector(names(plain));
    if plain <> body then
        lexemes := lexemes || pairs(body);
    end if;
    return lexemes;
end
$$;

update chunks set content = content
where content ~ '[[:alpha:]]&[[:alpha:]]' or heading ~ '[[:alpha:]]&[[:alpha:]]' or title ~ '[[:alpha:]]&[[:alpha:]]';
