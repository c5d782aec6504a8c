-- Words: documents in several languages, scripts without spaces between words, exact names, and how common words are.
-- Making all lexemes and their index anew takes 0.5 ms a chunk of 380 tokens: eight minutes for a million chunks, during
-- which nobody else can read or write them.

-- Text as it is compared: ligatures, full-width and half-width forms and loose accents as usual letters, soft hyphens
-- left out. Text that has none of these passes in 6 us a kilobyte, where normalize() takes 60.
create function folded(body text) returns text language sql immutable strict parallel safe
return case
    when octet_length(body) = length(body) then body
    when body ~ '[\u00ad\u0300-\u036f\u1100-\u11ff\u2000-\u200f\u3099\u309a\ufb00-\ufb06\uff00-\uffef]'
        then replace(normalize(body, NFKC), U&'\00AD', '')
    else body
end;

-- The text without what stands in letters that have no spaces between words, or, in Hangul, words with their endings:
-- Thai, Lao, Burmese, Khmer, Chinese, Japanese, Korean. Of folded text.
create function spaced(body text) returns text language sql immutable strict parallel safe
return case when octet_length(body) = length(body) then body else regexp_replace(body,
    '[\u0e01-\u0e4f\u0e81-\u0ecf\u1000-\u103f\u1780-\u17d3\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]+',
    ' ', 'g') end;

-- What `spaced` leaves out, as pairs of neighbouring letters; a letter that stands alone is itself. Of folded text.
create function pairs(body text) returns tsvector language sql immutable strict parallel safe
return (
    select coalesce(string_agg(pair || ':' || least(place, 16383), ' '), '')::tsvector
    from (select letter || coalesce(lead(letter) over run, '') as pair,
                 lead(letter) over run is null and at > 1 as over,
                 row_number() over (order by no, at) as place
          from regexp_matches(body,
                   '[\u0e01-\u0e4f\u0e81-\u0ecf\u1000-\u103f\u1780-\u17d3\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]+',
                   'g') with ordinality as r (run, no),
               regexp_split_to_table(r.run[1], '') with ordinality as l (letter, at)
          window run as (partition by no order by at)) p
    where not over
);

-- Names that are more than a word: identifiers, file names, paths, addresses, versions, compounds; in lower case, a path
-- whole and each of its parts that is such a name. Of folded, spaced text.
create function names(body text) returns text[] language sql immutable strict parallel safe
return array(select lower(m[1]) from regexp_matches(body, '\w+(?:[-.]+\w+)+|[[:alnum:]]*_\w+', 'g') m
             where length(m[1]) between 4 and 200)
    || case when body ~ '\w[/:@#]' then array(
           select lower(m[1]) from regexp_matches(body, '\w+(?:[-./:@#]+\w+)*[/:@#]+\w+(?:[-./:@#]+\w+)*', 'g') m
           where length(m[1]) between 4 and 200) end;

-- The parts of names as words: an underscore or a slash ends a word as a space does. PostgreSQL's own parser takes
-- flow.serve and pg_hba.conf for one word each, which neither of their parts finds. Of folded, spaced text.
create function parted(body text) returns text language sql immutable strict parallel safe
return replace(replace(replace(replace(replace(replace(replace(
    body, '_', ' '), '.', ' '), '/', ' '), '-', ' '), ':', ' '), '@', ' '), '#', ' ');

-- All that a text is found by: its words stemmed in its language, its pairs of letters, its names. In plpgsql, which
-- evaluates each step once: a third faster than as one expression. With the path of its owner's schema, so that a dump
-- can be restored.
create function lexemes_of(language regconfig, body text) returns tsvector language plpgsql immutable strict parallel safe
set search_path from current as $$
declare
    plain text;
    found tsvector;
begin
    body := folded(body);
    plain := spaced(body);
    found := to_tsvector(language, parted(plain)) || array_to_tsvector(names(plain));
    if plain <> body then
        found := found || pairs(body);
    end if;
    return found;
end
$$;

-- A lexeme as a query. One letter of a script without spaces stands for every pair that it begins.
create function word_query(lexeme text) returns tsquery language sql immutable strict parallel safe
return ('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || ''''
    || case when length(lexeme) = 1 and spaced(lexeme) = ' ' then ':*' else '' end)::tsquery;

-- The text as phrases are looked for in it: words in lower case between single spaces, each letter of a script without
-- spaces as a word.
create function phrased(body text) returns text language sql immutable strict parallel safe
return ' ' || regexp_replace(case when octet_length(body) = length(body) then lower(body) else regexp_replace(lower(folded(body)),
    '([\u0e01-\u0e4f\u0e81-\u0ecf\u1000-\u103f\u1780-\u17d3\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff])',
    ' \1 ', 'g') end, '[^[:alnum:]\u0e31-\u0e4f]+', ' ', 'g') || ' ';

-- What a document can be called by: its path, each shorter end of it, and its file's name without what follows the dot.
create function path_names(path text) returns tsvector language sql immutable strict parallel safe
return array_to_tsvector(array(
    select left(name, 400)
    from (select array_to_string(parts[n:], '/') as name
          from (select string_to_array(lower(normalize(path, NFKC)), '/') as parts) p, generate_series(1, cardinality(parts)) n
          union all
          select regexp_replace(lower(normalize(path, NFKC)), '^.*/|\.[^./]*$', '', 'g')) names
    where name <> ''));

-- Kept within the row, uncompressed where it fits: ranking reads the lexemes of thousands of chunks once for each word,
-- 0.3 us each instead of 1.9.
alter table chunks drop column lexemes,
    add column lexemes tsvector generated always as
        (lexemes_of(language, coalesce(title || E'\n', '') || heading || E'\n' || content)) stored,
    alter column lexemes set storage main,
    alter column lexemes set statistics 300;  -- 3,000 words are known as common; `analyze` takes 2 s at most
create index chunks_lexemes on chunks using gin (lexemes);

alter table documents add column names tsvector generated always as (path_names(path)) stored;
create index documents_names on documents using gin (names);
-- Which languages there are is read from it in as many steps as there are languages.
create index documents_language on documents (language);

-- How common the most common words are, as parts of all chunks; words that are not here are rare enough to be counted.
-- The sync keeps these three, from samples.
create table common_words (
    lexeme text primary key,
    share double precision not null
);
create table corpus (
    chunks bigint not null,
    tokens double precision not null,
    measured_at timestamptz not null default now()
);
create table languages (
    language regconfig primary key,
    share double precision not null
);

-- BM25 of a word in a chunk without the word's rarity: how often it stands there, saturating, by the chunk's length; null
-- where it does not. How often is told by its ts_rank with weights of 1: the sum of 1/j^2 for j up to that number, by
-- 1.644934, to within 5%. The rank stands in it once: an inlined function evaluates it as often as its body names it.
create function bm25(rank real, tokens integer, mean double precision) returns double precision
language sql immutable parallel safe
return 2.2 / (1 + 1.2 * (0.25 + 0.75 * tokens / mean)
    / (1 / (1.644934 * (1.0001 - nullif(rank, 0)::double precision)) - 0.5));

-- The languages that documents are in.
create function spoken() returns setof regconfig language sql stable parallel safe rows 3
as $$
    with recursive found (language) as (
        (select language from documents order by language limit 1)
        union all
        select (select d.language from documents d where d.language > f.language order by d.language limit 1)
        from found f where f.language is not null
    )
    select language from found where language is not null
$$;

-- The lexemes of a question, each as it is looked for: the words in every language that there is, `stopped` being the
-- part of all documents in whose language the word is a stop word; pairs of letters; names, `exact` where a name means
-- itself and is no compound like "two-dimensional" or "and/or". `share`: how common it is, null where it is rare.
create function question_words(question text)
returns table (lexeme text, token text, word tsquery, stopped double precision, exact boolean, share double precision)
language sql stable parallel safe rows 20
as $$
    with plain as materialized (
        select spaced(folded(question)) as words, folded(question) as whole
    ), stems as materialized (
        select t.token, l.lexeme,
               sum(case when l.lexeme is null then coalesce(k.share, 0) else 0 end) over (partition by t.token) as stopped
        from plain
        cross join lateral (select distinct token from ts_parse('default', parted(plain.words)) where tokid <> 12) t
        cross join spoken() s (language)
        left join lateral unnest(to_tsvector(s.language, t.token)) l on true
        left join languages k on k.language = s.language
    ), asked as (
        select s.lexeme, min(s.token) as token, min(s.stopped) as stopped, false as exact
        from stems s where s.lexeme is not null group by s.lexeme
        union all
        select p.lexeme, p.lexeme, 0, false
        from plain cross join lateral unnest(pairs(plain.whole)) p where plain.whole <> plain.words
        union all
        select distinct n, n, 0::double precision, n ~ '[a-z]' and n ~ '[_.:@#0-9]|/.*/'
        from plain cross join lateral unnest(names(plain.words)) n
    )
    select a.lexeme, a.token, word_query(a.lexeme), a.stopped, a.exact, k.share
    from asked a left join common_words k on k.lexeme = a.lexeme
$$;

-- What the chunks with a phrase all have: each of its words, in one of the languages. Null where it is of stop words.
create function phrase_query(phrase text) returns tsquery language sql stable parallel safe
as $$
    select string_agg('(' || every || ')', ' | ')::tsquery
    from (select string_agg(word_query(l.lexeme)::text, ' & ') as every
          from spoken() s (language)
          cross join lateral (select lexeme from unnest(to_tsvector(s.language, parted(spaced(folded(phrase)))))
                              union
                              select lexeme from unnest(pairs(folded(phrase)))) l
          group by s.language) w
$$;
