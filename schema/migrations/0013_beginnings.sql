-- Words that run together ("Druckerwarteschlange") or have so many endings that stemming leaves several stems of one word
-- ("tulostin", "tulostimen"): in these languages a word of more than five letters is found by its first five too. What has
-- the stem is worth no more for it; what has the beginning alone is worth what that is, by how rare it is.
-- On labelled sets nDCG@10 of BM25 rose by 0.055 in Finnish, 0.044 in Dutch, 0.042 in Hungarian, 0.038 in Turkish, 0.034
-- in German, 0.026 in Swedish and Serbian, 0.02 in Danish and Greek, 0.01 in Russian; in French, Italian, Spanish and
-- Portuguese by 0.007, in English it fell by 0.002: those have none, for twice as many lexemes would take their time.
-- n-grams of four letters, which take many times the room, were no better in the mean.

-- The beginnings of the longer words, each with the star that no other lexeme has. Of folded, spaced, parted text.
do $$
declare
    chosen text := (
        select string_agg(format('%L::regconfig', 'pg_catalog.' || cfgname), ', ' order by cfgname)
        from pg_ts_config
        where cfgnamespace = 'pg_catalog'::regnamespace  -- not every version has all of them
          and cfgname in ('armenian', 'basque', 'danish', 'dutch', 'estonian', 'finnish', 'german', 'greek', 'hungarian',
                          'lithuanian', 'norwegian', 'russian', 'serbian', 'swedish', 'turkish'));
begin
    execute format(
        'create function beginnings(language regconfig, body text) returns tsvector language sql immutable strict parallel safe '
        'return case when language in (%s) then ('
        'select coalesce(string_agg(m[1] || ''*:'' || least(place, 16383), '' ''), '''')::tsvector '
        'from regexp_matches(lower(body), ''([a-z\u00c0-\u1fff]{5})[a-z\u00c0-\u1fff]+'', ''g'') with ordinality as r (m, place)) '
        'else '''' end', chosen);
end
$$;

create or replace function lexemes_of(language regconfig, body text) returns tsvector language plpgsql immutable strict parallel safe
set search_path from current as $$
declare
    plain text;
    words text;
    found tsvector;
begin
    body := folded(body);
    plain := spaced(body);
    words := parted(plain);
    found := to_tsvector(language, shortened(language, words)) || beginnings(language, words) || array_to_tsvector(names(plain));
    if plain <> body then
        found := found || pairs(body);
    end if;
    return found;
end
$$;

-- As before, and the beginnings of words as those that are `loose`: a stop word has none. `family`: what has several of
-- one has what is worth more, its words together or one of their beginnings.
drop function question_words;
create function question_words(question text)
returns table (lexeme text, token text, loose boolean, family text, word tsquery, stopped double precision, exact boolean,
               share double precision)
language sql stable parallel safe rows 20
as $$
    with plain as materialized (
        select spaced(folded(question)) as words, folded(question) as whole
    ), stems as materialized (
        select t.token, s.language, l.lexeme,
               sum(case when l.lexeme is null then coalesce(k.share, 0) else 0 end) over (partition by t.token) as stopped
        from plain
        cross join lateral (select distinct token from ts_parse('default', parted(plain.words)) where tokid <> 12) t
        cross join spoken() s (language)
        left join lateral unnest(to_tsvector(s.language, shortened(s.language, t.token))) l on true
        left join languages k on k.language = s.language
    ), begun as materialized (
        select s.lexeme, b.lexeme as beginning, s.stopped
        from stems s cross join lateral unnest(beginnings(s.language, s.token)) b
        where s.lexeme is not null
    ), families as materialized (
        select lexeme, min(beginning) as family from begun group by lexeme
    ), asked as (
        select s.lexeme, min(s.token) as token, false as loose, min(f.family) as family, min(s.stopped) as stopped, false as exact
        from stems s left join families f on f.lexeme = s.lexeme
        where s.lexeme is not null group by s.lexeme
        union all
        select b.beginning, b.beginning, true, min(f.family), min(b.stopped), false
        from begun b join families f on f.lexeme = b.lexeme group by b.beginning
        union all
        select p.lexeme, p.lexeme, false, null, 0, false
        from plain cross join lateral unnest(pairs(plain.whole)) p where plain.whole <> plain.words
        union all
        select distinct n, n, false, null, 0::double precision, n ~ '[a-z]' and n ~ '[_.:@#0-9]|/.*/'
        from plain cross join lateral unnest(names(plain.words)) n
    )
    select a.lexeme, a.token, a.loose, a.family, word_query(a.lexeme), a.stopped, a.exact, k.share
    from asked a left join common_words k on k.lexeme = a.lexeme
$$;

-- As before, without numbers that are counted in decimal on the way: that was a tenth of search by words.
create or replace function bm25(rank real, tokens integer, mean double precision) returns double precision
language sql immutable parallel safe
return 2.2 / (1 + 1.2 * (0.25 + 0.75 * (tokens / mean))
    / (1 / (1.644934 * (1.0001 - nullif(rank, 0)::double precision)) - 0.5));

-- Those that there are already: a millisecond each. The next sync counts their words anew.
with made as (
    update chunks set content = content where beginnings(language, 'beginnings') <> '' returning 1
)
update corpus set measured_at = '-infinity' where exists (select from made);
