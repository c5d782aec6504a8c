-- Languages that PostgreSQL has no stemmer for, but whose words have endings: a word is what its first five letters are.
-- On 19 labelled sets in Polish, Czech, Ukrainian, Croatian, Latvian, Slovenian and Galician nDCG@10 of BM25 rose from
-- 0.686 to 0.756 in the mean; all n-grams of four letters, which take many times the room, gave 0.758 (McNamee, Nicholas
-- and Mayfield, "Addressing morphological variation in alphabetic languages", SIGIR 2009, compare both in 18 languages).
-- Each gets a text search configuration of its name, unless there is one: that one is taken as it is. What is a letter
-- must not depend on the locale, in some of which no letter beyond ASCII is one.
do $$
declare
    name text;
    made text[] := '{}';
begin
    foreach name in array array[
        'albanian', 'azerbaijani', 'belarusian', 'bosnian', 'bulgarian', 'croatian', 'czech', 'galician', 'georgian',
        'icelandic', 'kazakh', 'latvian', 'macedonian', 'polish', 'slovak', 'slovenian', 'turkmen', 'ukrainian', 'uzbek']
    loop
        if not exists (select from pg_ts_config where cfgname = name and pg_ts_config_is_visible(oid)) then
            execute format('create text search configuration %I (copy = pg_catalog.simple)', name);
            made := made || format('%L::regconfig', name);
        end if;
    end loop;
    execute format(
        'create function shortened(language regconfig, body text) returns text language sql immutable strict parallel safe '
        'return case when language in (%s) then regexp_replace(body, ''([a-zA-Z\u00c0-\u1fff]{5})[a-zA-Z\u00c0-\u1fff]+'', ''\1'', ''g'') else body end',
        array_to_string(made || 'null'::text, ', ', 'null'));
end
$$;

create or replace function lexemes_of(language regconfig, body text) returns tsvector language plpgsql immutable strict parallel safe
set search_path from current as $$
declare
    plain text;
    found tsvector;
begin
    body := folded(body);
    plain := spaced(body);
    found := to_tsvector(language, shortened(language, parted(plain))) || array_to_tsvector(names(plain));
    if plain <> body then
        found := found || pairs(body);
    end if;
    return found;
end
$$;

create or replace function question_words(question text)
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
        left join lateral unnest(to_tsvector(s.language, shortened(s.language, t.token))) l on true
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
create or replace function phrase_query(phrase text) returns tsquery language sql stable parallel safe
as $$
    select string_agg('(' || every || ')', ' | ')::tsquery
    from (select string_agg(word_query(l.lexeme)::text, ' & ') as every
          from spoken() s (language)
          cross join lateral (select lexeme from unnest(to_tsvector(s.language, shortened(s.language, parted(spaced(folded(phrase))))))
                              union
                              select lexeme from unnest(pairs(folded(phrase)))) l
          group by s.language) w
$$;
