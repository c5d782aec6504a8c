-- The lexemes of a question, each as it is looked for: the words in every language that there is; the prefix_terms of words
-- as those that are `prefix_match`, of which a stop word has none; pairs of letters; names, `exact_match` where a name means itself
-- and is no compound like "two-dimensional" or "and/or", nor a range like "10-20": versions, addresses, dates and times do
-- without a letter. A version is looked for with and without a leading v, as its other form, which counts as a prefix term:
-- of both a chunk has what is worth more.
-- `token`: the word that it comes from. `family`: what has several of one has what is worth more, its words together or
-- one of their prefix_terms. `stopped`: the part of all documents in whose language the word is a stop word. `share`: how
-- common it is, null where it is rare.
-- Languages and rarity are those of the collections `visible` alone; null: of all.
-- tokid 12 is a blank, as pg_catalog.ts_token_type('default') says. `rows 20`: what the planner takes for a question's
-- lexemes.
create or replace function question_words(question text, visible integer[])
returns table (lexeme text, token text, prefix_match boolean, family text, word tsquery, stopped double precision, exact_match boolean,
               share double precision)
language sql stable parallel safe rows 20
as $$
    with plain as materialized (
        select spaced(folded(question)) as words, folded(question) as whole
    ), languages_seen as materialized (
        select s.language, s.share, prefix_terms(s.language, 'abcdef') <> '' as prefixed
        from (select s.language, coalesce(k.share, 0) as share
              from spoken() s (language) left join languages k on k.language = s.language
              where visible is null
              union all
              select p.language, p.share from permitted_languages(visible) p) s
    ), stems as materialized (
        select t.token, s.language, s.prefixed, l.lexeme,
               sum(case when l.lexeme is null then s.share else 0 end) over (partition by t.token) as stopped
        from plain
        cross join lateral (select distinct token from ts_parse('default', parted(plain.words)) where tokid <> 12) t
        cross join languages_seen s
        left join lateral unnest(to_tsvector(s.language, prefix_stems(s.language, t.token))) l on true
    ), begun as materialized (
        select s.lexeme, b.lexeme as prefix_term, s.stopped
        from stems s cross join lateral unnest(prefix_terms(s.language, s.token)) b
        where s.lexeme is not null and s.prefixed  -- most languages have none: asking for each word took a quarter
    ), families as materialized (
        select lexeme, min(prefix_term) as family from begun group by lexeme
    ), named as materialized (
        select distinct n, n ~ '^v?[0-9]+[.][0-9]' as versioned from plain cross join lateral unnest(names(plain.words)) n
    ), looked_for as (
        select s.lexeme, min(s.token) as token, false as prefix_match, min(f.family) as family, min(s.stopped) as stopped, false as exact_match
        from stems s left join families f on f.lexeme = s.lexeme
        where s.lexeme is not null group by s.lexeme
        union all
        select b.prefix_term, b.prefix_term, true, min(f.family), min(b.stopped), false
        from begun b join families f on f.lexeme = b.lexeme group by b.prefix_term
        union all
        select p.lexeme, p.lexeme, false, null, 0, false
        from plain cross join lateral unnest(pairs(plain.whole)) p where plain.whole <> plain.words
        union all
        select n, n, false, case when versioned then ltrim(n, 'v') end, 0::double precision,
               n ~ '[a-z]' and n ~ '[_.:@#0-9]|/.*/' or n ~ '^[0-9]+([.:][0-9]+)+$' or n ~ '^[0-9]+([-./:][0-9]+){2,}$'
        from named
        union all
        select other, other, true, ltrim(n, 'v'), 0::double precision, true
        from named cross join lateral (select case when n like 'v%' then ltrim(n, 'v') else 'v' || n end as other) o
        where versioned and not exists (select from named each where each.n = o.other)
    )
    select a.lexeme, a.token, a.prefix_match, a.family, word_query(a.lexeme), a.stopped, a.exact_match,
           case when visible is null then (select k.share from common_words k where k.lexeme = a.lexeme)
                else (select sum(w.chunks) / (select size from permitted_corpus(visible))
                      from collection_words w where w.lexeme = a.lexeme and w.collection_id = any(visible)) end
    from looked_for a
$$;
