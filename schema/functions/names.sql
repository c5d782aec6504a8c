-- Names that are more than a word: identifiers, file names, paths, addresses, versions, compounds; in lower case, a path
-- whole and each of its parts that is such a name, of 4 to 200 letters; and what an ampersand joins, whose halves may be stop
-- words (AT&T). Of folded, spaced text.
create or replace function names(body text) returns text[] language sql immutable strict parallel safe
return array(select lower(m[1]) from regexp_matches(body, '\w+(?:[-.]+\w+)+|[[:alnum:]]*_\w+', 'g') m
             where length(m[1]) between 4 and 200)
    || case when body ~ '\w[/:@#]' then array(
           select lower(m[1]) from regexp_matches(body, '\w+(?:[-./:@#]+\w+)*[/:@#]+\w+(?:[-./:@#]+\w+)*', 'g') m
           where length(m[1]) between 4 and 200) end
    || case when body ~ '[[:alpha:]]&[[:alpha:]]' then array(
           select lower(m[1]) from regexp_matches(body, '[[:alpha:]]+(?:&[[:alpha:]]+)+', 'g') m
           where length(m[1]) between 3 and 200) end;
